"""TorchScript, for ilastik: the model on Keras' torch backend, traced."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
import torch

from bmzpack.engines import TensorNames
from bmzpack.weights.model import version


class Positional(torch.nn.Module):
    """Takes and gives tensors by position, as consumers do."""

    def __init__(self, model: keras.Model):
        super().__init__()
        self.model = model

    def forward(self, *tensors):
        outputs = keras.tree.flatten(self.model(keras.tree.pack_sequence_as(self.model.input, tensors), training=False))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def write(model: keras.Model, path: Path, names: TensorNames) -> dict[str, str | int]:
    """Write ``path``."""
    example = tuple(
        torch.from_numpy(
            np.zeros([1 if position == 0 else size or 64 for position, size in enumerate(tensor.shape)], np.float32)
        )
        for tensor in model.inputs
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(Positional(model).eval(), example, check_trace=False)
    torch.jit.save(traced, str(path))
    return {"pytorch_version": version(torch.__version__)}
