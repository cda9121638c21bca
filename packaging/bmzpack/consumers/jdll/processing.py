"""The transformations of JDLL: what each refuses, and what it computes.

TransformationInstance and the classes beside it, of 0.6.1. They loop over the letters of an image's axes; a list of
axes is joined to one word, in which a letter of another axis' name counts too.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

AXES = frozenset({"axes", "axis"})
ARGUMENTS: dict[str, frozenset[str]] = {
    "binarize": frozenset({"threshold"}),
    "clip": frozenset({"min", "max"}),
    "fixed_zero_mean_unit_variance": frozenset({"mean", "std"}) | AXES,
    "scale_linear": frozenset({"gain", "offset"}) | AXES,
    "scale_range": frozenset({"min_percentile", "max_percentile", "reference_tensor", "tensor_name"}) | AXES,
    "sigmoid": frozenset(),
    "zero_mean_unit_variance": frozenset({"mean", "std"}) | AXES,
}
"""Arguments for which the class of an operation has a setter, besides eps and mode."""
LISTS = frozenset({"gain", "offset", "mean", "std"})
"""Arguments that may be lists of numbers."""
MODES = frozenset({"fixed", "per_dataset", "per_sample"})


@dataclasses.dataclass(frozen=True)
class Transformation:
    """An operation as JDLL has it, on a tensor whose axes are these letters."""

    name: str
    kwargs: Mapping[str, Any]
    letters: str

    @property
    def outside(self) -> str:
        """The axes over which it goes plane by plane; none where it takes the tensor as a whole."""
        axes = self.kwargs.get("axes", self.kwargs.get("axis"))
        if axes is None:
            return ""
        word = "".join("c" if axis == "channel" else axis for axis in ([axes] if isinstance(axes, str) else axes))
        found = "".join(letter for letter in self.letters if letter.lower() not in word.lower())
        return "" if len(found) == len(self.letters) else found

    @property
    def is_fixed(self) -> bool:
        """Whether mean and deviation are given."""
        mode = str(self.kwargs.get("mode", "fixed" if self.name.startswith("fixed") else "")).lower()
        return mode == "fixed"

    def refusal(self, sizes: Mapping[str, int]) -> str | None:
        """What JDLL ends with, in a sentence; None where the operation runs.

        Parameters
        ----------
        sizes
            Pixels of an image by letter, as far as they are known.
        """
        if self.name not in ARGUMENTS:
            return f"JDLL has no operation {self.name}"
        for key, value in self.kwargs.items():
            unfit = self._unfit(key, value)
            if unfit:
                return unfit
        return self._missing() or self._wrong_mode(sizes)

    def _unfit(self, key: str, value: Any) -> str | None:
        if key == "mode":
            return None if isinstance(value, str) and value.lower() in MODES else f"JDLL has no mode {value!r}"
        if key not in ARGUMENTS[self.name] | {"eps"} or (key == "eps" and self.name == "sigmoid"):
            return f"JDLL's {self.name} has no argument {key}"
        if key in AXES:
            fits = isinstance(value, str) or (isinstance(value, list) and all(isinstance(axis, str) for axis in value))
        elif key in ("reference_tensor", "tensor_name"):
            fits = key == "reference_tensor" or isinstance(value, str)
        elif isinstance(value, list):
            fits = key in LISTS and all(_is_number(number) for number in value)
        else:
            fits = _is_number(value) or (isinstance(value, str) and _is_text_of_number(value))
        return None if fits else f"JDLL's {self.name} does not take {key}: {value!r}"

    def _missing(self) -> str | None:
        needed = {"binarize": ("threshold",), "clip": ("min", "max")}.get(self.name, ())
        if self.name.endswith("zero_mean_unit_variance") and self.is_fixed:
            needed = ("mean", "std")
        absent = [key for key in needed if self.kwargs.get(key) is None]
        return f"JDLL's {self.name} needs {' and '.join(absent)}" if absent else None

    def _wrong_mode(self, sizes: Mapping[str, int]) -> str | None:
        """What the classes of zero mean and unit variance refuse when they run."""
        if not self.name.endswith("zero_mean_unit_variance"):
            return None
        mean, deviation = (self.kwargs.get(key) for key in ("mean", "std"))
        if not self.is_fixed:
            return f"JDLL's {self.name} takes mean and std in the mode fixed only" if mean is not None else None
        if isinstance(mean, list) != isinstance(deviation, list):
            return f"JDLL's {self.name} needs mean and std both as numbers or both as lists"
        if not self.outside:
            return f"JDLL's {self.name} takes no lists over all axes" if isinstance(mean, list) else None
        if not isinstance(mean, list):
            return f"JDLL's {self.name} takes no numbers where it leaves out axes ({', '.join(self.outside)})"
        planes = int(np.prod([sizes.get(letter, LARGE) for letter in self.outside], dtype=np.float64))
        given = min(len(mean), len(deviation or ()))
        return f"JDLL's {self.name} looks for as many numbers as there are pixels" if planes > given else None

    def forward(self, image: np.ndarray) -> np.ndarray | None:
        """What JDLL makes of an image; None where it is not computed here.

        Parameters
        ----------
        image
            Any dtype; its axes are those of `letters`.
        """
        image = np.asarray(image, np.float64)
        number = {key: self.kwargs.get(key, default) for key, default in NUMBERS.items()}
        match self.name:
            case "binarize":
                return (image >= float(self.kwargs["threshold"])).astype(np.float64)
            case "clip":
                return np.clip(image, float(self.kwargs["min"]), float(self.kwargs["max"]))
            case "scale_linear":
                gain, offset = (self._one(number[key], default) for key, default in (("gain", 1.0), ("offset", 0.0)))
                return image * gain + offset
            case "sigmoid":
                return 1 / (1 + np.exp(-image))
            case "scale_range":
                return self._scaled(image, float(number["eps"]))
            case "zero_mean_unit_variance" | "fixed_zero_mean_unit_variance":
                return self._standardised(image, float(number["eps"]))
        return None

    def _one(self, value: Any, default: float) -> float:
        """The number that is used for all channels: a list's first, and the default where no axes are left out."""
        if not isinstance(value, list):
            return float(value)
        return float(value[0]) if self.outside and value else default

    def _inner(self) -> tuple[int, ...]:
        return tuple(n for n, letter in enumerate(self.letters) if letter not in self.outside)

    def _scaled(self, image: np.ndarray, eps: float) -> np.ndarray:
        inner = self._inner()
        values = np.sort(np.moveaxis(image, inner, range(-len(inner), 0)).reshape(*self._outer(image), -1), -1)
        ends = (float(self.kwargs.get(key, default)) for key, default in PERCENTILES)
        low, high = (values[..., min(int(values.shape[-1] * end / 100), values.shape[-1] - 1)] for end in ends)
        low, high = (np.expand_dims(end, inner) for end in (low, high))
        return (image - low) / (high - low + eps)

    def _outer(self, image: np.ndarray) -> list[int]:
        return [size for size, letter in zip(image.shape, self.letters, strict=True) if letter in self.outside]

    def _standardised(self, image: np.ndarray, eps: float) -> np.ndarray | None:
        if self.is_fixed:
            mean, deviation = (np.asarray(self.kwargs[key], np.float64) for key in ("mean", "std"))
            if mean.ndim:
                # planes are counted with the first of these axes fastest
                shape = self._outer(image)
                mean, deviation = (
                    np.expand_dims(values[: int(np.prod(shape))].reshape(shape, order="F"), self._inner())
                    for values in (mean, deviation)
                )
            return (image - mean) / (deviation + eps)
        if not self.outside:
            return (image - image.mean()) / (image.std() + eps)
        # the whole tensor is normalised once for every plane
        outer = self._outer(image)
        if np.prod(outer) > MOST_PLANES:
            return None
        image = image.copy()
        for place in np.ndindex(*outer[::-1]):
            where: list[Any] = [slice(None)] * image.ndim
            for letter, n in zip(self.outside, place[::-1], strict=True):
                where[self.letters.index(letter)] = n
            plane = image[tuple(where)]
            image = (image - plane.mean()) / (plane.std() + eps)
        return image


NUMBERS = {"gain": 1.0, "offset": 0.0, "eps": 1e-6}
PERCENTILES = (("min_percentile", 0.0), ("max_percentile", 100.0))
LARGE = 2**31
"""Pixels along an axis whose size is not known."""
MOST_PLANES = 256
"""A normalisation of more planes is not computed here."""


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) < LARGE)


def _is_text_of_number(value: str) -> bool:
    return re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?[dDfF]?\s*", value, re.ASCII) is not None
