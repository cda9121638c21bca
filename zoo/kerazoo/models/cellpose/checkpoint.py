"""Official weights of Cellpose 1 to 3, and of Omnipose, whose network has the same layers, into those of this zoo."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from bmzpack.errors import UserError
from kerazoo.files.torch_file import read_torch_file
from kerazoo.models.cellpose.network import WIDTHS

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_LINEAR = {"weight": "kernel", "bias": "bias"}
_DIAMETERS = ("diam_mean", "diam_labels")
_STEM, _HEAD = "downsample.down.res_down_0.conv.conv_0.2.weight", "output.2.weight"


def convert(
    path: Path, channels: int | None, builder: Callable[..., keras.Model], *, name: str, outputs: int, other: str
) -> tuple[keras.Model, dict[str, Any], dict[str, float]]:
    """What a run of an official file of Cellpose or Omnipose is made of.

    Parameters
    ----------
    path
        The file.
    channels
        Number of channels of the images; fewer than the network takes, zeros are put in place of the others, as the
        official packages do. By default 1.
    builder
        Builds the network; see `read_network`.
    name, outputs
        The package whose file it should be, and how many output channels its network has.
    other
        The package whose files have the other number of outputs.

    Returns
    -------
    tuple
        The network, the content of its configuration, and the diameters of `read_network`.

    Raises
    ------
    UserError
        As for `read_network`, or the file is of the other package, or not for so many channels.
    """
    network, diameters = read_network(path, builder)
    if (found := network.outputs[0].shape[-1]) != outputs:
        raise UserError(
            f"{path} has {found} outputs; {name} has {outputs} here. By its outputs it is {other} "
            "(or an Omnipose network without boundaries, which cannot be run)."
        )
    taken = network.inputs[0].shape[-1]
    channels = 1 if channels is None else channels
    if not 1 <= channels <= taken:
        raise UserError(f"{path} is for {taken} channels: choose from 1 to {taken}.")
    if channels < taken:
        network = _with_zeros(network, channels, taken)
    content = {
        "model": {"name": f"{name}2d", "weights": None},
        "data": {"channels": channels},
        "normalisation": {"method": "percentile", "per_channel": channels > 1},
        "decoding": {"minimum_size": 15},
    }
    return network, content, diameters


def read_network(
    path: str | os.PathLike[str], builder: Callable[..., keras.Model]
) -> tuple[keras.Model, dict[str, float]]:
    """A network with the weights of an official file.

    Parameters
    ----------
    path
        File of a model of Cellpose 1, 2 or 3 (PyTorch), such as `cyto3` or one that was trained with it, or of
        Omnipose. It does not say which of the two has made it; with three outputs it could be either.
    builder
        `kerazoo.models.cellpose.network.cellpose` or `kerazoo.models.omnipose.network.omnipose`.

    Returns
    -------
    keras.Model
        What the builder builds; channels and outputs are those of the file.
    dict
        `diam_mean`: the diameter in pixels to which images were rescaled for training; `diam_labels`: the diameter of
        the objects that it was trained with, before that. Files of Cellpose 1 may know neither.

    Raises
    ------
    UserError
        The file cannot be read, or is of another network: the message says what does not fit.
    """
    tensors = _tensors(path)
    diameters = {}
    for name in _DIAMETERS:
        if name in tensors:
            if tensors[name].size != 1:
                raise UserError(f"{path}: {name} has the shape {tensors[name].shape}, where one number is expected.")
            diameters[name] = float(tensors[name].reshape(()))

    network = builder(input_shape=(None, None, tensors[_STEM].shape[1]), outputs=tensors[_HEAD].shape[0])
    for tensor, (layer, variable) in _TENSORS.items():
        _assign(path, tensor, tensors[tensor], network.get_layer(layer), variable)
    return network, diameters


def _with_zeros(network: keras.Model, channels: int, taken: int) -> keras.Model:
    """The network for fewer channels, with zeros in place of the others."""
    inputs = keras.Input((None, None, channels), name="raw")
    zeros = layers.Rescaling(0.0, name="channel_without_image")(inputs)
    missing = [zeros] * -(-(taken - channels) // channels)
    together = layers.Concatenate(name="channels")([inputs, *missing])
    return keras.Model(inputs, network(together), name=f"{network.name}_of_{channels}")


def _table() -> dict[str, tuple[str, str]]:
    """Tensor of the official file: layer, variable."""
    blocks = {"output.0": "flows_norm", "output.2": "flows"}
    for level in range(1, len(WIDTHS) + 1):
        down, up = f"downsample.down.res_down_{level - 1}", f"upsample.up.res_up_{level - 1}"
        for official, ours in {down: f"encoder{level}", up: f"decoder{level}"}.items():
            blocks |= {f"{official}.proj.0": f"{ours}_projection_norm", f"{official}.proj.1": f"{ours}_projection"}
            for number in range(1, 5):
                # On the way up all but the first convolution have a style, and so one more level of names.
                styled = official == up and number > 1
                block = f"{official}.conv.conv_{number - 1}"
                inner = f"{block}.conv" if styled else block
                blocks |= {
                    f"{inner}.0": f"{ours}_convolution{number}_norm",
                    f"{inner}.2": f"{ours}_convolution{number}",
                }
                if styled:
                    blocks[f"{block}.full"] = f"{ours}_convolution{number}_style"
    return {
        f"{official}.{tensor}": (layer, variable)
        for official, layer in blocks.items()
        for tensor, variable in (_NORM if layer.endswith("_norm") else _LINEAR).items()
    }


_TENSORS = _table()
_UNUSED = "num_batches_tracked"
"""A count of training steps, beside every batch normalisation."""


def _tensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    tensors = read_torch_file(path)
    _refuse_others(path, tensors)
    stem, head = tensors[_STEM], tensors[_HEAD]
    if stem.ndim != 4 or head.ndim != 4:
        raise UserError(f"{path} is a network for volumes: only networks for images (2D) can be converted.")
    if (outputs := head.shape[0]) not in (3, 4):
        raise UserError(f"{path} has {outputs} outputs: Cellpose has 3, Omnipose 3 or 4.")
    return tensors


def _refuse_others(path: str | os.PathLike[str], tensors: dict[str, np.ndarray]) -> None:
    if any(name.startswith(("encoder.", "module.encoder.")) or name in ("W2", "W3") for name in tensors):
        raise UserError(
            f"{path} is a file of Cellpose-SAM (Cellpose 4), a vision transformer: that is another network. Choose one "
            "of Cellpose 1 to 3, such as cyto3."
        )
    missing = sorted(_TENSORS.keys() - tensors.keys())
    if missing:
        raise UserError(
            f"{path} has {len(_TENSORS) - len(missing)} of the {len(_TENSORS)} tensors of Cellpose's network "
            f"({missing[0]} is missing): choose a file of Cellpose 1 to 3 or of Omnipose."
        )
    known = {f"{name.rpartition('.')[0]}.{_UNUSED}" for name in _TENSORS if name.endswith("running_mean")}
    others = sorted(tensors.keys() - _TENSORS.keys() - known - {*_DIAMETERS})
    if others:
        raise UserError(f"{path} has tensors that Cellpose's network does not have ({others[0]}): it is another one.")


def _assign(
    path: str | os.PathLike[str], tensor: str, values: np.ndarray, layer: keras.layers.Layer, variable: str
) -> None:
    target: Any = getattr(layer, variable)
    if variable == "kernel":
        # (out, in, y, x), of dense layers (out, in), to (y, x, in, out).
        values = values.reshape(*values.shape, *[1] * (4 - values.ndim)).transpose(2, 3, 1, 0)
    if values.shape != tuple(target.shape):
        raise UserError(
            f"{path}: {tensor} has the shape {values.shape} where {tuple(target.shape)} is expected (axes as in "
            "Keras): the network has another width or another build."
        )
    if not np.isfinite(values).all():
        raise UserError(f"{path}: {tensor} holds values that are no numbers; get the file again.")
    target.assign(values.astype(np.float32))
