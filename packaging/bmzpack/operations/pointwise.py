"""Operations on each value, or on the channels of each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bmzpack.operations.operation import Operation, along_channels

if TYPE_CHECKING:
    import keras


class Binarize(Operation):
    """1 above a threshold, else 0. JDLL ends with an exception on one threshold per channel."""

    id: ClassVar = "binarize"

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray:
        return (image > along_channels(self.kwargs["threshold"], self.kwargs, axes)).astype(np.float64)


class Clip(Operation):
    """Values between a minimum and a maximum. JDLL needs both, as numbers."""

    id: ClassVar = "clip"

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray:
        return np.clip(np.asarray(image, np.float64), self.kwargs.get("min"), self.kwargs.get("max"))


class EnsureDtype(Operation):
    """Another data type. Tensors are float32 in Fiji and QuPath."""

    id: ClassVar = "ensure_dtype"

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray:
        image = np.asarray(image, np.float64)
        return image.astype(np.dtype(self.kwargs["dtype"])).astype(np.float64)


class Sigmoid(Operation):
    """Logistic function of each value."""

    id: ClassVar = "sigmoid"
    has_layer: ClassVar = True

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray:
        return 1 / (1 + np.exp(-np.asarray(image, np.float64)))

    def layer(self, axes: str, name: str) -> keras.layers.Layer:
        import keras

        return keras.layers.Activation("sigmoid", name=name)


class Softmax(Operation):
    """Shares of the channels of each pixel, which sum to 1. JDLL answers 'Invalid method'."""

    id: ClassVar = "softmax"
    has_layer: ClassVar = True

    @property
    def needs_graph(self) -> bool:
        return True

    def forward(self, image: np.ndarray, axes: list[str]) -> np.ndarray:
        image = np.asarray(image, np.float64)
        over = axes.index(str(self.kwargs.get("axis", "channel")))
        powers = np.exp(image - image.max(over, keepdims=True))
        return powers / powers.sum(over, keepdims=True)

    def layer(self, axes: str, name: str) -> keras.layers.Layer:
        import keras

        return keras.layers.Softmax(axis=axes.index("c"), name=name)
