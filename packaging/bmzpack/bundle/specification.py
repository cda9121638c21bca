"""bioimageio.spec, kept from what it does besides: asking the network, and logging what its errors say anyway.

The one place that reaches into ``bioimageio.spec._internal``; what is changed there holds for a ``with`` block.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmzpack.bundle.archive import find_description
from bmzpack.bundle.values import is_remote, mapping, sequence
from bmzpack.errors import UserError

if TYPE_CHECKING:
    from bioimageio.spec.model.v0_5 import ModelDescr


def load_model(folder: Path, bundle: Path) -> ModelDescr:
    """The description of an unpacked bundle, in the latest format.

    Parameters
    ----------
    folder
        The unpacked bundle.
    bundle
        Its name, for the message.

    Raises
    ------
    UserError
        It is not valid, or of no model.
    """
    from bioimageio.spec import load_description
    from bioimageio.spec.model import v0_5

    path = find_description(folder) or folder / "rdf.yaml"
    loaded = load_description(path, format_version="latest", perform_io_checks=False)
    if not isinstance(loaded, v0_5.ModelDescr):
        problems = [error.msg for detail in loaded.validation_summary.details for error in detail.errors]
        raise UserError(f"{bundle} is no valid bundle of a model: {'; '.join(problems[:3]) or loaded.type}")
    return loaded


BESIDES = ("attachments", "covers", "sample_inputs", "sample_outputs")
"""Files of a description that bioimageio.core reads, and no engine needs."""


def is_known_user(name: str) -> bool:
    """Whether bioimageio.spec takes a GitHub user without asking GitHub."""
    from bioimageio.spec._internal.constants import KNOWN_GITHUB_USERS

    return name.lower() in KNOWN_GITHUB_USERS


@contextlib.contextmanager
def offline(content: Mapping[str, Any], folder: Path) -> Iterator[None]:
    """Let bioimageio.spec take the web addresses and GitHub users of an rdf.yaml as they are.

    It would ask for each of them, which takes long, and fails for the users where there is no network. The zoo asks
    when it takes the model in.
    """
    from bioimageio.spec import ValidationContext

    known: dict[str, Any] = dict.fromkeys(_addresses(content))
    with _known_people(content), ValidationContext(root=folder.resolve(), file_name="rdf.yaml", known_files=known):
        yield


@contextlib.contextmanager
def without_files(root: Path, file: str) -> Iterator[None]:
    """Let bioimageio.spec read a description by itself: no file, no network, no warnings and no log."""
    from bioimageio.spec import ValidationContext

    context = ValidationContext(root=root.resolve(), file_name=file, perform_io_checks=False)
    with context, warnings.catch_warnings(), silent():
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep bioimageio.spec from logging: its log says what its errors say."""
    from loguru import logger

    # the caller may have disabled it, or all logs; of that loguru says nothing publicly
    enabled = next((on for name, on in logger._core.activation_list if "bioimageio.spec.".startswith(name)), True)  # pyright: ignore[reportAttributeAccessIssue]
    logger.disable("bioimageio.spec")
    try:
        yield
    finally:
        if enabled:
            logger.enable("bioimageio.spec")


@contextlib.contextmanager
def _known_people(content: Mapping[str, Any]) -> Iterator[None]:
    """Let bioimageio.spec take the GitHub users of an rdf.yaml as they are."""
    from bioimageio.spec._internal.constants import KNOWN_GITHUB_USERS

    lists = [value for key in ("authors", "maintainers") if isinstance(value := content.get(key), list)]
    users = [person.get("github_user") for people in lists for person in people if isinstance(person, Mapping)]
    added = {user.lower() for user in users if isinstance(user, str)} - KNOWN_GITHUB_USERS
    KNOWN_GITHUB_USERS.update(added)
    try:
        yield
    finally:
        KNOWN_GITHUB_USERS.difference_update(added)


def local(content: Mapping[str, Any]) -> dict[str, Any]:
    """A description without the files that lie elsewhere and that running the network needs not.

    bioimageio.core would fetch them: a stranger would learn who tests, or reach into this network.
    """
    kept = {key: value for key, value in content.items() if key not in BESIDES or not _remote(value)}
    for key in ("inputs", "outputs"):
        tensors = kept.get(key)
        if isinstance(tensors, list):
            kept[key] = [
                {name: value for name, value in tensor.items() if name != "sample_tensor" or not _remote(value)}
                if isinstance(tensor, dict)
                else tensor
                for tensor in tensors
            ]
    return kept


def remote_files(content: Mapping[str, Any]) -> list[str]:
    """Addresses of files of a description that `local` leaves out."""
    tensors = [tensor for key in ("inputs", "outputs") for tensor in sequence(content.get(key))]
    samples = [mapping(tensor).get("sample_tensor") for tensor in tensors]
    return _remote([samples, *(content.get(key) for key in BESIDES)])


def _remote(value: Any) -> list[str]:
    """Addresses in a value, however they are written."""
    if isinstance(value, str):
        return [value] if is_remote(value.strip()) else []
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else []
    return [address for part in values for address in _remote(part)]


def _addresses(content: Any) -> list[str]:
    if isinstance(content, str):
        scheme, separator, rest = content.partition("://")  # pydantic writes the scheme in small letters
        return [content, f"{scheme.lower()}://{rest}"] if separator and scheme.lower() in ("http", "https") else []
    values = content.values() if isinstance(content, dict) else content if isinstance(content, list) else []
    return [address for value in values for address in _addresses(value)]
