"""All objects of whole images, by networks for images of one size: from maps, or where there are none from a grid."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from skimage.measure import label
from skimage.segmentation import watershed

from kerazoo.models.exchange import AppliedNetwork, Outputs
from kerazoo.models.sam.automatic import automatic_masks, labels_of_masks
from kerazoo.models.sam.prompted import PromptedNetwork, brought_back, brought_to
from kerazoo.models.shared.watershed import remove_small

MAPS = "maps"
"""The output of networks that have a decoder of all objects."""
LABELS = "labels"
"""Instead of the maps: what automatic masks become, (y, x, 1)."""


def outputs_of(network: AppliedNetwork, side: int) -> Callable[[np.ndarray, np.ndarray, np.ndarray], Outputs]:
    """See `kerazoo.models.family.Family.outputs_of_whole`.

    Parameters
    ----------
    network
        The image encoder, with the decoder of all objects where there is one.
    side
        Height and width of its input.
    """
    if MAPS not in network.channels:
        asked = network.prompted()
        assert isinstance(asked, PromptedNetwork)

        def labels(image: np.ndarray, offset: np.ndarray, scale: np.ndarray) -> Outputs:
            embedding = asked.embed(image, offset, scale)
            found = labels_of_masks(automatic_masks(asked, embedding), embedding.shape)
            return {LABELS: found[..., None]}

        return labels

    def maps(image: np.ndarray, offset: np.ndarray, scale: np.ndarray) -> Outputs:
        found = network({"raw": brought_to(image, side, offset, scale)[None]})[MAPS]
        return {MAPS: brought_back(found[0], (image.shape[0], image.shape[1]))}

    return maps


def objects_of_whole(outputs: Outputs, threshold: float, seed_threshold: float, minimum_size: int) -> np.ndarray:
    """Find all objects.

    Parameters
    ----------
    outputs
        What `outputs_of` gives for the image.
    threshold, seed_threshold, minimum_size
        As for `kerazoo.models.sam.decoding.objects_of_maps`.

    Returns
    -------
    numpy.ndarray
        Labels without gaps, int32 (y, x).

    Notes
    -----
    Maps are smoothed, seeds are where both distances are small, and a watershed of the distance to the boundary grows
    them: as in micro-sam (Archit et al. 2025), and with its numbers. Foreground without a seed is no object.
    """
    if LABELS in outputs:
        return remove_small(outputs[LABELS][..., 0].astype(np.int32), minimum_size)
    foreground, centre, boundary = (
        _smooth(outputs[MAPS][..., number], deviation) for number, deviation in enumerate((1.0, 1.6, 1.6))
    )
    inside = foreground > threshold
    seeds = label(inside & (centre < seed_threshold) & (boundary < seed_threshold))
    return remove_small(watershed(boundary, seeds, mask=inside), minimum_size)


def _smooth(image: np.ndarray, deviation: float) -> np.ndarray:
    side = 2 * int(3 * deviation + 0.5) + 1
    return cv2.GaussianBlur(np.ascontiguousarray(image), (side, side), deviation, borderType=cv2.BORDER_REFLECT_101)
