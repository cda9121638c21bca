"""Official StarDist 2D weights (stardist, csbdeep: config.json, thresholds.json, weights .h5) into our network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from bmzpack.bundle.hdf5 import foreign_part
from bmzpack.errors import UserError
from kerazoo.models.exchange import Converted
from kerazoo.models.stardist.network import stardist

WEIGHTS = ("weights_best.h5", "weights_last.h5", "weights_best.weights.h5", "weights_last.weights.h5")
"""File names in a model folder, the preferred one first."""

FIXED = {
    "n_dim": 2,
    "axes": "YXC",
    "backbone": "unet",
    "unet_kernel_size": [3, 3],
    "unet_n_conv_per_depth": 2,
    "unet_pool": [2, 2],
    "unet_activation": "relu",
    "unet_last_activation": "relu",
    "unet_batch_norm": False,
    "unet_expansion": 2,
    "unet_prefix": "",
}
"""Settings of config.json that our network knows one value of, the official default; older files lack some."""

HEADS = {"features": "features", "features_class": "class_features"} | {
    "prob": "probability",
    "dist": "distances",
    "prob_class": "classes",
}
"""Official and our names of the layers above the U-Net."""

DEFAULTS = {"prob": 0.5, "nms": 0.4}
"""Thresholds that the official package uses where thresholds.json holds none between 0 and 1."""


LARGEST_SETTING = 1024
"""No number of config.json is larger: its network would not fit into a memory."""

ARCHITECTURE = ("rays", "filters", "depth", "features")
"""Arguments of `kerazoo.models.stardist.network.stardist` that an official configuration tells."""


def convert(path: Path, channels: int | None) -> Converted:
    """What a run of the folder of a StarDist model is made of.

    Parameters
    ----------
    path
        The folder.
    channels
        Channels of the images, if they are to be checked.

    Raises
    ------
    UserError
        As for `load_stardist`, or the network is for other channels, also tells classes, or has different grids along
        y and x.
    """
    network, about = load_stardist(path)
    if channels not in (None, about["channels"]):
        raise UserError(f"{path} is for {about['channels']} channels: leave --channels out.")
    if about.get("classes"):
        raise UserError(f"{path} also tells {about['classes']} classes of objects: only networks without can be run.")
    grid = list(about["grid"])
    if len(set(grid)) > 1:
        raise UserError(f"{path} has the grid {grid}: only networks with one number for y and x can be run.")
    content = {
        "model": {"name": "stardist2d", "arguments": {name: about[name] for name in ARCHITECTURE} | {"grid": grid}},
        "data": {"channels": about["channels"]},
        "normalisation": {"method": "percentile", "low": 1, "high": 99.8},
        "decoding": {"threshold": about["threshold"], "overlap": about["overlap"]},
    }
    return Converted(network, content, grid=grid[0])


def load_stardist(path: str | os.PathLike[str]) -> tuple[keras.Model, dict[str, Any]]:
    """Read an official StarDist 2D model.

    Parameters
    ----------
    path
        A model folder, or a weights file (.h5) in it; config.json must be beside the weights.

    Returns
    -------
    keras.Model
        Our `stardist` with the official weights.
    dict
        ``rays``, ``grid``, ``channels``, ``classes`` (None: objects only), ``filters``, ``depth``, ``features``, and
        the thresholds: ``threshold`` of the probability and ``overlap`` of the suppression.

    Raises
    ------
    UserError
        A file is missing or cannot be read, the network is not one that ours can be, or a tensor is missing, has
        another shape, or would not be used.
    """
    folder, weights = _find(Path(path))
    config, arguments = _read_config(folder / "config.json")
    model = stardist((None, None, config["channels"]), **arguments)
    tensors = _our_names(_read_tensors(weights), weights)
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{layer.name}/{variable.name}"
            tensor = tensors.pop(name, None)
            if tensor is None:
                raise UserError(f"{weights} has no tensor for {name}: config.json beside it is of another network.")
            if tensor.shape != tuple(variable.shape):
                raise UserError(
                    f"{weights}: the tensor for {name} is {tensor.shape}, but config.json asks for "
                    f"{tuple(variable.shape)}: one of the two files is of another network."
                )
            variable.assign(tensor)
    if tensors:
        raise UserError(
            f"{weights} has {len(tensors)} tensors that config.json knows nothing of, such as {min(tensors)}: "
            "one of the two files is of another network."
        )
    return model, config | _read_thresholds(folder / "thresholds.json")


def _find(path: Path) -> tuple[Path, Path]:
    """The model folder and its weights file."""
    if path.is_file():
        folder, weights = path.parent, path
    else:
        folder = path
        weights = next((path / name for name in WEIGHTS if (path / name).is_file()), path / WEIGHTS[0])
    for file in (weights, folder / "config.json"):
        if not file.is_file():
            raise UserError(f"There is no {file}: name a StarDist model folder with config.json and {WEIGHTS[0]}.")
    return folder, weights


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}): get it again.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings: get it again.")
    return content


def _read_config(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What config.json says, and the arguments of `stardist`."""
    settings = _read_json(path)
    for name, value in FIXED.items():
        if settings.get(name, value) != value:
            raise UserError(f"{path}: {name} is {settings[name]!r}; only networks with {value!r} can be converted.")
    try:
        arguments = {
            "rays": int(settings["n_rays"]),
            "grid": (int(settings["grid"][0]), int(settings["grid"][1])),
            "classes": None if settings.get("n_classes") is None else int(settings["n_classes"]),
            "filters": int(settings["unet_n_filter_base"]),
            "depth": int(settings["unet_n_depth"]),
            "features": int(settings["net_conv_after_unet"]),
        }
        whole = {"channels": int(settings["n_channel_in"])} | arguments
        numbers = [*arguments["grid"], *(value for value in whole.values() if isinstance(value, int))]
        if not all(0 <= number <= LARGEST_SETTING for number in numbers):
            raise ValueError(max(numbers, key=abs))
        return whole, arguments
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path} is no config.json of StarDist 2D ({error!r}): name another folder.") from error


