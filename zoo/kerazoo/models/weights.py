"""Pretrained weights, from a file or from keras.applications, tensor by tensor into a network.

| file | its tensors |
| --- | --- |
| .npz | arrays named `layer/variable`, layers as keras.applications names them |
| .keras | any network that Keras loads: of keras.applications, or of another run |
| .h5 | a whole network or its weights, as keras.applications publishes them |

In a file with folded batch normalisation, `beta` is all that is left of each: gamma becomes 1, the mean 0, and the
variance 1 - epsilon, so that the layer adds beta and does nothing else.

A first convolution that was trained on red, green and blue is adapted to n channels: each gets the mean of the three
kernels times 3 / n. One channel thus gets their sum, which is what a grey image in all three channels would give.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from bmzpack.errors import UserError
from kerazoo.models.backbones import BACKBONES, encoder_of, freeze_statistics, get_backbone
from kerazoo.models.trained import weights_file

HEADS = ("probability", "output")
"""Last layers that answer one problem: another one has other classes."""


def load_weights(
    model: keras.Model,
    source: str | os.PathLike[str],
    backbone: str | None = None,
    alpha: float = 1.0,
    adapt: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = dict,
    optional: tuple[str, ...] = (),
) -> None:
    """Give a network pretrained weights.

    Parameters
    ----------
    model
        A network of the zoo.
    source
        `imagenet`, or a file as above.
    backbone
        The encoder of the network; then its tensors must all be in the file, the decoder's may be. Without an encoder
        all tensors must be there. A last layer that gives classes is left as it is, as these may be others even where
        there are as many of them; see `load_head`.
    alpha
        Width of the encoder, to choose among the `imagenet` weights.
    adapt
        What makes of the file's tensors, by `layer/variable`, those of this network.
    optional
        How the names of layers begin that the file need not have.

    Raises
    ------
    UserError
        There is no such file, it cannot be read, it belongs to another network, or there is no connection.
    """
    if source == "imagenet":
        if backbone is None:
            raise UserError("The weights `imagenet` are those of a backbone: choose one, or leave the weights out.")
        arrays = _download(backbone, alpha)
    else:
        arrays = adapt(read_weights(source))

    stem = f"{BACKBONES[backbone].stem}/kernel" if backbone else None
    general = [layer for layer in _parts(model) if layer not in _heads(model)]
    needed = encoder_of(model, backbone).layers if backbone else general
    names = {layer.name for layer in needed if not (optional and layer.name.startswith(optional))}
    found, missing = [], []
    for layer in general:
        tensors = _tensors_of(layer, arrays)
        for variable in _variables(layer):
            key = f"{layer.name}/{_name(layer, variable)}"
            array = tensors.get(_name(layer, variable))
            if array is not None and key == stem:
                array = adapt_channels(array, variable.shape[2])
            if array is not None and array.shape == tuple(variable.shape):
                found.append((variable, array))
            elif layer.name in names:
                missing.append(key)
    if missing:
        total = sum(len(_variables(layer)) for layer in needed)
        raise UserError(
            f"The weights {source} have {total - len(missing)} of the {total} tensors of {backbone or model.name} "
            f"({missing[0]} is missing or has another shape): choose the file of the same network and width, "
            "or set model.weights to null."
        )
    for variable, array in found:
        variable.assign(array)


def backbone_width(
    backbone: str | None, alpha: float | None, source: str | os.PathLike[str] | None, network: str
) -> float:
    """Width of a backbone: as chosen, else that of the weights file, else 1.

    Raises
    ------
    UserError
        A width is chosen for a backbone that has none; or the weights file cannot be read.
    """
    if backbone != "mobilenet_v2":
        if alpha is not None:
            raise UserError(f"{network}: alpha is the width of the backbone mobilenet_v2; leave it out.")
        return 1.0
    if alpha is None and source is not None and source != "imagenet":
        kernel = read_weights(source).get("block_16_project/kernel")
        return 1.0 if kernel is None else kernel.shape[-1] / 320
    return alpha or 1.0


def initialise(
    model: keras.Model, source: str | os.PathLike[str] | None, backbone: str | None = None, alpha: float = 1.0
) -> keras.Model:
    """Give a network its pretrained weights where there are any, and keep the statistics of its encoder.

    Parameters
    ----------
    model, source, backbone, alpha
        As for `load_weights`; without a source the network stays as it is.

    Returns
    -------
    keras.Model
        The same network.

    Raises
    ------
    UserError
        As for `load_weights`.
    """
    if source is not None:
        load_weights(model, source, backbone, alpha)
        if backbone is not None:
            freeze_statistics(encoder_of(model, backbone))
    return model


def load_head(model: keras.Model, source: str | os.PathLike[str]) -> None:
    """Give a network the last layer of one that answers the same problem, with the same classes in the same order.

    Parameters
    ----------
    model
        A network of the zoo.
    source
        A file as above.

    Raises
    ------
    UserError
        There is no such file, it cannot be read, or it has no such layer.
    """
    arrays = read_weights(source)
    for layer in _heads(model):
        tensors = _tensors_of(layer, arrays)
        for variable in _variables(layer):
            array = tensors.get(_name(layer, variable))
            if array is None or array.shape != tuple(variable.shape):
                raise UserError(f"The weights {source} have no {layer.name} of {model.name}: choose another file.")
            variable.assign(array)


def read_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read all tensors of a weights file.

    Parameters
    ----------
    path
        A file as above.

    Returns
    -------
    dict
        Arrays by `layer/variable`.

    Raises
    ------
    UserError
        There is no such file, or it cannot be read.
    """
    path = _existing(path)
    try:
        match path.suffix:
            case ".npz":
                with np.load(path) as file:
                    arrays = dict(file)
            case ".keras":
                arrays = _arrays_of(keras.saving.load_model(path, compile=False))
            case ".h5" | ".hdf5":
                with h5py.File(path) as file:
                    arrays = _read_h5(file.get("model_weights", file))
            case _:
                raise UserError(f"{path} is no weights file: it should end in .npz, .keras or .h5.")
    except (ValueError, TypeError, KeyError, OSError, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} cannot be read as weights ({str(error).splitlines()[0]}): get it again.") from error
    # What Keras 2 called the kernel of a depthwise convolution.
    return {name.replace("/depthwise_kernel", "/kernel"): array for name, array in arrays.items()}


