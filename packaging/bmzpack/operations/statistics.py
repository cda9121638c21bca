"""Normalisations by the statistics of the image itself."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from bmzpack.operations.operation import Operation


class Statistics(Operation):
    """A normalisation over some axes, by default all but the batch."""

    def over(self, axes: list[str]) -> tuple[int, ...]:
        """Positions of the axes that it runs over."""
        chosen = self.kwargs.get("axes")
        return tuple(n for n, axis in enumerate(axes) if (axis != "batch" if chosen is None else axis in chosen))

    def declared(self, axes: list[str], channels: int) -> Statistics:
        """The same with its axes written out in the order that Fiji reads."""
        whole = [axis for axis in ("channel", "z", "y", "x", "index") if axis in axes]
        chosen = set(self.kwargs.get("axes", whole))
        # of one channel it is the same with and without that axis, but Fiji wants it
        full = chosen == set(whole) or (channels == 1 and chosen | {"channel"} == set(whole))
        return type(self)({**self.kwargs, "axes": whole if full else list(self.kwargs["axes"])})


class ZeroMeanUnitVariance(Statistics):
    """Mean 0 and deviation 1. JDLL normalises the whole tensor, whatever the axes are."""

    id: ClassVar = "zero_mean_unit_variance"

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray:
        image, over = np.asarray(image, np.float64), self.over(axes)
        return (image - image.mean(over, keepdims=True)) / (
            image.std(over, keepdims=True) + self.kwargs.get("eps", 1e-6)
        )


class ScaleRange(Statistics):
    """Percentiles become 0 and 1. JDLL does not interpolate them."""

    id: ClassVar = "scale_range"

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray:
        return self.scaled(image, self.over(axes), "linear")

    def scaled(self, image: np.ndarray, over: tuple[int, ...], method: Literal["linear", "lower"]) -> np.ndarray:
        """The result with percentiles over these axes, interpolated by this method of `numpy.percentile`."""
        image = np.asarray(image, np.float64)
        ends = [self.kwargs.get("min_percentile", 0.0), self.kwargs.get("max_percentile", 100.0)]
        low, high = np.percentile(image, ends, axis=over, keepdims=True, method=method)
        return (image - low) / (high - low + self.kwargs.get("eps", 1e-6))


class ScaleMeanVariance(Operation):
    """Mean and deviation of another tensor. JDLL answers 'Invalid method'."""

    id: ClassVar = "scale_mean_variance"
