"""From samples in memory to batches: crop, augment, normalise, in parallel and in a fixed order.

The samples themselves are the cache: images keep their own type, and a patch is normalised after it is cut. A training
element depends on the seed, the global step and its place in the batch only, so that a resumed run sees what an
uninterrupted one sees.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import tensorflow as tf

from bmzpack.errors import UserError
from kerazoo.config import Config
from kerazoo.data.augment import Intensities, change_intensities, intensities_of, random_map
from kerazoo.data.normalise import Normalisation
from kerazoo.data.target import Target
from kerazoo.files.pairs import Sample, check_image

_ALIGNMENT = 64
"""TensorFlow takes over NumPy memory without a copy if it starts at such an address."""


_WORKERS = min(os.cpu_count() or 1, 8)
"""Batches that are made at once; more would wait for each other in Python."""
_UNTURNED = ((1.0, 0.0), (0.0, 1.0))
_PIXELS = 4096
"""So many pixels of objects of an image are kept to choose from."""
_AHEAD = 2
"""Batches that are ready before they are needed."""


def steps_per_epoch(count: int, config: Config) -> int:
    """Batches per epoch: as configured, else as many as show every one of so many images (or patches) once."""
    return config.training.steps_per_epoch or math.ceil(count / config.training.batch_size)


def training_dataset(
    sources: Sequence[Source], config: Config, output_margin: int, target: Target, start_step: int = 0
) -> tf.data.Dataset:
    """Random patches without end.

    Every image is shown once before one is shown again, in an order that is shuffled anew each time. The share
    ``training.foreground`` of the patches of images with objects is cut around a random pixel of an object: before they
    are turned, it lies in their middle half along y and x, or nearer to the edge where the image ends there.

    Parameters
    ----------
    sources
        The training images, from `prepare`.
    config
        Its ``training``, ``augmentation`` and ``data`` are used.
    output_margin
        The network's output is smaller than its input by so many pixels on each side.
    target
        What is learned.
    start_step
        The global step of the first batch.

    Returns
    -------
    tf.data.Dataset
        Of (x, y): normalised patches (batch, patch, patch, channel) float32, and their targets (batch, inner, inner,
        channel), where inner is (patch - 2 output_margin) / grid, of the target's dtype.
    """
    pixels = [_pixels_of_objects(source.mask, config) for source in sources]
    batch, seed = config.training.batch_size, config.training.seed
    shapes = _shapes(config, output_margin, target)

    @functools.lru_cache(maxsize=4)
    def order(epoch: int) -> np.ndarray:
        return np.random.default_rng((seed, epoch)).permutation(len(sources))

    def make(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = aligned((batch, *shapes[0]), np.float32), aligned((batch, *shapes[1]), target.dtype)
        for position in range(batch):
            epoch, turn = divmod(int(step) * batch + position, len(sources))
            random = np.random.default_rng((seed, int(step), position, 0))
            index = order(epoch)[turn]
            source, inside = sources[index], pixels[index]
            shape, size = source.image.shape[:2], config.training.patch_size
            corner = None
            if len(inside) and random.random() < config.training.foreground:
                corner = _around(inside[random.integers(len(inside))], random, shape, size - 2 * output_margin)
            place = random_map(random, config.augmentation, shape, size, output_margin, corner)
            patch, kept = place.resample(source.image, source.kept, output_margin)
            y[position] = target.of_patch(kept, place.matrix)
            change_intensities(random, config.augmentation, patch, source.intensities, out=x[position])
        return x, y

    steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    return batches(steps, make, shapes, tf.as_dtype(np.dtype(target.dtype)))


def validation_dataset(
    sources: Sequence[Source], config: Config, output_margin: int, target: Target
) -> tf.data.Dataset:
    """All validation pixels once, in tiles of the patch size, without augmentation.

    Tiles at the right and lower edge overlap their neighbours; pixels that were there before are ignored. The last
    batch may be smaller.

    Parameters
    ----------
    sources
        The validation images, from `prepare`.
    config, output_margin, target
        As for `training_dataset`.

    Returns
    -------
    tf.data.Dataset
        Of (x, y) as `training_dataset`, finite and always the same.
    """
    batch, shapes = config.training.batch_size, _shapes(config, output_margin, target)
    tiles = [tile for source in sources for tile in source.tiles(config.training.patch_size, output_margin)]

    def make(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chosen = tiles[int(step) * batch : (int(step) + 1) * batch]
        x, y = aligned((len(chosen), *shapes[0]), np.float32), aligned((len(chosen), *shapes[1]), target.dtype)
        for position, tile in enumerate(chosen):
            x[position], y[position] = tile(target)
        return x, y

    steps = tf.data.Dataset.range(math.ceil(len(tiles) / batch))
    return batches(steps, make, shapes, tf.as_dtype(np.dtype(target.dtype)))


@dataclasses.dataclass(frozen=True)
class Source:
    """A sample, ready to be cut."""

    image: np.ndarray
    mask: np.ndarray
    kept: np.ndarray
    """What the target keeps of the annotation, see `kerazoo.data.target.Target`."""
    intensities: Intensities

    def tiles(self, size: int, margin: int) -> Iterator[Callable[[Target], tuple[np.ndarray, np.ndarray]]]:
        inner = size - 2 * margin
        height, width = self.image.shape[:2]
        for top in range(0, height, inner):
            for left in range(0, width, inner):
                yield functools.partial(self._tile, top, left, inner, margin)

    def _tile(self, top: int, left: int, inner: int, margin: int, target: Target) -> tuple[np.ndarray, np.ndarray]:
        height, width = self.image.shape[:2]
        row, column = min(top, height - inner), min(left, width - inner)
        first, last = (max(0, row - margin), max(0, column - margin)), (row + inner + margin, column + inner + margin)
        patch = (self.image[first[0] : last[0], first[1] : last[1]] - self.intensities.offset) / self.intensities.scale
        if margin:
            patch = cv2.copyMakeBorder(
                patch,
                first[0] - row + margin,
                max(0, last[0] - height),
                first[1] - column + margin,
                max(0, last[1] - width),
                cv2.BORDER_REFLECT_101,
            )
        y = target.of_patch(self.kept[row : row + inner, column : column + inner].copy(), _UNTURNED)
        target.ignore(y, top - row, left - column)
        return patch.reshape(inner + 2 * margin, inner + 2 * margin, -1), y


def prepare(
    samples: Sequence[Sample], config: Config, normalisation: Normalisation, output_margin: int, target: Target
) -> list[Source]:
    """Compute once what all batches need of images.

    Parameters
    ----------
    samples
        Images with their annotations.
    config
        Its ``training`` and ``data`` are used.
    normalisation
        As fitted on the training images.
    output_margin, target
        As for `training_dataset`.

    Raises
    ------
    UserError
        An image is smaller than the patches or has another number of channels.
    """
    needed = config.training.patch_size - 2 * output_margin
    if needed < 1:
        raise UserError(
            f"training.patch_size is {config.training.patch_size}, but the network takes off {output_margin} pixels on "
            f"each side: set it to more than {2 * output_margin}."
        )
    sources = []
    for sample in samples:
        check_image(sample, config, needed, output_margin)
        intensities = intensities_of(sample.image, normalisation)
        sources.append(Source(sample.image, sample.mask, target.of_image(sample.mask), intensities))
    return sources


def _pixels_of_objects(mask: np.ndarray, config: Config) -> np.ndarray:
    """(y, x) of at most `_PIXELS` pixels, int32 (pixel, 2); none where patches may lie anywhere."""
    if not config.training.foreground:
        return np.zeros((0, 2), np.int32)
    inside = mask != 0
    if config.data.ignored is not None:
        inside &= mask != config.data.ignored
    pixels = np.flatnonzero(inside)
    if len(pixels) > _PIXELS:
        pixels = np.random.default_rng(config.training.seed).choice(pixels, _PIXELS, replace=False)
    return np.stack(np.unravel_index(pixels, mask.shape), axis=1).astype(np.int32)


def _around(pixel: np.ndarray, random: np.random.Generator, shape: tuple[int, int], size: int) -> tuple[int, int]:
    """First pixel (y, x) of a patch with a pixel in its middle half, drawn among the places within the image."""
    room, quarter = np.subtract(shape, size), size // 4
    row, column = random.integers(
        np.clip(pixel - (size - quarter) + 1, 0, room), np.clip(pixel - quarter, 0, room) + 1
    ).tolist()
    return row, column


def _shapes(config: Config, margin: int, target: Target) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    size = config.training.patch_size
    inner = (size - 2 * margin) // target.grid
    return (size, size, config.data.channels), (inner, inner, target.channels)


@contextlib.contextmanager
def one_thread_per_batch() -> Iterator[None]:
    """Batches are made in parallel; OpenCV's threads within one would only compete with them."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def aligned(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """Uninitialised memory that TensorFlow takes over without a copy."""
    count = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(count + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + count].view(dtype).reshape(shape)


def batches(
    steps: tf.data.Dataset,
    make: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    dtype: tf.DType = tf.uint8,
) -> tf.data.Dataset:
    """Make batches (x float32, y of a dtype) of elements of two shapes, in parallel and in the order of the steps."""

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.numpy_function(make, [step], (tf.float32, dtype))
        x.set_shape((None, *shapes[0]))
        y.set_shape((None, *shapes[1]))
        return x, y

    # With TensorFlow's tuning, whoever is done with a dataset waits until the tuner wakes up next, for up to a minute.
    options = tf.data.Options()
    options.autotune.enabled = False
    data = steps.map(batch, num_parallel_calls=_WORKERS, deterministic=True).prefetch(_AHEAD)
    return data.with_options(options)
