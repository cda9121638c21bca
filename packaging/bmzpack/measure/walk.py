"""One axis of an image on its way through the graph of a network.

Two zones, all that lies left and all that lies right of a tile, are sent through the graph along one axis. What they
reach is the rim of the tile's output that differs from the output of the whole image.

A network that cuts its image into patches, which become a batch, takes one size only: its zones are two halves of that
image, and every patch has masks of its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import keras
import numpy as np
from keras import layers

from bmzpack.measure.keras_graph import POINTWISE_OPERATIONS, Pad, Reshape, Transpose, first_call, run_through
from bmzpack.measure.observe import Observations
from bmzpack.measure.zones import Image, Misfit, pooled_patch, slide, union, unslide

CONVOLUTIONS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
POOLS = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.AveragePooling3D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.MaxPooling3D,
)
GLOBAL_POOLS = (
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
    layers.GlobalAveragePooling3D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
    layers.GlobalMaxPooling3D,
)
UPSAMPLING = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
PADDING = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
CROPPING = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
REARRANGING = (layers.Flatten, layers.Permute, layers.Reshape, Reshape, Transpose)
"""Layers, then operations of keras.ops."""
POINTWISE = (
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


_NO_IMAGE = "no image"
"""Stands for a tensor without the axis that was none from the beginning."""
_POOLED = "pooled"
"""Stands for a tensor that was pooled over the whole axis."""


class Walk:
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
    observations
        Operations that were observed along the axis to be followed, and those that will be.
    tile
        Pixels of the tile.
    around
        Pixels of either zone, a multiple of the step.

    Raises
    ------
    Misfit
        The network does not take this size.
    """

    def __init__(self, model: keras.Model, observations: Observations, tile: int, around: int = 0):
        self.observations = observations
        self.axis = axis = observations.axis
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
        image = Image(zones, Fraction(1))
        starts = [image if len(tensor.shape) > 2 + axis else _NO_IMAGE for tensor in model.inputs]
        outputs = run_through(model, starts, self._rule)
        self.outputs = [output for output in outputs if isinstance(output, Image) and output.extent is None]
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

    def _rule(self, operation: Any) -> Callable[..., list[Any]]:
        """What stands for an operation: it takes and gives images instead of tensors."""

        def apply(*arguments: Any, **keywords: Any) -> list[Any]:
            values = keras.tree.flatten((arguments, keywords))
            images = [item for item in values if isinstance(item, Image)]
            pooled = any(item is _POOLED for item in values)
            if not images:
                return [_POOLED if pooled else _NO_IMAGE] * len(first_call(operation).outputs)
            self.sees_everything |= pooled
            if isinstance(operation, keras.Model):
                return run_through(operation, values, self._rule)
            results = self._spread(operation, images)
            for result in results:
                if isinstance(result, Image):
                    if result.length < 1:
                        raise Misfit
                    if result.extent is None:
                        self.step = math.lcm(self.step, result.scale.numerator)
            return results

        return apply

    def _spread(self, operation: Any, images: list[Image]) -> list[Any]:
        """The results of one operation."""
        axis, image = self.axis, images[0]
        zones, length, scale = image.zones, image.length, image.scale
        if self._rearranges(operation, image):
            return [self._rearrange(operation, image)]
        if isinstance(operation, (*POINTWISE, *POINTWISE_OPERATIONS)) or _along_channels(operation):
            return [image if len(images) == 1 else Image(union(images), scale, image.extent)]
        convolution = isinstance(operation, (*CONVOLUTIONS, *SEPARABLE)) and operation.padding != "causal"
        if convolution or isinstance(operation, POOLS):
            window, stride, every = _window(operation, axis)
            self.reach += window * scale
            return [Image(slide(zones, window, stride, operation.padding, every), scale * stride, image.extent)]
        if isinstance(operation, TRANSPOSED) and operation.output_padding is None:
            window, stride, every = _window(operation, axis)
            self.reach += window * scale / stride
            return [Image(unslide(zones, window, stride, operation.padding, every), scale / stride, image.extent)]
        if isinstance(operation, UPSAMPLING) and getattr(operation, "interpolation", "nearest") == "nearest":
            factor = np.ravel(operation.size)[axis]
            return [Image(zones.repeat(factor, axis=1), scale / int(factor), image.extent)]
        if isinstance(operation, PADDING):
            left, right = _pair(operation.padding, axis)
            self.reach += (left + right) * scale
            return [Image(np.pad(zones, ((0, 0), (left, right))), scale, image.extent)]
        if isinstance(operation, Pad) and len(operation.pad_width) > 1 + axis:
            left, right = operation.pad_width[1 + axis]
            if operation.mode == "reflect" and length <= max(left, right):
                raise Misfit
            self.reach += (left + right) * scale
            mode = operation.mode if operation.mode in ("reflect", "symmetric") else "constant"
            return [Image(np.pad(zones, ((0, 0), (left, right)), mode=mode), scale, image.extent)]
        if isinstance(operation, CROPPING):
            left, right = _pair(operation.cropping, axis)
            return [Image(zones[:, left : max(left, length - right)], scale, image.extent)]
        if isinstance(operation, GLOBAL_POOLS):
            return [_POOLED if image.extent is None else pooled_patch(image)]
        return self._observe(operation, images)

    def _observe(self, operation: Any, images: list[Image]) -> list[Any]:
        """Find out from the operation itself: change its input at one place, see which samples of its output change."""
        image = Image(union(images), images[0].scale, images[0].extent)
        call = first_call(operation)
        if image.extent is not None and len(call.inputs[0].shape) <= 2 + self.axis:
            return [image] * len(call.outputs)
        reach = self.observations.reach(operation)
        if reach is None and image.extent is not None:
            everywhere = image.zones.any(1, keepdims=True).repeat(image.length, 1)
            return [dataclasses.replace(image, zones=everywhere)] * len(call.outputs)
        if reach is None:
            self.sees_everything = True
            return [image] * len(call.outputs)
        if reach.ratio == 0:
            return [_POOLED if image.extent is None else pooled_patch(image)] * len(call.outputs)
        self.reach += (reach.last - reach.first + 1) * image.scale / reach.ratio
        zones = image.zones
        spread = np.zeros((len(zones), max(0, math.floor(image.length * reach.ratio) + reach.longer)), bool)
        for zone, row in zip(zones, spread, strict=True):
            sources = np.flatnonzero(zone)
            for offset in range(reach.first, reach.last + 1):
                targets = np.floor(sources * float(reach.ratio)).astype(int) + offset
                row[targets[(targets >= 0) & (targets < len(row))]] = True
        return [Image(spread, image.scale / reach.ratio, image.extent)] * len(call.outputs)

    def _rearranges(self, operation: Any, image: Image) -> bool:
        """Whether an operation moves whole samples about, which is followed in images of one size."""
        shape = first_call(operation).inputs[0].shape
        fixed = len(shape) > 2 + self.axis and shape[1 + self.axis] == image.length
        return isinstance(operation, REARRANGING) and (fixed or image.extent is not None)

    def _rearrange(self, operation: Any, image: Image) -> Image:
        """Do with masks of all axes what the operation does with the tensor."""
        self.rearranged = True
        call = first_call(operation)
        before, after = call.inputs[0].shape, call.outputs[0].shape
        full = image.full
        if full is None or full.shape[1:] != before[1:]:
            along = [1] * (len(before) - 1)
            if len(before) > 2 + self.axis:
                along[self.axis] = image.length
            full = np.broadcast_to(image.zones.reshape(-1, *along), (len(image.zones), *before[1:]))
        tensors = [keras.ops.convert_to_tensor(zone.astype(np.float32)) for zone in np.split(full, 2)]
        full = np.concatenate([np.asarray(keras.ops.convert_to_numpy(operation(tensor))) for tensor in tensors]) > 0
        if len(after) > 2 + self.axis:
            zones = np.asarray(full.any(tuple(n for n in range(1, full.ndim) if n != 1 + self.axis)))
        else:
            zones = np.asarray(full.reshape(len(full), -1).any(1, keepdims=True))
        extent = image.extent or image.length * image.scale
        if len(full) == 2 and len(after) == self.rank:
            return Image(zones, extent / zones.shape[1], None, full)
        return Image(zones, image.scale, extent, full)


def _along_channels(operation: Any) -> bool:
    """Whether a normalisation takes the channels of every pixel together, and nothing else."""
    last = len(first_call(operation).inputs[0].shape) - 1
    return isinstance(operation, layers.Softmax | layers.LayerNormalization) and list(
        np.atleast_1d(operation.axis) % (last + 1)
    ) == [last]


def _window(operation: Any, axis: int) -> tuple[int, int, int]:
    """Length of a window, its stride, and which samples in it count: every one, every second ..."""
    stride = operation.strides[axis]
    if isinstance(operation, POOLS):
        return operation.pool_size[axis], stride, 1
    every = operation.dilation_rate[axis]
    return (operation.kernel_size[axis] - 1) * every + 1, stride, every


def _pair(amounts: Any, axis: int) -> tuple[int, int]:
    """How much a padding or cropping layer adds or takes on either side of an axis."""
    left, right = amounts[axis] if np.ndim(amounts) == 2 else amounts
    return int(left), int(right)
