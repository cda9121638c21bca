"""Step, halo, margin and smallest size of a network, measured from its graph.

Two zones, all that lies left and all that lies right of a tile, are sent through the graph along one axis. What they
reach is the rim of the tile's output that differs from the output of the whole image. Zones are masks without channels
and weights, so the width of the network does not matter, and no weight that happens to be small hides a connection.

A network that cuts its image into patches, which become a batch, takes one size only: its zones are two halves of that
image, and every patch has masks of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import keras
import numpy as np
from keras import layers
from keras.src.ops.numpy import Pad, Reshape, Transpose

from bmzpack.errors import UserError

LARGEST_MINIMUM = 2048
"""Pixels along an axis up to which the smallest valid size is looked for."""

_CONVOLUTIONS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_POOLS = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
)
_GLOBAL_POOLS = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)
_UPSAMPLING = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
_PADDING = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
_CROPPING = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
_REARRANGING = (layers.Flatten, layers.Permute, layers.Reshape, Reshape, Transpose)
"""Layers, then operations of keras.ops."""
_POINTWISE = (
    layers.Activation,
    layers.ActivityRegularization,
    layers.Add,
    layers.AlphaDropout,
    layers.Average,
    layers.BatchNormalization,
    layers.Concatenate,
    layers.Dense,
    layers.Dropout,
    layers.ELU,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.Identity,
    layers.LeakyReLU,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.ReLU,
    layers.Rescaling,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.Subtract,
)


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How a network may be fed, in pixels of its input."""

    step: int
    """Valid sizes lie this far apart; moving the image by it moves the output along."""
    halo: int | None
    """Half width of the receptive field. A tile's output differs from that of the whole image within ``halo - margin``
    pixels of its edges, where tiles begin at multiples of ``step``. None where every output pixel sees the whole image
    (global pooling)."""
    margin: int
    """How much smaller than the input the output is on each side (valid convolutions)."""
    minimum: int
    """Smallest valid size; all are ``minimum + n * step``."""


def measure(model: keras.Model) -> Geometry:
    """Measure a network along all spatial axes, from all its inputs to all its outputs that have these axes.

    Parameters
    ----------
    model
        Channels last: (batch, [z,] y, x, channel).

    Returns
    -------
    Geometry
        What holds for every axis and every tensor.

    Raises
    ------
    UserError
        The model has no image among its inputs, or no size was found that it takes.
    """
    rank = max(len(tensor.shape) for tensor in model.inputs)
    if rank < 3:
        raise UserError(f"{model.name} has no image among its inputs: its sizes cannot be measured.")
    measured = [measure_axis(model, axis) for axis in range(rank - 2)]
    halos = [geometry.halo for geometry in measured]
    known = [halo for halo in halos if halo is not None]
    return Geometry(
        step=math.lcm(*(geometry.step for geometry in measured)),
        halo=max(known) if len(known) == len(halos) else None,
        margin=max(geometry.margin for geometry in measured),
        minimum=max(geometry.minimum for geometry in measured),
    )


def measure_axis(model: keras.Model, axis: int) -> Geometry:
    """Measure a network along one spatial axis, 0 being the first behind the batch.

    Raises
    ------
    UserError
        No size was found that the model takes.
    """
    smallest = _smallest(model, axis)
    if smallest.rearranged:
        around = smallest.size // smallest.step // 2 * smallest.step
        walk = _Walk(model, axis, smallest.size - 2 * around, around)
    else:
        around = math.ceil(smallest.reach / smallest.step) * smallest.step
        walk = _Walk(model, axis, smallest.tile + 2 * around, around)
    margin = max([0, *map(math.ceil, smallest.margins)])
    sees_everything = walk.sees_everything or (walk.rearranged and any(output.zones.all() for output in walk.outputs))
    return Geometry(smallest.step, None if sees_everything else walk.halo, margin, smallest.tile)


