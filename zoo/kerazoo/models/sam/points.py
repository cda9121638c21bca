"""All objects by prompts: points at the seeds that the decoder of all objects finds (Archit et al. 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from kerazoo.models.sam.decoding import objects_of_maps, seeds_of_maps
from kerazoo.models.sam.prompted import Embedding, PromptedNetwork
from kerazoo.models.shared.distance import edge_distances
from kerazoo.models.shared.watershed import remove_small

SURE = 0.8
"""Predicted intersection over union from which on a mask is taken, and not what the seed grows to."""
SHARED = 0.5
"""A mask that shares more of its pixels with better ones is another mask of the same object."""


class Region(NamedTuple):
    """An object that was found."""

    rows: slice
    columns: slice
    inside: np.ndarray
    """bool (y, x) of this part of the image."""
    score: float
    """Predicted intersection over union."""


def objects_of_points(
    network: PromptedNetwork,
    embedding: Embedding,
    maps: np.ndarray,
    threshold: float = 0.5,
    seed_threshold: float = 0.5,
    minimum_size: int = 0,
) -> np.ndarray:
    """Find all objects, and ask for each by a point in its seed.

    Of the three masks for a point the one with the best predicted score counts. Where that is below `SURE`, and where
    there is no seed, the object is that of the decoder. Objects are drawn by falling score, each over the pixels that
    are still free; one of which more than `SHARED` is taken is left out (non-maximum suppression).

    Parameters
    ----------
    network, embedding
        What answers prompts, and the embedding of the image.
    maps, threshold, seed_threshold, minimum_size
        As for `kerazoo.models.sam.decoding.objects_of_maps`, which finds the seeds.

    Returns
    -------
    numpy.ndarray
        Labels without gaps, int32 (y, x).
    """
    objects = objects_of_maps(maps, threshold, seed_threshold)
    points = innermost_pixels(seeds_of_maps(maps, threshold, seed_threshold))
    kinds = np.ones((len(points), 1), np.int32)
    asked = network.masks(embedding, points[:, None], kinds, several=True) if len(points) else []
    masks = [max(several, key=lambda mask: mask.score) for several in asked]
    regions = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(objects)):  # seeds come first, in their order
        mask = masks[number] if number < len(masks) else None
        if mask is not None and mask.score >= SURE:
            regions.append(Region(mask.rows, mask.columns, mask.inside, mask.score))
        else:
            inside = objects[rows, columns] == number + 1
            regions.append(Region(rows, columns, inside, mask.score if mask is not None else 0.0))
    return remove_small(without_repetition(regions, objects.shape), minimum_size)


def innermost_pixels(labels: np.ndarray) -> np.ndarray:
    """x and y of the pixel of every label that is farthest from the others, float32 (label, 2); labels without gaps."""
    depth = edge_distances(labels).ravel()
    order = np.lexsort((-depth, labels.ravel()))
    _, first = np.unique(labels.ravel()[order], return_index=True)
    places = order[first][labels.ravel()[order[first]] > 0]
    y, x = np.divmod(places, labels.shape[1])
    return np.stack([x, y], axis=-1).astype(np.float32)


def without_repetition(regions: Sequence[Region], shape: tuple[int, ...]) -> np.ndarray:
    """A label image of objects, the best one first; int32 (y, x)."""
    labels = np.zeros(shape, np.int32)
    for number, place in enumerate(np.argsort([-region.score for region in regions], kind="stable"), start=1):
        rows, columns, inside, _ = regions[place]
        free = inside & (labels[rows, columns] == 0)
        if np.count_nonzero(free) > (1 - SHARED) * np.count_nonzero(inside):
            labels[rows, columns][free] = number
    return labels
