"""A bundle as a check sees it: its description read leniently, its files without the frameworks that run them.

Nothing here fails on a wrong description: what cannot be understood is left out, and noted in `Contents.problems`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import mmap
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from bmzpack.bundle.archive import NoYaml, check_archive, find_description, read_description, unpacked
from bmzpack.bundle.data_files import load_array
from bmzpack.bundle.described import DescribedAxis, DescribedTensor, DescriptionReader
from bmzpack.bundle.protobuf import OnnxFile, SavedModel, Unreadable, read_onnx, read_saved_model
from bmzpack.bundle.values import is_remote, mapping, sequence, text
from bmzpack.errors import UserError

if TYPE_CHECKING:
    import numpy as np

SPACE = ("z", "y", "x")
LARGEST_GRAPH = 2**31
"""Bytes of a saved_model.pb, of protocol buffers."""
LARGEST_CONFIG = 2**25
"""Bytes of the description of a Keras network."""


class Contents:
    """The description of a bundle and what its files say of themselves."""

    def __init__(self, folder: Path, description: Path) -> None:
        """Read the description; files are read when they are asked for.

        Parameters
        ----------
        folder
            The unpacked bundle.
        description
            The rdf.yaml in it.

        Raises
        ------
        UserError
            It is no YAML, or made to harm.
        """
        self.folder, self.root, self.file = folder, description.parent, description.name
        self._found: dict[str | None, Path | None] = {}
        self.problems: list[tuple[str, str]] = []
        """Place and what could not be understood there."""
        try:
            content = read_description(description)
        except NoYaml as error:
            content = {}
            self.problems.append((self.file, str(error).removeprefix(f"{description} ").rstrip(".")))
        self.rdf = mapping(content)
        if self.rdf is not content:
            self.problems.append((self.file, "the description is no mapping of keys to values"))
        self.version = text(self.rdf.get("format_version")) or ""
        self.is_old = self.version.startswith(("0.3", "0.4"))
        described = DescriptionReader(self.rdf, self.is_old)
        self.problems += described.problems
        self.inputs, self.outputs, self.weights = described.inputs, described.outputs, described.weights

    @property
    def version_numbers(self) -> tuple[int, ...]:
        """The format version as up to three numbers."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version[:100])[:3])

    @property
    def name(self) -> str:
        """The name of the model."""
        return text(self.rdf.get("name")) or ""

    @property
    def tensors(self) -> list[DescribedTensor]:
        """Inputs, then outputs."""
        return [*self.inputs, *self.outputs]

    def referred(self, axis: DescribedAxis) -> tuple[DescribedTensor, DescribedAxis] | None:
        """The tensor and axis whose size an axis follows, if there are such."""
        if axis.reference is None:
            return None
        tensor = next((tensor for tensor in self.tensors if tensor.id == axis.reference[0]), None)
        other = tensor.axis(axis.reference[1]) if tensor else None
        return (tensor, other) if tensor and other else None

    def ratio(self, axis: DescribedAxis) -> float:
        """Pixels of an axis per pixel of the one whose size it follows."""
        found = self.referred(axis)
        return axis.ratio * (found[1].pixel / axis.pixel if found and not self.is_old else 1.0)

    @property
    def config(self) -> Mapping[str, Any]:
        """The free part of the description."""
        return mapping(self.rdf.get("config"))

    def sources(self) -> Iterator[tuple[str, str, str | None]]:
        """Place, source and checksum of every file that the description names."""
        yield from _sources(self.rdf, "")
        if self.is_old:
            for key in ("test_inputs", "test_outputs", "sample_inputs", "sample_outputs"):
                for n, name in enumerate(sequence(self.rdf.get(key))):
                    if isinstance(name, str):
                        yield f"{key}.{n}", name, None

    def local(self, source: str | None) -> Path | None:
        """The file of a source, if it is in the bundle."""
        if source not in self._found:
            self._found[source] = self._find(source)
        return self._found[source]

    def _find(self, source: str | None) -> Path | None:
        name = PurePosixPath(source or "")
        if not source or is_remote(source) or "\0" in source or name.is_absolute() or ".." in name.parts:
            return None
        try:
            path = (self.root / source).resolve()
            inside = path.is_relative_to(self.folder.resolve()) and path.is_file()
        except (OSError, ValueError, RuntimeError):  # a name that the system has not, or links in a circle
            return None
        return path if inside else None

    @functools.cached_property
    def checksums(self) -> dict[str, str]:
        """Checksums (sha256) of the files that the description gives one for, by their sources."""
        found = {}
        for _, source, checksum in self.sources():
            path = self.local(source)
            if path is not None and checksum is not None and source not in found:
                with path.open("rb") as file:
                    found[source] = hashlib.file_digest(file, "sha256").hexdigest()
        return found

    def weights_file(self, name: str) -> Path | None:
        """The file of a weights format, if the bundle has it."""
        return self.local(self.weights[name].source) if name in self.weights else None

    @functools.cached_property
    def onnx(self) -> OnnxFile | str | None:
        """What the ONNX file says; why it cannot be read; or None where there is none."""
        path = self.weights_file("onnx")
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                return read_onnx(_mapped(file))
        except (Unreadable, ValueError, OSError) as error:
            return str(error)

    @functools.cached_property
    def saved_model_files(self) -> dict[str, int] | str | None:
        """Names and sizes in the saved model's zip; why it cannot be read; or None where there is none."""
        path = self.weights_file("tensorflow_saved_model_bundle")
        return None if path is None else self._archive(path)

    @functools.cached_property
    def saved_model(self) -> SavedModel | str | None:
        """What the saved model says; why it cannot be read; or None where there is none."""
        path, files = self.weights_file("tensorflow_saved_model_bundle"), self.saved_model_files
        if path is None or files is None or isinstance(files, str):
            return files if isinstance(files, str) else None
        name = min((name for name in files if name.split("/")[-1] == "saved_model.pb"), key=len, default=None)
        if name is None:
            return None
        try:
            with zipfile.ZipFile(path) as archive, archive.open(name) as packed, tempfile.TemporaryFile() as file:
                if files[name] > LARGEST_GRAPH:
                    return f"it has {files[name]} bytes, more than a protocol buffer can have"
                shutil.copyfileobj(packed, file)
                file.flush()
                return read_saved_model(_mapped(file))
        except (Unreadable, ValueError, zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            return str(error)

    @functools.cached_property
    def torchscript_files(self) -> dict[str, int] | str | None:
        """Names and sizes in the TorchScript archive; why it cannot be read; or None where there is none."""
        path = self.weights_file("torchscript")
        return None if path is None else self._archive(path)

    @functools.cached_property
    def keras_layers(self) -> list[dict[str, Any]] | str | None:
        """The serialised layers of the Keras file; why it cannot be read; or None where there is none."""
        path = self.weights_file("keras_v3")
        if path is None:
            return None
        files = self._archive(path)
        if isinstance(files, str):
            return files
        if "config.json" not in files:
            return "it has no config.json"
        if files["config.json"] > LARGEST_CONFIG:
            return f"its config.json has {files['config.json']} bytes"
        try:
            with zipfile.ZipFile(path) as archive:
                return list(serialised(json.loads(archive.read("config.json"))))
        except (ValueError, RecursionError, zipfile.BadZipFile, zlib.error, OSError, EOFError) as error:
            return str(error)

    def array(self, tensor: DescribedTensor) -> np.ndarray | str | None:
        """The test tensor; why it cannot be read; or None where there is none."""
        path = self.local(tensor.test)
        return None if path is None else load_array(path)

    def _archive(self, path: Path) -> dict[str, int] | str:
        try:
            with zipfile.ZipFile(path) as archive:
                check_archive(archive, path)
                return {entry.filename: entry.file_size for entry in archive.infolist()}
        except UserError as error:
            return str(error)
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError):
            return "it is no zip file"


