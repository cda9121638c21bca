"""Bringing images to the size at which a network knows objects (Stringer et al. 2021)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from bmzpack.errors import UserError
from bmzpack.settings import Section
from kerazoo.files.pairs import Sample

LIMITS = (1 / 16, 16)
"""No image is made smaller or larger by more than this."""
SPREAD = 4.0
"""An image's own diameter is taken to be at most so many times larger or smaller than the typical one: the only object
of an image may be a piece that its edge has cut."""


class Scale(Section):
    """To which size images are brought for the network."""

    network: float
    """Median diameter in pixels of the objects that the network sees."""
    images: float
    """Median diameter in pixels of the objects on the training images."""


def diameter(labels: np.ndarray, ignored: int | None = None) -> float | None:
    """Median diameter of the objects of a label image, in pixels.

    Parameters
    ----------
    labels
        Label image (y, x), any integer dtype.
    ignored
        The label that is not counted.

    Returns
    -------
    float or None
        Median diameter of discs of the objects' areas; None where there is no object.
    """
    values, areas = np.unique(labels, return_counts=True)
    areas = areas[(values != 0) & (values != (-1 if ignored is None else ignored))]
    return median_diameter(areas)


def median_diameter(areas: Sequence[int] | np.ndarray) -> float | None:
    """Median diameter of discs of some areas; None where there is none."""
    return float(np.median(2 * np.sqrt(np.asarray(areas) / np.pi))) if len(areas) else None


def typical_diameter(samples: Sequence[Sample], ignored: int | None) -> float:
    """Median over images of their objects' median diameter, in pixels.

    Raises
    ------
    UserError
        There is no object on any image.
    """
    every = [diameter(sample.mask, ignored) for sample in samples]
    known = [value for value in every if value is not None]
    if not known:
        raise UserError("No training image has an object, so that there is no diameter to rescale to.")
    return float(np.median(known))


def bounded_diameter(own: float | None, typical: float) -> float:
    """The diameter by which an image is rescaled: its objects' own within limits (see `SPREAD`), or the typical one."""
    return float(np.clip(own or typical, typical / SPREAD, typical * SPREAD))


def rescaled_to(sample: Sample, scale: Scale, ignored: int | None) -> Sample:
    """A sample whose objects have the diameter that the network is trained with.

    Parameters
    ----------
    sample
        Image and label image.
    scale
        The diameters; that of an image without objects is taken to be the typical one, see also `SPREAD`.
    ignored
        The label that is not counted.

    Returns
    -------
    Sample
        The image is averaged where it becomes smaller, and interpolated where it becomes larger.

    Raises
    ------
    UserError
        The factor is beyond `LIMITS`; the message names the image.
    """
    factor = scale.network / bounded_diameter(diameter(sample.mask, ignored), scale.images)
    image = rescaled(sample.image, factor, str(sample.path or sample.id))
    # OpenCV resamples no int32, and float32 does not hold every label
    values, numbers = np.unique(sample.mask, return_inverse=True)
    numbers = numbers.reshape(sample.mask.shape).astype(np.float32)
    numbers = cv2.resize(numbers, image.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return dataclasses.replace(sample, image=image, mask=values[numbers.astype(np.intp)], factor=factor)


def rescaled(image: np.ndarray, factor: float, name: str = "An image") -> np.ndarray:
    """An image (y, x, channel) made larger by a factor, or smaller; of its own dtype, or float32.

    The name is for the message.

    Raises
    ------
    UserError
        The factor is beyond `LIMITS`.
    """
    check_factor(factor, name)
    height, width = rescaled_size(image.shape[:2], factor)
    return resized(image, (width, height))


def rescaled_size(shape: tuple[int, ...], factor: float) -> tuple[int, int]:
    """The size (y, x) of a rescaled image."""
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def check_factor(factor: float, name: str = "An image") -> None:
    """Refuse to rescale beyond `LIMITS`."""
    if not LIMITS[0] <= factor <= LIMITS[1]:
        raise UserError(
            f"{name} would be rescaled by a factor of {factor:.3g} to bring its objects to the network's diameter: "
            "check the annotations, or set another diameter."
        )


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (y, x, channel) of another size (x, y); of its own dtype, or float32."""
    if size == image.shape[1::-1]:
        return image
    known = image if image.dtype in (np.uint8, np.uint16, np.float32) else image.astype(np.float32)
    smaller = size[0] < image.shape[1]
    result = cv2.resize(known, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return result.reshape(size[1], size[0], image.shape[2])
