"""The network and the recipe of a bundle: of the zoo's own, and as far as it says enough, of anyone's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmzpack.bundle.contents import Contents, opened
from bmzpack.errors import UserError
from bmzpack.settings import validate
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import EPSILON, Normalisation
from kerazoo.inference.served import ServedNetwork
from kerazoo.models.recipe import Recipe, TileGeometry


def load_bundle(path: Path) -> tuple[ServedNetwork, Recipe]:
    """Open the Keras weights of a bundle, which run in a process of their own.

    Parameters
    ----------
    path
        A zip file, its unpacked folder, or the rdf.yaml in it.

    Returns
    -------
    tuple of ServedNetwork and Recipe
        The recipe is the one that the zoo wrote into the bundle; for bundles of others it is derived from what the
        bundle describes and what is measured of the network, and the task is semantic.

    Raises
    ------
    UserError
        It is no bundle, has no keras_v3 weights, or what it describes cannot be done here; the message says what.
    """
    with opened(path) as contents:
        _refuse_problems(contents, path)
        if (form := _form_of(contents)) is not None:
            raise UserError(
                f"{path} is a bundle of the form {form}, which cannot be applied here: use the run that it was made "
                "of, or its bundle of the form maps."
            )
        if "keras_v3" not in contents.weights:
            known = ", ".join(contents.weights) or "none"
            raise UserError(f"{path} has no keras_v3 weights ({known}): use a bundle of a Keras 3 network.")
        recipe = _understood(contents, path)
        targets = recipe.targets if "kerazoo" in contents.config else None
        minimum = None if targets is None else recipe.geometry.minimum
        network = ServedNetwork(contents, targets, recipe.patch is not None, minimum)
    if network.geometry is not None:
        recipe = recipe.model_copy(update={"geometry": network.geometry})
    if network.without_processing:
        own = validate(Recipe, contents.config["kerazoo"], f"{path}, config.kerazoo")
        recipe = recipe.model_copy(update={"normalisation": own.normalisation})
    return network, recipe


def recipe_of_bundle(path: Path) -> tuple[Recipe, bool]:
    """The recipe of a bundle, whose geometry counts for the zoo's own only, and whether `load_bundle` may open it.

    Raises
    ------
    UserError
        As for `load_bundle`.
    """
    with opened(path) as contents:
        _refuse_problems(contents, path)
        return _understood(contents, path), _form_of(contents) is None and "keras_v3" in contents.weights


def _form_of(contents: Contents) -> str | None:
    """The form of a bundle of the zoo that does not end in what the network of its run gives."""
    own = contents.config.get("kerazoo")
    return own.get("form") if isinstance(own, Mapping) else None


def _refuse_problems(contents: Contents, path: Path) -> None:
    if contents.problems:
        raise UserError(f"{path}: {': '.join(contents.problems[0])}.")


def _understood(contents: Contents, path: Path) -> Recipe:
    """See `_recipe`; UserError where the description makes no sense."""
    try:
        return _recipe(contents.rdf, str(path))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} has a description that cannot be understood: `bmzpack check` says why.") from error


def _recipe(description: Mapping[str, Any], name: str) -> Recipe:
    """The zoo's own recipe, or one of a stranger's description, whose geometry is still to be measured."""
    own = (description.get("config") or {}).get("kerazoo")
    if own is None:
        return derived_recipe(description, name)
    # What programs lack is part of the bundle's network; what remains to be done before it is what the bundle declares.
    own = {key: value for key, value in own.items() if key != "form"} if isinstance(own, Mapping) else own
    recipe = validate(Recipe, own, f"{name}, config.kerazoo")
    if len(description["inputs"]) > 1:
        return recipe
    operations = description["inputs"][0].get("preprocessing", [])
    return recipe.model_copy(update={"normalisation": _normalisation(operations, recipe.channels, name)})


def derived_recipe(description: Mapping[str, Any], name: str) -> Recipe:
    """What can be said about the network of a bundle that the zoo did not make.

    Parameters
    ----------
    description
        The content of its rdf.yaml, format version 0.5.
    name
        Names the bundle in messages.

    Returns
    -------
    Recipe
        Its geometry is to be replaced by that which is measured.

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
        geometry=TileGeometry(step=1, halo=None, minimum=1),
    )


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
