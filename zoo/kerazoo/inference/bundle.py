"""The network and the recipe of a bundle: of the zoo's own, and as far as it says enough, of anyone's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from bmzpack.bundle.archive import unpacked
from bmzpack.errors import UserError
from bmzpack.measure.geometry import measure
from bmzpack.settings import read_yaml, validate
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import EPSILON, Normalisation
from kerazoo.inference.network import load_model
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.models.registry import family_of_kind


def load_bundle(path: Path) -> tuple[keras.Model, Recipe]:
    """Load the Keras weights of a bundle.

    Parameters
    ----------
    path
        A zip file, its unpacked folder, or the rdf.yaml in it.

    Returns
    -------
    tuple of keras.Model and Recipe
        The recipe is the one that the zoo wrote into the bundle; for bundles of others it is derived from what the
        bundle describes and what is measured of the network, and the task is semantic.

    Raises
    ------
    UserError
        It is no bundle, has no keras_v3 weights, or what it describes cannot be done here; the message says what.
    """
    with unpacked(path) as folder:
        description = read_yaml(folder / "rdf.yaml", f"description of the bundle {path}")
        described = description.get("weights") or {}
        weights = described.get("keras_v3")
        outputs = ", ".join(tensor["id"] for tensor in description["outputs"])
        if outputs in ("labels", "masks, scores", "embeddings"):
            raise UserError(f"{path} ends in {outputs}: use the run that it was made of, or a bundle of another form.")
        if weights is None:
            known = ", ".join(described) or "none"
            raise UserError(f"{path} has no keras_v3 weights ({known}): use a bundle of a Keras 3 network.")
        model = _without_rim(load_model(folder / str(weights["source"])))
    own = (description.get("config") or {}).get("kerazoo")
    if own is None:
        return model, derived_recipe(description, model, str(path))
    # What programs lack is part of the bundle's network; what remains to be done before it is what the bundle declares.
    recipe = validate(Recipe, own, f"{path}, config.kerazoo")
    model = _behind_processing(model, family_of_kind(recipe.targets).unpacked)
    if len(description["inputs"]) > 1:
        return model, recipe
    operations = description["inputs"][0].get("preprocessing", [])
    return model, recipe.model_copy(update={"normalisation": _normalisation(operations, recipe.channels, str(path))})


def derived_recipe(description: dict[str, Any], model: keras.Model, name: str) -> Recipe:
    """What can be said about the network of a bundle that the zoo did not make.

    Parameters
    ----------
    description
        The content of its rdf.yaml, format version 0.5.
    model
        The network; its tile geometry is measured.
    name
        Names the bundle in messages.

    Raises
    ------
    UserError
        Another format version; several inputs or outputs; other axes than batch, y, x, channel; a single output
        channel; postprocessing; or preprocessing that `kerazoo.data.normalise.Normalisation` does not know.
    """
    if not str(description.get("format_version", "")).startswith("0.5"):
        raise UserError(f"{name} has format_version {description.get('format_version')}: only 0.5 is read.")
    inputs, outputs = description["inputs"], description["outputs"]
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(f"{name} has {len(inputs)} inputs and {len(outputs)} outputs: only one of each can be used.")
    if operations := [op["id"] for op in outputs[0].get("postprocessing", []) if op["id"] != "ensure_dtype"]:
        raise UserError(f"{name} has postprocessing ({', '.join(operations)}), which cannot be done here.")
    channels, classes = (_channel_names(tensor, name) for tensor in (inputs[0], outputs[0]))
    if len(classes) < 2:
        raise UserError(f"{name} has one output channel: only networks with one channel per class can be used.")
    return Recipe(
        model=str(description.get("name")),
        task="semantic",
        channels=len(channels),
        channel_names=channels,
        classes=classes,
        targets="classes",
        annotation="classes",
        normalisation=_normalisation(inputs[0].get("preprocessing", []), len(channels), name),
        decoding=DecodingConfig(),
        geometry=TileGeometry(**dataclasses.asdict(measure(model))),
    )


def _without_rim(model: keras.Model) -> keras.Model:
    """The network without zeros around an output that is smaller than the input, which the packer adds.

    The tiling here places such an output, and has something better than zeros for the border of an image.
    """
    last = model.layers[-1]
    return keras.Model(model.inputs, last.input) if isinstance(last, keras.layers.ZeroPadding2D) else model


def _behind_processing(model: keras.Model, change: Callable[[keras.Model], keras.Model]) -> keras.Model:
    """A network of which the part behind layers of preprocessing is changed, if the packer has put such before it."""
    *before, last = model.layers[1:]
    if not isinstance(last, keras.Model) or len(model.inputs) > 1:
        return change(model)
    x = model.inputs[0]
    for layer in before:
        x = layer(x)
    return keras.Model(model.inputs, change(last)(x))


def _channel_names(tensor: dict[str, Any], name: str) -> list[str]:
    axes = {axis.get("id", axis["type"]): axis for axis in tensor["axes"]}
    if list(axes) != ["batch", "y", "x", "channel"]:
        raise UserError(f"{name} has the axes {', '.join(axes)}: only batch, y, x, channel can be used.")
    return axes["channel"]["channel_names"]


def _normalisation(operations: list[dict[str, Any]], channels: int, name: str) -> Normalisation:
    """The normalisation that computes what preprocessing declares."""
    operation, *further = [entry for entry in operations if entry["id"] != "ensure_dtype"] or [{"id": "none"}]
    arguments = operation.get("kwargs") or {}
    axes = set(arguments.get("axes") or ("channel", "y", "x")) - {"batch"}
    per_channel = axes == {"y", "x"} and channels > 1
    whole = axes == {"channel", "y", "x"} or (channels == 1 and axes == {"y", "x"})
    match operation["id"]:
        case _ if further or arguments.get("eps", EPSILON) != EPSILON:
            pass
        case "none":
            return Normalisation(method="none")
        case "zero_mean_unit_variance" if whole:
            return Normalisation(method="standardisation")
        case "scale_range" if (whole or per_channel) and arguments.get("reference_tensor") is None:
            low, high = arguments.get("min_percentile", 0.0), arguments.get("max_percentile", 100.0)
            return Normalisation(method="percentile", low=low, high=high, per_channel=per_channel)
        case "fixed_zero_mean_unit_variance":
            mean, deviation = (_listed(arguments[key], channels) for key in ("mean", "std"))
            return Normalisation(method="standardisation", scope="dataset", mean=mean, deviation=deviation)
        case "scale_linear":
            gains = set(_listed(arguments.get("gain", 1.0), channels))
            offsets = _listed(arguments.get("offset", 0.0), channels)
            if len(gains) == 1 and 0 not in gains:
                return Normalisation(method="centering", maximum=1 / gains.pop(), mean=[-value for value in offsets])
    listed = ", ".join(f"{entry['id']} {entry.get('kwargs', '')}".strip() for entry in operations)
    raise UserError(f"{name} has preprocessing that cannot be done here: {listed}.")


def _listed(value: float | list[float], channels: int) -> list[float]:
    return list(value) if isinstance(value, list) else [value] * channels
