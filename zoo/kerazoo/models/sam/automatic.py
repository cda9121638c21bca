"""All masks of an image from a grid of points (Kirillov et al. 2023)."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from kerazoo.models.sam.prompted import Embedding, Mask, PromptedNetwork


@dataclasses.dataclass(frozen=True)
class AutomaticMask:
    """A mask that was found without being asked for."""

    rows: slice
    columns: slice
    inside: np.ndarray
    """bool (y, x) of this part of the image, the mask's bounding box."""
    score: float
    """Predicted intersection over union."""
    stability: float
    """Intersection over union of the masks at a higher and a lower threshold."""
    point: tuple[float, float]
    """x and y of the prompt in pixels of the image."""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x and y of the first and of the last pixel."""
        return self.columns.start, self.rows.start, self.columns.stop - 1, self.rows.stop - 1


def automatic_masks(
    network: PromptedNetwork,
    embedding: Embedding,
    *,
    points_per_side: int = 32,
    score_threshold: float = 0.88,
    stability_threshold: float = 0.95,
    stability_offset: float = 1.0,
    box_overlap: float = 0.7,
    minimum_region: int = 0,
    batch: int = 64,
) -> list[AutomaticMask]:
    """Ask for the objects under the points of a grid, and keep good masks, each once.

    Parameters
    ----------
    network, embedding
        What answers prompts, and the embedding of the image.
    points_per_side
        Points of the grid along y and x.
    score_threshold, stability_threshold
        Masks with a larger predicted score, and at least this stability, are kept; 0: all.
    stability_offset
        By which the logits of the two masks differ from 0 whose overlap is the stability.
    box_overlap
        Of two masks whose bounding boxes have a larger intersection over union, the one with the better score is kept.
    minimum_region
        Pixels: smaller islands are removed and smaller holes filled; 0: none.
    batch
        Points that are asked for at once.

    Returns
    -------
    list of AutomaticMask
        By falling score.

    Notes
    -----
    With `sam_vit_b` and its like the same as the official `SamAutomaticMaskGenerator` without crops.
    """
    height, width = embedding.shape
    offsets = (np.arange(points_per_side) + 0.5) / points_per_side
    x, y = np.meshgrid(offsets * width, offsets * height)
    points = np.stack([x, y], axis=-1).reshape(-1, 2)
    found = []
    labels = np.ones((len(points), 1), np.int32)
    asked = network.masks(embedding, points[:, None], labels, several=True, batch=batch)
    for point, masks in zip(points, asked, strict=True):
        for mask in masks:
            kept = _kept(mask, point, score_threshold, stability_threshold, stability_offset)
            if kept is not None:
                found.append(kept)
    found = [found[place] for place in _best(found, [mask.score for mask in found], box_overlap)]
    if minimum_region:
        cleaned = [_without_small(mask, minimum_region, embedding.shape) for mask in found]
        unchanged = [float(changed is mask) for changed, mask in zip(cleaned, found, strict=True)]
        found = [cleaned[place] for place in _best(cleaned, unchanged, box_overlap)]
    return found


def labels_of_masks(masks: list[AutomaticMask], shape: tuple[int, int]) -> np.ndarray:
    """A label image of masks: where they overlap, the smallest is seen; what covers more than half is background.

    Parameters
    ----------
    masks
        See `automatic_masks`.
    shape
        Height and width of the image.

    Returns
    -------
    numpy.ndarray
        Labels 1, 2, ..., int32 (y, x).
    """
    labels = np.zeros(shape, np.int32)
    areas = [np.count_nonzero(mask.inside) for mask in masks]
    objects = [(area, mask) for area, mask in zip(areas, masks, strict=True) if 2 * area <= labels.size]
    for number, (_, mask) in enumerate(sorted(objects, key=lambda pair: -pair[0]), start=1):
        labels[mask.rows, mask.columns][mask.inside] = number
    return labels


def _kept(
    mask: Mask, point: np.ndarray, score_threshold: float, stability_threshold: float, offset: float
) -> AutomaticMask | None:
    if score_threshold > 0 and mask.score <= score_threshold:
        return None
    high, low = np.count_nonzero(mask.logits > offset), np.count_nonzero(mask.logits > -offset)
    stability = high / low if low else 0.0
    if stability_threshold > 0 and stability < stability_threshold:
        return None
    place = float(point[0]), float(point[1])
    return _framed(mask.inside, mask.rows.start, mask.columns.start, mask.score, stability, place)


def _framed(
    inside: np.ndarray, top: int, left: int, score: float, stability: float, point: tuple[float, float]
) -> AutomaticMask:
    """A mask cut to its bounding box; an empty one to its first pixel."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return AutomaticMask(slice(0, 1), slice(0, 1), np.zeros((1, 1), bool), score, stability, point)
    y, x = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    place = slice(int(top + y.start), int(top + y.stop)), slice(int(left + x.start), int(left + x.stop))
    return AutomaticMask(*place, inside[y, x].copy(), score, stability, point)


def _best(masks: list[AutomaticMask], scores: list[float], overlap: float) -> list[int]:
    """Places of the masks whose box no better one overlaps, by falling score."""
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = np.argsort(-np.asarray(scores, np.float32), kind="stable")
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(int(first))
        low = np.maximum(boxes[first, :2], boxes[rest, :2])
        high = np.minimum(boxes[first, 2:], boxes[rest, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        union = areas[first] + areas[rest] - shared
        order = rest[~(shared > overlap * union)]
    return kept


def _without_small(mask: AutomaticMask, minimum: int, shape: tuple[int, int]) -> AutomaticMask:
    """Holes filled and islands removed that have fewer pixels; the same object where there are none."""
    whole = np.zeros(shape, bool)
    whole[mask.rows, mask.columns] = mask.inside
    filled = whole | _small_parts(~whole, minimum)
    small = _small_parts(filled, minimum)
    if (small == filled).all() and filled.any():  # the largest island stays
        _, parts, statistics, _ = cv2.connectedComponentsWithStats(filled.astype(np.uint8), connectivity=8)
        small = filled & (parts != 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA])))
    cleaned = filled & ~small
    if (cleaned == whole).all():
        return mask
    return _framed(cleaned, 0, 0, mask.score, mask.stability, mask.point)


def _small_parts(inside: np.ndarray, minimum: int) -> np.ndarray:
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
    small = statistics[:, cv2.CC_STAT_AREA] < minimum
    small[0] = False
    return small[np.asarray(parts, np.int32)]
