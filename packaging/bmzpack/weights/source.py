"""What a ``.keras`` file must be like to be packed, read from its configuration without a framework."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.weights.registry import FORMATS


def tensor_names(model_path: Path, outputs: Sequence[str] | None = None) -> TensorNames:
    """The names that a model gives its inputs and outputs: those of its input layers and of its last layers.

    Parameters
    ----------
    model_path
        A ``.keras`` file.
    outputs
        Names for the outputs, where they are to be others than the layers'.

    Raises
    ------
    UserError
        The file cannot be read, or a name is one that Keras made up.
    """
    first, last = _ends(model_path, _configuration(model_path))
    for layer in first:
        _refuse_made_up(model_path, layer, "input")
    for layer in last if outputs is None else ():
        _refuse_made_up(model_path, layer, "output")
    return TensorNames(_names(first), _names(last) if outputs is None else list(outputs))


def layer_names(model_path: Path) -> TensorNames:
    """The names of a model's input layers and last layers, also those that Keras made up.

    Raises
    ------
    UserError
        The file cannot be read.
    """
    first, last = _ends(model_path, _configuration(model_path))
    return TensorNames(_names(first), _names(last))


def made_up_names(model_path: Path) -> TensorNames:
    """Those of `layer_names` that Keras made up.

    Raises
    ------
    UserError
        The file cannot be read.
    """
    ends = _ends(model_path, _configuration(model_path))
    first, last = ([layer for layer in layers if _is_made_up(layer)] for layers in ends)
    return TensorNames(_names(first), _names(last))


def check_code(model_path: Path) -> None:
    """As `refuse_code`, of a file that was not read yet."""
    refuse_code(model_path, _configuration(model_path))


def refuse_code(model_path: Path, configuration: dict[str, Any]) -> None:
    """Refuse code outside Keras.

    Parameters
    ----------
    model_path
        Begins the message.
    configuration
        Configuration of the model, as Keras stores it.

    Raises
    ------
    UserError
        There is a Lambda layer, a custom class or a custom function.
    """
    for item in _serialised(configuration):
        name = item.get("config", {}).get("name") if isinstance(item.get("config"), dict) else item.get("config")
        if item["class_name"] in ("Lambda", "__lambda__"):
            raise UserError(
                f"{model_path}: the Lambda layer {name!r} is Python code, which no bundle can carry: "
                "write it with Keras layers or keras.ops."
            )
        if item["module"] is not None and str(item["module"]).split(".")[0] not in ("keras", "builtins"):
            raise UserError(
                f"{model_path}: {name!r} is custom code ({item['module']}.{item['class_name']}), which no bundle can "
                "carry: write it with Keras layers or keras.ops."
            )
        if item["module"] is None or (item["module"] == "builtins" and item["class_name"] == "function"):
            raise UserError(
                f"{model_path}: the function {item['config']!r} is custom code, which no bundle can carry: "
                "use one of Keras' own."
            )


def bilinear_upsampling(model_path: Path) -> list[str]:
    """Names of the layers of bilinear upsampling of a model for images of any size, nested ones too."""
    configuration = _configuration(model_path)
    if not _of_any_size(_ends(model_path, configuration)[0]):
        return []
    found = [item["config"] for item in _serialised(configuration) if item["class_name"] == "UpSampling2D"]
    return [str(config["name"]) for config in found if config["interpolation"] == "bilinear"]


def _of_any_size(inputs: Sequence[dict[str, Any]]) -> bool:
    return any(size is None for layer in inputs for size in layer["config"]["batch_shape"][1:])


def check_source(model_path: Path, names: TensorNames, formats: Sequence[str], *, names_made_up: bool = False) -> None:
    """Refuse a model that no consumer could run.

    Parameters
    ----------
    model_path
        A ``.keras`` file.
    names
        Tensor ids.
    formats
        Weights formats that it is to be written in.
    names_made_up
        Whether input layers may have names that Keras made up: in a bundle by another program the ids say what they
        are.

    Raises
    ------
    UserError
        Code outside Keras, made-up input names, an input that is not float32, another number of inputs or outputs than
        of names, or a layer name that torch cannot take.
    """
    configuration = _configuration(model_path)
    refuse_code(model_path, configuration)
    inputs, outputs = _ends(model_path, configuration)
    open_sizes = _of_any_size(inputs)
    for item in _serialised(configuration):
        if open_sizes and item["class_name"] == "UpSampling2D" and item["config"]["interpolation"] != "nearest":
            raise UserError(
                f"{model_path}: Keras cannot run {item['config']['name']!r} ({item['config']['interpolation']} "
                "upsampling) on images of any size: give the Input a fixed size, such as (256, 256, 1), or use nearest "
                "interpolation or a transposed convolution."
            )
    for layer in inputs:
        if not names_made_up:
            _refuse_made_up(model_path, layer, "input")
        if layer["config"]["dtype"] != "float32":
            raise UserError(
                f"{model_path}: the input {layer['config']['name']!r} is {layer['config']['dtype']}, but Fiji, ilastik "
                "and QuPath feed float32: declare the input as float32 and cast behind it."
            )
    for kind, layers, ids in (("inputs", inputs, names.inputs), ("outputs", outputs, names.outputs)):
        if len(layers) != len(ids):
            raise UserError(f"{model_path} has {len(layers)} {kind}, but {len(ids)} are described: {ids}.")
    for name in formats:
        if not FORMATS[name].layer_names_with_dots:
            _refuse_dots(model_path, name, configuration)


def _refuse_dots(model_path: Path, form: str, configuration: dict[str, Any]) -> None:
    for item in _serialised(configuration):
        layer = item["config"].get("name", "") if isinstance(item["config"], dict) else ""
        if isinstance(layer, str) and "." in layer:
            raise UserError(
                f"{model_path}: {form} cannot hold the layer name {layer!r}: rename it without dots, "
                "or leave the format out."
            )


def _configuration(model_path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(model_path) as archive:
            configuration = json.loads(archive.read("config.json"))
    except FileNotFoundError:
        raise UserError(f"{model_path} does not exist: name a .keras file.") from None
    except (zipfile.BadZipFile, KeyError, ValueError, IsADirectoryError, RecursionError):
        raise _not_whole(model_path) from None
    if not isinstance(configuration, dict):
        raise _not_whole(model_path)
    if configuration.get("class_name") not in ("Functional", "Model", "Sequential"):
        raise UserError(
            f"{model_path}: a model class of its own ({configuration.get('class_name')}) is custom code, which no "
            "bundle can carry: build the model with the functional API."
        )
    return configuration


def _not_whole(model_path: Path) -> UserError:
    return UserError(f"{model_path} is not a whole .keras file: save the model again with model.save.")


def _serialised(item: Any) -> Iterator[dict[str, Any]]:
    """Every Keras object in a configuration, except what only training needs."""
    if isinstance(item, dict):
        if "class_name" in item and "config" in item:
            yield {"module": "keras", "registered_name": None} | item
        for key, value in item.items():
            if key not in ("compile_config", "build_config"):
                yield from _serialised(value)
    elif isinstance(item, list):
        for value in item:
            yield from _serialised(value)


def _ends(model_path: Path, configuration: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The input layers and the layers that give the outputs."""
    try:
        layers = configuration["config"]["layers"]
        if configuration["class_name"] == "Sequential":
            if layers[0]["class_name"] != "InputLayer":
                raise UserError(f"{model_path} has no input: begin it with keras.Input(shape, name='raw').")
            return layers[:1], layers[-1:]
        by_name = {layer["name"]: layer for layer in layers}
        return (
            [by_name[name] for name in _references(configuration["config"]["input_layers"])],
            [by_name[name] for name in _references(configuration["config"]["output_layers"])],
        )
    except (LookupError, TypeError, AttributeError):
        raise _not_whole(model_path) from None


def _names(layers: Sequence[dict[str, Any]]) -> list[str]:
    return [layer["config"]["name"] for layer in layers]


def _references(item: Any) -> Iterator[str]:
    """Layer names in Keras' nested ``[name, node, tensor]`` lists, in the order of the flattened structure."""
    if isinstance(item, dict):
        for key in sorted(item):
            yield from _references(item[key])
    elif len(item) == 3 and isinstance(item[0], str) and all(isinstance(index, int) for index in item[1:]):
        yield item[0]
    else:
        for value in item:
            yield from _references(value)


def _is_made_up(layer: dict[str, Any]) -> bool:
    """Whether a layer has the name that Keras gives one without."""
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", layer["class_name"])).lower()
    return re.fullmatch(rf"({snake}|input|keras_tensor)(_\d+)?", layer["config"]["name"]) is not None


def _refuse_made_up(model_path: Path, layer: dict[str, Any], kind: str) -> None:
    name = layer["config"]["name"]
    if _is_made_up(layer):
        raise UserError(
            f"{model_path}: the {kind} {name!r} has no name of its own: give its layer one, such as name="
            f"{'raw' if kind == 'input' else 'probability'!r}, for consumers find tensors by name."
        )
