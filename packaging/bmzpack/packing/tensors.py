"""Test tensors: windows of a real image, of the sizes that the network takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bmzpack.describe.description import Input
from bmzpack.errors import UserError
from bmzpack.measure.axes import SPACE, Sizes, Tensor

TEST_SIZE = 256
"""Side of the test tensors in pixels, where the network allows it: bundles stay light."""


def read_test_image(tensor: Tensor[Input], minimum: int) -> np.ndarray:
    """Read the test image of an input and bring it into the tensor's axes.

    Parameters
    ----------
    tensor
        The input.
    minimum
        The smallest size that the network takes, in pixels.

    Returns
    -------
    np.ndarray
        float32, in the axes of the tensor, batch of 1.

    Raises
    ------
    UserError
        The file cannot be read, its axes or channels do not fit, it is smaller than the network's minimum, or its
        values are no finite numbers.
    """
    image, source = tensor.described.test_image, f"The test image of {tensor.id!r}"
    if not isinstance(image, np.ndarray):
        image, source = _read(image), str(image)
    if image.dtype.kind not in "buif":
        raise UserError(f"{source} is of type {image.dtype}, which no program can open: use integers or floats.")
    image = _arranged(image, tensor, source).astype(np.float32)
    if not np.isfinite(image).all():
        raise UserError(f"{source} holds NaN or infinity: choose another test image.")
    for letter, known, size in zip(tensor.axes, tensor.shape, image.shape, strict=True):
        if letter == "c" and size != known:
            raise UserError(
                f"{source} has {size} channels where the network takes {known}: choose an image with {known}, or name "
                "the axes of the file as `test_image_axes`, such as yxc or cyx."
            )
        if letter in SPACE and size < (known or minimum):
            raise UserError(
                f"{source} is {size} pixels long in {letter}, but the network takes at least {known or minimum}: "
                "choose a larger test image."
            )
    return image


def test_windows(
    images: Mapping[str, np.ndarray], inputs: Sequence[Tensor[Input]], sizes: Sizes
) -> list[dict[str, np.ndarray]]:
    """Windows of the test images: first the test tensors, then two other sizes, or else a batch of two.

    Parameters
    ----------
    images
        Test images by tensor id, from `read_test_image`.
    inputs
        The network's inputs.
    sizes
        From `bmzpack.measure.axes.sizes_of`.

    Returns
    -------
    list of dict
        Tensors by id; the windows lie where the first image varies most, so that there is something on them.
    """
    first = next((tensor for tensor in inputs if tensor.is_image), None)
    if first is None:
        return _with_batch([dict(images)], inputs)
    lengths = dict(zip(first.axes, images[first.id].shape, strict=True))
    letters = [letter for letter in SPACE if letter in first.axes]
    extents = [{letter: sizes.largest(min(lengths[letter], TEST_SIZE)) for letter in letters}]
    if sizes.step:
        extents.append(dict.fromkeys(letters, sizes.minimum))
        extents.append({letter: sizes.minimum + n * sizes.step for n, letter in enumerate(reversed(letters), start=1)})
    windows = []
    for extent in extents:
        starts = _liveliest(images[first.id], first.axes, extent)
        windows.append({tensor.id: _window(images[tensor.id], tensor, extent, starts) for tensor in inputs})
    return windows if sizes.step else _with_batch(windows, inputs)


def _with_batch(windows: list[dict[str, np.ndarray]], inputs: Sequence[Tensor[Input]]) -> list[dict[str, np.ndarray]]:
    """Add a batch of two different samples, where the network takes one."""
    if any(tensor.shape[0] == 1 for tensor in inputs):
        return windows
    twice = {name: np.concatenate([array, array[:, ::-1]]) for name, array in windows[0].items()}
    return [*windows, twice]


def visible_part(images: Mapping[str, np.ndarray], window: Mapping[str, np.ndarray]) -> float:
    """The smallest part of a window's sides, 0 to 1, that is not mirrored."""
    lengths = [
        length / size for name in images for length, size in zip(images[name].shape, window[name].shape, strict=True)
    ]
    return min(1.0, *lengths)


test_windows.__test__ = False  # pyright: ignore[reportFunctionMemberAccess] - not a test of pytest


def _read(path: Path) -> np.ndarray:
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix.lower() in (".tif", ".tiff"):
            import tifffile

            return tifffile.imread(path)
        from PIL import Image

        with Image.open(path) as image:
            return np.asarray(image.convert("RGB") if image.mode in ("P", "RGBA") else image)
    except FileNotFoundError:
        raise UserError(f"There is no test image {path}.") from None
    except Exception as error:
        reason = " ".join(str(error).split())
        raise UserError(f"The test image {path} cannot be read: {reason}. Use .npy, TIFF, PNG or JPEG.") from error


def _arranged(image: np.ndarray, tensor: Tensor[Input], source: str) -> np.ndarray:
    """The image in the axes of the tensor."""
    axes = tensor.axes[1:]
    found = tensor.described.test_image_axes
    if found is None:
        if image.ndim == len(tensor.axes) and image.shape[0] == 1:
            found = tensor.axes
        elif image.ndim == len(axes):
            found = axes
        elif image.ndim == len(axes) - 1 and tensor.channels == 1:
            found = axes.replace("c", "")
    if found is None or len(found) != image.ndim:
        raise UserError(
            f"{source} has the shape {image.shape}, the tensor {tensor.id!r} the axes {axes}: name the axes of the "
            "file as `test_image_axes`."
        )
    for position in reversed(range(len(found))):
        if found[position] not in axes:
            if image.shape[position] != 1:
                raise UserError(f"{source} has an axis {found[position]} that the tensor {tensor.id!r} has not.")
            image = image.squeeze(position)
            found = found[:position] + found[position + 1 :]
    for letter in axes:
        if letter not in found:
            image, found = image[..., np.newaxis], found + letter
    return image.transpose([found.index(letter) for letter in axes])[np.newaxis]


def _liveliest(image: np.ndarray, axes: str, extent: Mapping[str, int]) -> dict[str, int]:
    """Where the window begins in which the image varies most."""
    candidates: list[dict[str, int]] = [{}]
    for letter, size in extent.items():
        room = max(0, image.shape[axes.index(letter)] - size)
        places = sorted({round(room * n / 8) for n in range(9)})
        candidates = [chosen | {letter: place} for chosen in candidates for place in places]

    def variation(start: Mapping[str, int]) -> float:
        cut = tuple(
            slice(start[letter], start[letter] + extent[letter]) if letter in extent else slice(None) for letter in axes
        )
        return float(image[cut].std())

    return max(candidates, key=variation)


def _window(
    image: np.ndarray, tensor: Tensor[Input], extent: Mapping[str, int], starts: Mapping[str, int]
) -> np.ndarray:
    """A window of the image; mirrored at its edges where it is smaller."""
    for position, letter in enumerate(tensor.axes):
        if letter not in SPACE:
            continue
        size = int(tensor.shape[position] or extent[letter])
        length = image.shape[position]
        if length < size:
            before = (size - length) // 2
            widths = [(0, 0)] * image.ndim
            widths[position] = (before, size - length - before)
            image = np.pad(image, widths, mode="symmetric")
        start = min(starts.get(letter, 0), image.shape[position] - size)
        image = np.take(image, range(start, start + size), axis=position)
    return np.ascontiguousarray(image)
