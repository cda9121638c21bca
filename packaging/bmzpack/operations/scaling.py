"""Scalings with fixed numbers.

QuPath reads gain and offset as lists only, and JDLL uses the first number of a list, once for every pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bmzpack.operations.operation import Operation, along_channels, is_per_channel

if TYPE_CHECKING:
    import keras

EPSILON = 1e-6
"""What bioimageio.core adds to a standard deviation."""


class ScaleLinear(Operation):
    """Multiplication by a gain, then addition of an offset."""

    id: ClassVar = "scale_linear"
    has_layer: ClassVar = True

    @property
    def needs_graph(self) -> bool:
        return is_per_channel(self.kwargs)

    @property
    def prefers_graph(self) -> bool:
        return True

    def declared(self, axes: list[str], channels: int) -> ScaleLinear:
        """The same with one number per channel, where there is a channel axis."""
        if "channel" not in axes:
            return self
        lists = {
            key: list(value) if isinstance(value, list | tuple) else [value] * channels
            for key, value in (("gain", self.kwargs.get("gain", 1.0)), ("offset", self.kwargs.get("offset", 0.0)))
        }
        return ScaleLinear({"axis": "channel", **lists})

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray:
        gain, offset = (
            along_channels(self.kwargs.get(key, default), self.kwargs, axes)
            for key, default in (("gain", 1.0), ("offset", 0.0))
        )
        return np.asarray(image, np.float64) * gain + offset

    def layer(self, axes: str, name: str) -> keras.layers.Layer:
        import keras

        shape = [-1 if letter == "c" else 1 for letter in axes[1:]]
        gain, offset = (
            np.reshape(value, shape).tolist() if isinstance(value, Sequence) else value
            for value in (self.kwargs.get("gain", 1.0), self.kwargs.get("offset", 0.0))
        )
        return keras.layers.Rescaling(gain, offset, name=name)


class FixedZeroMeanUnitVariance(Operation):
    """Subtraction of a mean, then division by a deviation. JDLL ends with an exception on one number per channel."""

    id: ClassVar = "fixed_zero_mean_unit_variance"
    has_layer: ClassVar = True

    @property
    def needs_graph(self) -> bool:
        return is_per_channel(self.kwargs)

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray:
        mean, deviation = (along_channels(self.kwargs[key], self.kwargs, axes) for key in ("mean", "std"))
        return (np.asarray(image, np.float64) - mean) / (deviation + EPSILON)

    @property
    def prefers_graph(self) -> bool:
        return True

    def layer(self, axes: str, name: str) -> keras.layers.Layer:
        return self.as_scale_linear().layer(axes, name)

    def declared(self, axes: list[str], channels: int) -> ScaleLinear:
        """The linear scaling, for QuPath, which has no other."""
        return self.as_scale_linear().declared(axes, channels)

    def as_scale_linear(self) -> ScaleLinear:
        """The linear scaling that it is, with one number or one per channel."""
        gain = 1 / (np.asarray(self.kwargs["std"], np.float64) + EPSILON)
        offset = -np.asarray(self.kwargs["mean"], np.float64) * gain
        return ScaleLinear({"gain": gain.tolist(), "offset": offset.tolist()})