def _smallest(model: keras.Model, axis: int) -> _Walk:
    """The walk of the smallest valid image."""
    fixed = {tensor.shape[1 + axis] for tensor in model.inputs if len(tensor.shape) > 2 + axis} - {None}
    for size in fixed or range(1, LARGEST_MINIMUM + 1):
        try:
            walk = _Walk(model, axis, size)
            if fixed:
                return walk
            larger = [_Walk(model, axis, size + number * walk.step).margins for number in (1, 2)]
        except _Misfit:
            continue
        whole = all(margin >= 0 and margin.denominator == 1 for margin in walk.margins)
        if larger == [walk.margins] * 2 and whole and (walk.margins or size % walk.step == 0):
            return walk
    raise UserError(
        f"{model.name} takes no image of up to {LARGEST_MINIMUM} pixels a side: its sizes cannot be measured."
    )


class _Misfit(Exception):
    """An image of this size does not go through the network."""


@dataclasses.dataclass(frozen=True)
class _Image:
    """A tensor that has the axis."""

    zones: np.ndarray
    """(2 * patches, length) bool: whether the zone left of the tile reaches a sample, for every patch that the image
    was cut into, then whether the right one does. An axis that was pooled in every patch has length 1."""
    scale: Fraction
    """Input pixels per sample."""
    extent: Fraction | None = None
    """Of what is no whole image, but its patches: input pixels of that image."""
    full: np.ndarray | None = None
    """(2 * patches, sizes) bool: the zones along all axes, of a tensor that was just rearranged."""

    @property
    def length(self) -> int:
        return self.zones.shape[1]

    @property
    def patches(self) -> int:
        return len(self.zones) // 2


_NO_IMAGE = "no image"
"""Stands for a tensor without the axis that was none from the beginning."""
_POOLED = "pooled"
"""Stands for a tensor that was pooled over the whole axis."""


