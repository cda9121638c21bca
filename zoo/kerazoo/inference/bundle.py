"""The network and the recipe of a bundle: of the zoo's own, and as far as it says enough, of anyone's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import yaml
from bmzpack.bundle import unpacked

from bmzpack.errors import UserError
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.inference.network import load_model
from kerazoo.recipe import Recipe, TileGeometry


def load_bundle(path: Path) -> tuple[keras.Model, Recipe]:
    """Load the Keras weights of a bundle.

    Parameters
    ----------
    path
        A zip file, its unpacked folder, or the rdf.yaml in it.

    Returns
    -------
    tuple of keras.Model and Recipe
        The recipe is the one that the zoo wrote into the bundle; for bundles of others it is derived from the axes,
        the preprocessing and the sizes that the bundle describes, and the task is semantic.

    Raises
    ------
    UserError
        It is no bundle, has no keras_v3 weights, or what it describes cannot be done here; the message says what.
    """
    with unpacked(path) as folder:
        description = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
        weights = description.get("weights", {}).get("keras_v3")
        if weights is None:
            known = ", ".join(description.get("weights", {})) or "none"
            raise UserError(f"{path} has no keras_v3 weights ({known}): use a bundle of a Keras 3 network.")
        model = load_model(folder / str(weights["source"]))
    recipe = (description.get("config") or {}).get("kerazoo")
    return model, Recipe.model_validate(recipe) if recipe else derived_recipe(description, str(path))


def derived_recipe(description: dict[str, Any], name: str) -> Recipe:
    """What can be said about a network from the description (spec 0.5) of a bundle that the zoo did not make.

    Raises
    ------
    UserError
        Several inputs or outputs, other axes than batch, y, x, channel, fixed sizes, postprocessing, or preprocessing
        that `kerazoo.data.normalise.Normalisation` does not know.
    """
    if not str(description.get("format_version", "")).startswith("0.5"):
        raise UserError(f"{name} has format_version {description.get('format_version')}: only 0.5 is read.")
    inputs, outputs = description["inputs"], description["outputs"]
    if len(inputs) != 1 or len(outputs) != 1:
        raise UserError(f"{name} has {len(inputs)} inputs and {len(outputs)} outputs: only one of each can be used.")
    if operations := [op["id"] for op in outputs[0].get("postprocessing", []) if op["id"] != "ensure_dtype"]:
        raise UserError(f"{name} has postprocessing ({', '.join(operations)}), which cannot be done here.")
    source, result = _axes(inputs[0], name), _axes(outputs[0], name)
    channels, classes = (axes["channel"]["channel_names"] for axes in (source, result))
    if len(classes) < 2:
        raise UserError(f"{name} has one output channel: only networks with one channel per class can be used.")
    return Recipe(
        model=str(description.get("name")),
        task="semantic",
        channels=len(channels),
        channel_names=channels,
        classes=classes,
        targets="classes",
        normalisation=_normalisation(inputs[0].get("preprocessing", []), len(channels), name),
        decoding=DecodingConfig(),
        geometry=_geometry(source, result, name),
    )


def _axes(tensor: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    axes = {axis.get("id", axis["type"]): axis for axis in tensor["axes"]}
    if list(axes) != ["batch", "y", "x", "channel"]:
        raise UserError(f"{name} has the axes {', '.join(axes)}: only batch, y, x, channel can be used.")
    return axes


def _geometry(source: dict[str, Any], result: dict[str, Any], name: str) -> TileGeometry:
    minimum, step, margin, halo = 0, 1, 0, 0
    for axis in "yx":
        size = source[axis]["size"]
        related = result[axis]["size"]
        if not isinstance(size, dict) or "step" not in size:
            raise UserError(f"{name} takes one size of {axis} only ({size}): only sizes of min and step can be used.")
        if not isinstance(related, dict) or related.get("axis_id") != axis or result[axis].get("scale", 1) != 1:
            raise UserError(f"{name} does not say that its output is as large as its input along {axis}.")
        minimum, step = max(minimum, size["min"]), max(step, size["step"])
        margin = max(margin, -related.get("offset", 0) // 2)
        halo = max(halo, result[axis].get("halo", 0))
    # The halo of the specification is cropped from the output, that of the zoo is counted from the input.
    return TileGeometry(step=step, halo=halo + margin if halo or margin else None, margin=margin, minimum=minimum)


def _normalisation(operations: list[dict[str, Any]], channels: int, name: str) -> Normalisation:
    operations = [operation for operation in operations if operation["id"] != "ensure_dtype"]
    if not operations:
        return Normalisation(method="none")
    first, arguments = operations[0]["id"], operations[0].get("kwargs", {})
    whole = set(arguments.get("axes") or ("channel", "y", "x")) - {"batch"} == {"channel", "y", "x"} or channels == 1
    if len(operations) == 1 and first == "zero_mean_unit_variance" and whole:
        return Normalisation(method="standardisation")
    if len(operations) == 1 and first == "scale_range" and whole and "reference_tensor" not in arguments:
        low, high = arguments.get("min_percentile", 0.0), arguments.get("max_percentile", 100.0)
        return Normalisation(method="percentile", low=low, high=high)
    if len(operations) == 1 and first == "fixed_zero_mean_unit_variance":
        mean, deviation = (_listed(arguments[key], channels) for key in ("mean", "std"))
        return Normalisation(method="standardisation", scope="dataset", mean=mean, deviation=deviation)
    if len(operations) == 1 and first == "scale_linear":
        gains = set(_listed(arguments.get("gain", 1.0), channels))
        offsets = _listed(arguments.get("offset", 0.0), channels)
        if len(gains) == 1 and 0 not in gains:
            return Normalisation(method="centering", maximum=1 / gains.pop(), mean=[-offset for offset in offsets])
    listed = ", ".join(f"{operation['id']} {operation.get('kwargs', '')}".strip() for operation in operations)
    raise UserError(f"{name} has preprocessing that cannot be done here: {listed}.")


def _listed(value: float | list[float], channels: int) -> list[float]:
    return list(value) if isinstance(value, list) else [value] * channels