def _read_thresholds(path: Path) -> dict[str, float]:
    values = _read_json(path) if path.is_file() else {}
    usable = {key: value for key, value in values.items() if isinstance(value, int | float) and 0 < value < 1}
    values = DEFAULTS | usable
    return {"threshold": float(values["prob"]), "overlap": float(values["nms"])}


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a weights file, old or new format of Keras, by official layer and `kernel` or `bias`."""
    tensors = {}
    try:
        if (foreign := foreign_part(path)) is not None:
            raise UserError(f"{path} {foreign}: get it from where the model was published.")
        with h5py.File(path) as content:
            file: Any = content.get("model_weights", content)
            if "layers" in file:
                for group in file["layers"].values():
                    name = group["vars"].attrs["name"]
                    for number, tensor in group["vars"].items():
                        tensors[f"{name}/{('kernel', 'bias')[int(number)]}"] = np.asarray(tensor)
            else:
                for name, group in file.items():
                    for tensor in map(_text, group.attrs.get("weight_names", [])):
                        tensors[f"{name}/{tensor.split('/')[-1].removesuffix(':0')}"] = np.asarray(group[tensor])
    except UserError:
        raise
    except (OSError, KeyError, ValueError, IndexError, AttributeError, TypeError, RuntimeError) as error:
        raise UserError(f"{path} cannot be read as Keras weights ({error}): get it again.") from error
    if not tensors:
        raise UserError(f"{path} holds no weights: name a weights file of StarDist 2D.")
    return tensors


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _our_names(tensors: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    layers = {name.split("/")[0] for name in tensors}
    # Convolutions before the grid bear numbers that Keras gave them in that process: only their order means something.
    automatic = sorted((x for x in layers if x.startswith("conv2d")), key=lambda x: int(x[6:].lstrip("_") or 0))
    ours = {name: f"grid{i // 2 + 1}_convolution{i % 2 + 1}" for i, name in enumerate(automatic)}
    for name in layers - ours.keys():
        match name.split("_"):
            case ["down", "level", level, "no", number]:
                ours[name] = f"encoder{int(level) + 1}_convolution{int(number) + 1}"
            case ["up", "level", level, "no", number]:
                ours[name] = f"decoder{int(level) + 1}_convolution{1 if number == '0' else 2}"
            case ["middle", number]:
                ours[name] = f"bottleneck_convolution{1 if number == '0' else 2}"
            case _ if name in HEADS:
                ours[name] = HEADS[name]
            case _:
                raise UserError(f"{path} has a layer {name}, which no StarDist 2D network has: name another file.")
    return {f"{ours[layer]}/{tensor}": array for (layer, tensor), array in _split(tensors)}


def _split(tensors: dict[str, np.ndarray]) -> list[tuple[tuple[str, str], np.ndarray]]:
    return [((name.split("/")[0], name.split("/")[1]), array) for name, array in tensors.items()]