class _Walk:
    """One axis of an image on its way through a network.

    Attributes
    ----------
    step
        Least common multiple of all strides.
    reach
        Pixels that all windows span together: no receptive field is wider.
    sees_everything
        Whether an output depends on the whole axis.
    rearranged
        Whether the axis was cut or moved, which is done at one size only.
    outputs
        Those that have the axis.

    Parameters
    ----------
    model
        The network.
    axis
        0 being the first behind the batch.
    tile
        Pixels of the tile.
    around
        Pixels of either zone, a multiple of the step.

    Raises
    ------
    _Misfit
        The network does not take this size.
    """

    def __init__(self, model: keras.Model, axis: int, tile: int, around: int = 0):
        self.axis = axis
        self.tile = tile
        self.size = 2 * around + tile
        self.around = around
        self.step = 1
        self.reach = Fraction(0)
        self.sees_everything = False
        self.rearranged = False
        self.rank = max(len(tensor.shape) for tensor in model.inputs)
        zones = np.zeros((2, self.size), bool)
        zones[0, :around] = zones[1, self.size - around :] = True
        image = _Image(zones, Fraction(1))
        outputs = self._through(
            model, [image if len(tensor.shape) > 2 + axis else _NO_IMAGE for tensor in model.inputs]
        )
        self.outputs = [output for output in outputs if isinstance(output, _Image) and output.extent is None]
        self.sees_everything |= _POOLED in outputs and not self.outputs

    @property
    def margins(self) -> list[Fraction]:
        """How much smaller than the input every output is on each side, in pixels of the input."""
        return [(self.size - output.length * output.scale) / 2 for output in self.outputs]

    @property
    def halo(self) -> int:
        """Half width of the receptive field: the margin, and the rim within which an output differs."""
        halo = 0
        for output, margin in zip(self.outputs, self.margins, strict=True):
            start = int(self.around / output.scale)
            left, right = output.zones[0, start:], output.zones[1, : output.length - start]
            rim = max(int(np.flatnonzero(zone).max(initial=-1)) + 1 for zone in (left, right[::-1]))
            halo = max(halo, math.ceil(margin + rim * output.scale))
        return halo

    def _through(self, model: Any, inputs: list[Any]) -> list[Any]:
        return keras.tree.flatten(model._run_through_graph(inputs, operation_fn=self._rule))

    def _rule(self, operation: Any) -> Callable[..., list[Any]]:
        """What stands for an operation: it takes and gives images instead of tensors."""

        def apply(*arguments: Any, **keywords: Any) -> list[Any]:
            given = keras.tree.flatten((arguments, keywords))
            images = [item for item in given if isinstance(item, _Image)]
            pooled = any(item is _POOLED for item in given)
            if not images:
                return [_POOLED if pooled else _NO_IMAGE] * len(operation._inbound_nodes[0].output_tensors)
            self.sees_everything |= pooled
            if isinstance(operation, keras.Model):
                return self._through(getattr(operation, "_functional", operation), given)
            results = self._spread(operation, images, arguments, keywords)
            for result in results:
                if isinstance(result, _Image):
                    if result.length < 1:
                        raise _Misfit
                    if result.extent is None:
                        self.step = math.lcm(self.step, result.scale.numerator)
            return results

        return apply

    def _spread(self, operation: Any, images: list[_Image], arguments: Any, keywords: Any) -> list[Any]:
        """The results of one operation."""
        axis, image = self.axis, images[0]
        zones, length, scale = image.zones, image.length, image.scale
        if self._rearranges(operation, image):
            return [self._rearrange(operation, image)]
        along_channels = isinstance(operation, layers.Softmax) and operation.axis == -1
        if isinstance(operation, _POINTWISE) or along_channels:
            return [image if len(images) == 1 else _Image(_union(images), scale, image.extent)]
        if isinstance(operation, _CONVOLUTIONS) and operation.padding != "causal":
            window = (operation.kernel_size[axis] - 1) * operation.dilation_rate[axis] + 1
            stride, every = operation.strides[axis], operation.dilation_rate[axis]
            self.reach += window * scale
            return [_Image(_slide(zones, window, stride, operation.padding, every), scale * stride, image.extent)]
        if isinstance(operation, _POOLS):
            stride = operation.strides[axis]
            self.reach += operation.pool_size[axis] * scale
            pooled = _slide(zones, operation.pool_size[axis], stride, operation.padding)
            return [_Image(pooled, scale * stride, image.extent)]
        if isinstance(operation, _TRANSPOSED) and operation.output_padding is None:
            window = (operation.kernel_size[axis] - 1) * operation.dilation_rate[axis] + 1
            stride, every = operation.strides[axis], operation.dilation_rate[axis]
            self.reach += window * scale / stride
            return [_Image(_unslide(zones, window, stride, operation.padding, every), scale / stride, image.extent)]
        if isinstance(operation, _UPSAMPLING) and getattr(operation, "interpolation", "nearest") == "nearest":
            factor = np.ravel(operation.size)[axis]
            return [_Image(zones.repeat(factor, axis=1), scale / int(factor), image.extent)]
        if isinstance(operation, _PADDING):
            left, right = _pair(operation.padding, axis)
            self.reach += (left + right) * scale
            return [_Image(np.pad(zones, ((0, 0), (left, right))), scale, image.extent)]
        if isinstance(operation, Pad) and len(operation.pad_width) > 1 + axis:
            left, right = operation.pad_width[1 + axis]
            if operation.mode == "reflect" and length <= max(left, right):
                raise _Misfit
            self.reach += (left + right) * scale
            mode = operation.mode if operation.mode in ("reflect", "symmetric") else "constant"
            return [_Image(np.pad(zones, ((0, 0), (left, right)), mode=mode), scale, image.extent)]
        if isinstance(operation, _CROPPING):
            left, right = _pair(operation.cropping, axis)
            return [_Image(zones[:, left : max(left, length - right)], scale, image.extent)]
        if isinstance(operation, _GLOBAL_POOLS):
            return [_POOLED if image.extent is None else _pooled(image)]
        return self._observe(operation, images, arguments, keywords)

    def _observe(self, operation: Any, images: list[_Image], arguments: Any, keywords: Any) -> list[Any]:
        """Find out from the operation itself: change its input at one place, see which samples of its output change."""
        image = _Image(_union(images), images[0].scale, images[0].extent)
        given, made = _ends(operation)
        if image.extent is not None and len(given[0].shape) <= 2 + self.axis:
            return [image] * len(made)
        reach = _observed_reach(operation, self.axis)
        if reach is None and image.extent is not None:
            everywhere = image.zones.any(1, keepdims=True).repeat(image.length, 1)
            return [dataclasses.replace(image, zones=everywhere)] * len(made)
        if reach is None:
            self.sees_everything = True
            return [image] * len(made)
        if reach.ratio == 0:
            return [_POOLED if image.extent is None else _pooled(image)] * len(made)
        self.reach += (reach.last - reach.first + 1) * image.scale / reach.ratio
        zones = image.zones
        spread = np.zeros((len(zones), max(0, math.floor(image.length * reach.ratio) + reach.longer)), bool)
        for zone, row in zip(zones, spread, strict=True):
            sources = np.flatnonzero(zone)
            for offset in range(reach.first, reach.last + 1):
                targets = np.floor(sources * float(reach.ratio)).astype(int) + offset
                row[targets[(targets >= 0) & (targets < len(row))]] = True
        return [_Image(spread, image.scale / reach.ratio, image.extent)] * len(made)

    def _rearranges(self, operation: Any, image: _Image) -> bool:
        """Whether an operation moves whole samples about, which is followed in images of one size."""
        shape = _ends(operation)[0][0].shape
        fixed = len(shape) > 2 + self.axis and shape[1 + self.axis] == image.length
        return isinstance(operation, _REARRANGING) and (fixed or image.extent is not None)

    def _rearrange(self, operation: Any, image: _Image) -> _Image:
        """Do with masks of all axes what the operation does with the tensor."""
        self.rearranged = True
        given, made = (tensors[0].shape for tensors in _ends(operation))
        full = image.full
        if full is None or full.shape[1:] != given[1:]:
            along = [1] * (len(given) - 1)
            if len(given) > 2 + self.axis:
                along[self.axis] = image.length
            full = np.broadcast_to(image.zones.reshape(-1, *along), (len(image.zones), *given[1:]))
        tensors = [keras.ops.convert_to_tensor(zone.astype(np.float32)) for zone in np.split(full, 2)]
        full = np.concatenate([np.asarray(keras.ops.convert_to_numpy(operation(tensor))) for tensor in tensors]) > 0
        if len(made) > 2 + self.axis:
            zones = np.asarray(full.any(tuple(n for n in range(1, full.ndim) if n != 1 + self.axis)))
        else:
            zones = np.asarray(full.reshape(len(full), -1).any(1, keepdims=True))
        extent = image.extent or image.length * image.scale
        if len(full) == 2 and len(made) == self.rank:
            return _Image(zones, extent / zones.shape[1], None, full)
        return _Image(zones, image.scale, extent, full)


