"""Scoring a network that answers prompts: it is asked for every annotated object, and corrected where it is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import cv2
import numpy as np

from kerazoo.config import DataConfig
from kerazoo.files.pairs import Pair, load_pair, separated
from kerazoo.files.prompts import Prompts
from kerazoo.inference.prompted import PromptedPredictor
from kerazoo.models.exchange import Mask

CORRECTIONS = 3
"""Points that are added to the first one."""


def score_prompts(predictor: PromptedPredictor, pairs: Iterable[Pair], data: DataConfig) -> dict[str, Any]:
    """Ask for every object of annotated images.

    Parameters
    ----------
    predictor
        Of a run.
    pairs
        Images with label images.
    data
        How they are read.

    Returns
    -------
    dict
        Means over all objects of the intersection over union with the annotation: ``box``, of its bounding box;
        ``point``, of its innermost pixel, the mask with the best predicted score; ``corrected``, a list: after one, two
        and three points more, each the innermost pixel of the largest region that was wrong. ``objects``: how many.
        Empty where there is no object.
    """
    rounds: list[list[float]] = [[] for _ in range(CORRECTIONS + 2)]
    for pair in pairs:
        sample = load_pair(pair, data)
        if data.annotation == "binary":
            sample = separated(sample, data.ignored)
        labels = sample.mask if data.ignored is None else np.where(sample.mask == data.ignored, 0, sample.mask)
        truths = [labels == label for label in np.unique(labels) if label > 0]
        if not truths:
            continue
        embedding = predictor.embed(sample.image)
        boxes = np.array([_box(truth) for truth in truths], np.float32)
        rounds[0] += _overlaps([best for (best,) in predictor.masks(embedding, Prompts(boxes=boxes))], truths)
        points = np.array([[_innermost(truth)] for truth in truths], np.float32)
        kinds = np.ones((len(truths), 1), np.int32)
        answers = predictor.masks(embedding, Prompts(points, kinds), several=True)
        masks = [max(several, key=lambda mask: mask.score) for several in answers]
        rounds[1] += _overlaps(masks, truths)
        for number in range(CORRECTIONS):
            more = [_correction(mask, truth) for mask, truth in zip(masks, truths, strict=True)]
            points = np.concatenate([points, np.array([[point] for point, _ in more], np.float32)], axis=1)
            kinds = np.concatenate([kinds, np.array([[kind] for _, kind in more], np.int32)], axis=1)
            masks = [best for (best,) in predictor.masks(embedding, Prompts(points, kinds))]
            rounds[2 + number] += _overlaps(masks, truths)
    if not rounds[0]:
        return {}
    box, point, *corrected = (float(np.mean(values)) for values in rounds)
    return {"box": box, "point": point, "corrected": corrected, "objects": len(rounds[0])}


def _overlaps(masks: Sequence[Mask], truths: Sequence[np.ndarray]) -> list[float]:
    values = []
    for mask, truth in zip(masks, truths, strict=True):
        shared = np.count_nonzero(mask.inside & truth[mask.rows, mask.columns])
        values.append(shared / (np.count_nonzero(mask.inside) + np.count_nonzero(truth) - shared))
    return values


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x and y of the first and of the last pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1], rows[-1]


def _innermost(mask: np.ndarray) -> tuple[int, int]:
    """x and y of the pixel that is farthest from the edge; the edge of the image is one."""
    first_x, first_y, last_x, last_y = _box(mask)
    part = np.pad(mask[first_y : last_y + 1, first_x : last_x + 1].astype(np.uint8), 1)
    distance = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return int(x) - 1 + first_x, int(y) - 1 + first_y


def _correction(mask: Mask, truth: np.ndarray) -> tuple[tuple[int, int], int]:
    """The innermost pixel of the largest region that is wrong, and whether it lies in the object; -1: nothing is."""
    found = np.zeros(truth.shape, bool)
    found[mask.rows, mask.columns] = mask.inside
    _, parts, statistics, _ = cv2.connectedComponentsWithStats((found != truth).astype(np.uint8), connectivity=4)
    if len(statistics) < 2:
        return (0, 0), -1
    largest = 1 + int(np.argmax(statistics[1:, cv2.CC_STAT_AREA]))
    x, y = _innermost(np.asarray(parts) == largest)
    return (x, y), int(truth[y, x])
