"""YAML files of settings: read, validated, and what is wrong in them said in one sentence."""

from __future__ import annotations

import difflib
import os
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict

from bmzpack.errors import UserError


class Section(BaseModel):
    """A part of the settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)


MERGE = "tag:yaml.org,2002:merge"
Settings = TypeVar("Settings", bound=Section)


def read_yaml(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Parameters
    ----------
    path
        The file.
    what
        What the file should hold, for the messages.

    Raises
    ------
    UserError
        The file is missing, not YAML, holds no mapping, or a key twice.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no {what} {path}.")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except _Repeated as error:
        raise UserError(f"{path}: {error}: join the two.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no {what}: it should be a mapping of keys to values.")
    return content


class _Repeated(Exception):
    """A mapping has a key twice, of which YAML would take the last."""


class _Loader(yaml.SafeLoader):
    """Refuses keys that are given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != MERGE and (first := lines.get(key.value)):
                raise _Repeated(f"`{key.value}` is there twice (lines {first} and {line})")
            lines[key.value if isinstance(key, yaml.ScalarNode) else ""] = line
        return super().construct_mapping(node, deep)


def validate(settings: type[Settings], content: dict[str, Any], source: str) -> Settings:
    """Validate a nested dict.

    Raises
    ------
    UserError
        A key or value is not accepted; the message begins with ``source`` and names the nearest known key.
    """
    try:
        return settings.model_validate(content)
    except pydantic.ValidationError as error:
        raise UserError(f"{source}: {_sentence(error, settings)}") from error


def _sentence(error: pydantic.ValidationError, settings: type[BaseModel]) -> str:
    problems = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(
                str(problem["loc"][-1]), _known_keys(settings, problem["loc"][:-1]), n=1, cutoff=0.0
            )
            problems.append(
                f"unknown key `{where}`; the nearest known one is `{near[0]}`" if near else f"unknown key `{where}`"
            )
        elif problem["type"] == "missing":
            problems.append(f"`{where}` is missing")
        elif problem["type"] == "value_error":
            cause = problem["msg"].removeprefix("Value error, ")
            problems.append(f"`{where}`: {cause}" if where else cause)
        else:
            problems.append(f"`{where}`: {problem['msg'][0].lower()}{problem['msg'][1:]} (found {problem['input']!r})")
    return "; ".join(problems).rstrip(".") + "."


def _known_keys(settings: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    annotation: Any = settings
    for part in location:
        if isinstance(part, str):
            section = _section(annotation)
            annotation = section.model_fields[part].annotation if section and part in section.model_fields else None
    section = _section(annotation)
    return list(section.model_fields) if section else []


def _section(annotation: Any) -> type[BaseModel] | None:
    """The section inside an annotation such as ``list[Section]`` or ``Section | None``."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return next(filter(None, map(_section, typing.get_args(annotation))), None)
