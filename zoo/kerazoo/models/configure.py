"""From a YAML file to a complete configuration: the family of the network fills in what is left out, and checks it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from bmzpack.errors import UserError
from bmzpack.settings import Section, read_yaml, validate
from kerazoo.config import Config
from kerazoo.models.family import Family
from kerazoo.models.registry import families, family_of_model, get_model
from kerazoo.models.trained import trained_networks


def read_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Config:
    """Read a run's YAML file.

    Parameters
    ----------
    path
        The YAML file; relative paths in it are taken from its folder.
    overrides
        Changes of the form ``section.key=value``, the value in YAML; relative paths are taken from the working folder.

    Returns
    -------
    Config
        The validated configuration, its paths absolute.

    Raises
    ------
    UserError
        The file is missing or not YAML, or a key or value is not accepted; the message names it, and the nearest
        known key.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no configuration file {path}: write one with `kerazoo init`.")
    content = read_yaml(path, "configuration")
    for override in overrides:
        _apply(content, override)
    return make_config(content, str(path), path.parent)


def make_config(content: dict[str, Any], source: str = "the configuration", folder: Path | None = None) -> Config:
    """Validate a nested dict as a `Config`; relative paths are taken from ``folder``.

    Raises
    ------
    UserError
        A key or value is not accepted.
    """
    config = complete(validate(Config, content, source), source)
    if folder is not None:
        for key in ("images", "masks", "folder", "table"):
            value = getattr(config.data, key)
            if value is not None:
                setattr(config.data, key, (folder / value).absolute())
        weights = config.model.weights
        if weights not in (None, "imagenet", *trained_networks()):
            config.model.weights = str((folder / weights).absolute())
    return config


_PATHS = ("data.images", "data.masks", "data.folder", "data.table", "model.weights")
"""Relative to the configuration in the file, to the working folder on the command line."""


def _apply(content: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise UserError(f"--set {override}: write it as section.key=value, for example training.epochs=5.")
    place = content
    for part in parts[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise UserError(f"--set {override}: {part} is a value and has no keys.")
    try:
        content_value = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: {value} is not a YAML value.") from error
    names = ("imagenet", *trained_networks())
    is_path = key.strip() in _PATHS and isinstance(content_value, str) and content_value not in names
    place[parts[-1]] = str(Path(content_value).absolute()) if is_path else content_value


def family_of(config: Config) -> Family:
    """The family of the network that a configuration names."""
    return family_of_model(config.model.name)


def complete(config: Config, source: str = "the configuration") -> Config:
    """A configuration with the values that its network's family decides where they are left out.

    Raises
    ------
    UserError
        The network is not trained on images, or cannot learn what the configuration says; the message begins with
        ``source``.
    """
    try:
        config = _completed(config)
    except ValueError as error:
        raise UserError(f"{source}: {error}.") from error
    return config


def _completed(config: Config) -> Config:
    name = config.model.name
    known = {model.name for family in families() for model in family.models}
    if name in known:
        family, model = family_of(config), get_model(name)
        if not family.kinds:
            raise ValueError(f"{name} is not trained on images; see its model card")
        for section, values in family.defaults(config, model).items():
            config = _with_defaults(config, section.split("."), values)
    if config.data.annotation == "image":
        config = _with_defaults(config, ["normalisation"], {"scope": "dataset"})
    if name in known:
        family.check(config, model)
        if config.targets.diameter is not None and not family.rescales:
            kinds = " and ".join(kind for other in families() if other.rescales for kind in other.kinds)
            raise ValueError(f"targets.diameter is for {kinds}, not for {config.targets.kind}: leave it out")
        if config.data.annotation == "image" and family.task(str(config.targets.kind)) != "classification":
            raise ValueError(
                "data.annotation image is for networks that classify patches: set it to what the masks are"
            )
    if config.training.foreground and config.data.annotation not in ("labels", "binary"):
        raise ValueError(
            f"training.foreground looks for objects, but data.annotation is {config.data.annotation}: set "
            "training.foreground to 0"
        )
    return config


def _with_defaults(section: Any, path: list[str], values: dict[str, Any]) -> Any:
    """A copy of nested settings in which keys that were left out have other values, and still count as left out."""
    if path:
        name, *rest = path
        return _replaced(section, {name: _with_defaults(getattr(section, name), rest, values)})
    missing = {
        key: value
        for key, value in values.items()
        if key not in section.model_fields_set or (value is not None and getattr(section, key) is None)
    }
    return _replaced(section, missing)


def _replaced(section: Section, values: dict[str, Any]) -> Section:
    copy = section.model_copy(update=values)
    copy.__pydantic_fields_set__ = set(section.model_fields_set)
    return copy