def _union(images: list[_Image]) -> np.ndarray:
    """What reaches any of several tensors; those of a patch that were pooled count for all its samples."""
    longest = max(images, key=lambda image: image.length)
    pooled = 1 if longest.extent is not None else longest.length
    if any(image.patches != longest.patches or image.length not in (longest.length, pooled) for image in images):
        raise _Misfit
    return functools.reduce(np.logical_or, (image.zones for image in images))


def _pooled(image: _Image) -> _Image:
    """A patch of which one sample is left."""
    return _Image(np.asarray(image.zones.any(1, keepdims=True)), image.scale * image.length, image.extent)


def _ends(operation: Any) -> tuple[Any, Any]:
    """The first input and output tensors of an operation."""
    node = operation._inbound_nodes[0]
    return node.input_tensors, node.output_tensors


@dataclasses.dataclass(frozen=True)
class _Reach:
    """Where along an axis the output of an operation depends on its input."""

    ratio: Fraction
    """Samples of the output per sample of the input; 0 where the output has not the axis."""
    longer: int
    """Samples of the output beyond that."""
    first: int
    """Sample i of the input changes samples ratio * i + first ... ratio * i + last of the output."""
    last: int


_OBSERVED = 48
"""Samples along an axis in the observation of an operation: a multiple of any usual step."""