@contextlib.contextmanager
def opened(bundle: str | os.PathLike[str]) -> Iterator[Contents]:
    """Give the contents of a bundle of any layout.

    Parameters
    ----------
    bundle
        A bundle's ``.zip``, its folder, or the description in it, packed by any program.

    Raises
    ------
    UserError
        There is no bundle, or it was made to harm.
    """
    path = Path(bundle)
    with unpacked(path, any_layout=True) as folder:
        named = path.suffix in (".yaml", ".yml") and path.is_file()
        description = path if named else find_description(folder)
        if description is None:
            raise UserError(f"{bundle} holds no rdf.yaml.")
        yield Contents(folder, description)


def _mapped(file: IO[bytes]) -> memoryview:
    """A file as memory: only the parts that are used are read from the disk."""
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _sources(value: Any, place: str) -> Iterator[tuple[str, str, str | None]]:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            here = f"{place}.{key}".lstrip(".")
            if key == "config":
                continue
            if key in ("documentation", "readme") and isinstance(entry, str):
                yield here, entry, None
            elif (
                key == "source"
                and isinstance(entry, str)
                and ("sha256" in value or "test_tensor" in place or place.startswith("attachments"))
            ):
                yield place, entry, text(value.get("sha256"))
            elif key == "source" and isinstance(entry, str) and place.startswith("weights"):
                yield place, entry, None
            elif key == "covers":
                for n, cover in enumerate(sequence(entry)):
                    if isinstance(cover, str):
                        yield f"{here}.{n}", cover, None
                    else:
                        yield from _sources(cover, f"{here}.{n}")
            elif key not in ("authors", "cite", "maintainers", "packaged_by", "tags", "links"):
                yield from _sources(entry, here)
    elif isinstance(value, list):
        for n, entry in enumerate(value):
            yield from _sources(entry, f"{place}.{n}")


def serialised(item: Any) -> Iterator[dict[str, Any]]:
    """Every object in the description of a Keras network."""
    if isinstance(item, dict):
        if "class_name" in item:
            yield item
        for value in item.values():
            yield from serialised(value)
    elif isinstance(item, list):
        for value in item:
            yield from serialised(value)