def below_head(model: keras.Model) -> keras.Model:
    """A network up to its last layer, which answers one problem; the layers are shared, not copied."""
    head = next(layer for layer in model.layers if layer.name in (*HEADS, *model.output_names))
    return keras.Model(model.inputs, head.input)


def _heads(model: keras.Model) -> list[keras.layers.Layer]:
    """The last layer, where it gives classes."""
    return [layer for layer in model.layers if layer.name in HEADS and layer.name in model.output_names]


def is_folded(path: str | os.PathLike[str]) -> bool:
    """Whether the batch normalisation of a weights file is folded: there is no more of it than `beta`."""
    names = read_weights(path)
    return any(name.endswith("/beta") and f"{name.removesuffix('beta')}moving_mean" not in names for name in names)


def adapt_channels(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Make a kernel (y, x, 3, filters) one for any number of channels: the mean of its three times 3 / channels."""
    if kernel.shape[2] != 3 or channels == 3:
        return kernel
    return np.repeat(kernel.mean(axis=2, keepdims=True) * (3 / channels), channels, axis=2)


def _tensors_of(layer: keras.layers.Layer, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    names = [_name(layer, variable) for variable in _variables(layer)]
    tensors = {name: arrays.get(f"{layer.name}/{name}") for name in names}
    found = {name: array for name, array in tensors.items() if array is not None}
    if isinstance(layer, keras.layers.BatchNormalization) and list(found) == ["beta"]:
        ones = np.ones_like(found["beta"])
        found |= {"gamma": ones, "moving_mean": 0 * ones, "moving_variance": (1 - layer.epsilon) * ones}
    return found


def _parts(model: Any) -> list[keras.layers.Layer]:
    """The layers of a network and of the networks within it; what a layer is made of is not taken apart."""
    within = [_parts(layer) if isinstance(layer, keras.Model) else [layer] for layer in model.layers]
    return [layer for layers in within for layer in layers]


def _variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables of a layer without the states of random generators."""
    return [variable for variable in layer.variables if "seed_generator" not in variable.path]


def _name(layer: keras.layers.Layer, variable: keras.Variable) -> str:
    """The name of a variable in its layer, such as `kernel`; in a layer that is made of others, `query/kernel`."""
    return variable.path.rpartition(f"{layer.name}/")[2] or variable.name


def _arrays_of(model: Any) -> dict[str, np.ndarray]:
    return {
        f"{layer.name}/{_name(layer, variable)}": np.asarray(keras.ops.convert_to_numpy(variable))
        for layer in _parts(model)
        for variable in _variables(layer)
    }


def _read_h5(file: Any) -> dict[str, np.ndarray]:
    if "layer_names" not in file.attrs:
        raise UserError(
            f"{file.file.filename} names no layers (Keras writes .weights.h5 like that): save it as .keras."
        )
    arrays = {}
    for layer in file.attrs["layer_names"]:
        layer = layer.decode() if isinstance(layer, bytes) else layer
        for path in file[layer].attrs["weight_names"]:
            path = path.decode() if isinstance(path, bytes) else path
            arrays[f"{layer}/{path.split('/')[-1].removesuffix(':0')}"] = np.asarray(file[layer][path])
    return arrays


def _download(backbone: str, alpha: float) -> dict[str, np.ndarray]:
    try:
        model = get_backbone(backbone).build(alpha, weights="imagenet", input_shape=(224, 224, 3))
    except Exception as error:  # Keras raises a bare Exception where a download fails
        raise UserError(
            f"The ImageNet weights of {backbone} could not be downloaded ({str(error).splitlines()[0]}): "
            "connect to the internet, or name a local weights file as model.weights."
        ) from error
    return _arrays_of(model)


def _existing(path: str | os.PathLike[str]) -> Path:
    path = weights_file(path)
    if not path.is_file():
        raise UserError(f"There is no weights file {path}: check the name, write `imagenet`, or leave it out.")
    return path