@functools.lru_cache
def _observed_reach(operation: Any, axis: int) -> _Reach | None:
    """Observe an operation; None where one sample changes the output everywhere.

    Raises
    ------
    UserError
        It cannot be run.
    """
    node = operation._inbound_nodes[0]

    def run(length: int, seed: int = 0, changed: int | None = None) -> np.ndarray:
        """The first output; the input is changed at one place, everywhere on the other axes."""
        generator = np.random.default_rng(seed)

        def tensor(spec: Any) -> Any:
            if not isinstance(spec, keras.KerasTensor):
                return spec
            sizes = [1, *(length if size is None else size for size in spec.shape[1:])]
            if len(sizes) > 2 + axis:
                sizes[1 + axis] = length
            array, other = generator.normal(size=(2, *sizes))
            if changed is not None and len(sizes) > 2 + axis:
                place = (slice(None),) * (1 + axis) + (changed,)
                array[place] = other[place]
            return keras.ops.convert_to_tensor(array, spec.dtype)

        given: Any = keras.tree.map_structure(tensor, (node.arguments.args, node.arguments.kwargs))
        result = keras.tree.flatten(operation(*given[0], **given[1]))[0]
        return np.moveaxis(np.asarray(keras.ops.convert_to_numpy(result)), 1 + axis, 0)

    try:
        length, longer = len(run(_OBSERVED)), len(run(2 * _OBSERVED))
        ratio = Fraction(longer - length, _OBSERVED)
        offsets = set()
        for seed in range(4):
            before = run(_OBSERVED, seed)
            for place in range(_OBSERVED // 2 - 8, _OBSERVED // 2 + 8):
                moved = np.flatnonzero((run(_OBSERVED, seed, place) != before).reshape(length, -1).any(axis=1))
                offsets.update((moved - math.floor(place * ratio)).tolist())
    except Exception as error:
        raise UserError(
            f"The layer {operation.name!r} ({type(operation).__name__}) cannot be measured: {error}."
        ) from error
    if ratio and (not offsets or max(offsets) - min(offsets) > length // 2):
        return None
    if not ratio:
        return _Reach(ratio, 0, 0, 0)
    return _Reach(ratio, length - math.floor(_OBSERVED * ratio), min(offsets), max(offsets))


def _slide(zones: np.ndarray, window: int, stride: int, padding: str, every: int = 1) -> np.ndarray:
    """What a convolution or pooling sees through its window, of which ``every``-th sample counts."""
    length = zones.shape[1]
    if padding == "same":
        results = -(-length // stride)
        missing = max((results - 1) * stride + window - length, 0)
        zones = np.pad(zones, ((0, 0), (missing // 2, missing - missing // 2)))
    else:
        results = (length - window) // stride + 1
    if results < 1:
        raise _Misfit
    seen = np.zeros((len(zones), results), bool)
    for offset in range(0, window, every):
        seen |= zones[:, offset : offset + (results - 1) * stride + 1 : stride]
    return seen


def _unslide(zones: np.ndarray, window: int, stride: int, padding: str, every: int = 1) -> np.ndarray:
    """What a transposed convolution writes through its window."""
    length = zones.shape[1]
    results = length * stride + (0 if padding == "same" else max(window - stride, 0))
    written = np.zeros((len(zones), max(results, (length - 1) * stride + window)), bool)
    for offset in range(0, window, every):
        written[:, offset : offset + (length - 1) * stride + 1 : stride] |= zones
    first = max(window - stride, 0) // 2 if padding == "same" else 0
    return written[:, first : first + results]


def _pair(amounts: Any, axis: int) -> tuple[int, int]:
    """Of a padding or cropping layer: how much on either side of an axis."""
    left, right = amounts[axis] if np.ndim(amounts) == 2 else amounts
    return int(left), int(right)
