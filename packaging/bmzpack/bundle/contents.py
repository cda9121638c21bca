"""A bundle as a check sees it: its description read leniently, its files without the frameworks that run them.

Nothing here fails on a wrong description: what cannot be understood is left out, and noted in `Facts.problems`.
Descriptions of format 0.4 and 0.5 become the same facts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import mmap
import re
import shutil
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from bmzpack.bundle.archive import NoYaml, check_archive, read_description
from bmzpack.bundle.protobuf import OnnxFile, SavedModel, Unreadable, read_onnx, read_saved_model
from bmzpack.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

LETTERS = {"b": "batch", "i": "index", "t": "time", "c": "channel", "z": "z", "y": "y", "x": "x"}
SPACE = ("z", "y", "x")
MOST_PIXELS = 2**28
"""Of a picture that is still opened."""
MOST_TENSORS, MOST_AXES, MOST_OPERATIONS = 100, 32, 100
"""Of a description, and of each tensor in it."""
LARGEST_GRAPH = 2**31
"""Bytes of a saved_model.pb, of protocol buffers."""
LARGEST_CONFIG = 2**25
"""Bytes of the description of a Keras network."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """An axis of an input or output; sizes in pixels."""

    id: str
    place: str
    kind: str = ""
    """Such as ``space``; the id need not say it."""
    named: bool = True
    """Whether the id is written, not left to the specification."""
    size: int | None = None
    minimum: int | None = None
    step: int | None = None
    reference: tuple[str, str] | None = None
    """Tensor and axis that the size follows."""
    ratio: float = 1.0
    """Of the size that is referred to, in format 0.4."""
    pixel: float = 1.0
    """Size of a pixel: sizes that are referred to are converted by it, in format 0.5."""
    offset: float = 0.0
    by_data: bool = False
    """Whether the size is known only after the run."""
    halo: int = 0
    channel_names: list[str] | None = None

    @property
    def smallest(self) -> int | None:
        """The smallest size, if it is known by itself."""
        return self.size if self.size is not None else self.minimum


@dataclasses.dataclass(frozen=True)
class Operation:
    """A step of pre- or postprocessing."""

    id: str
    kwargs: dict[str, Any]
    place: str


@dataclasses.dataclass(frozen=True)
class Tensor:
    """An input or output."""

    id: str
    place: str
    axes: list[Axis]
    operations: list[Operation]
    dtype: str
    test: str | None
    """File name."""
    sample: str | None

    @property
    def ids(self) -> list[str]:
        """Of its axes."""
        return [axis.id for axis in self.axes]

    def axis(self, name: str) -> Axis | None:
        """The axis of an id."""
        return next((axis for axis in self.axes if axis.id == name), None)

    @property
    def channel(self) -> Axis | None:
        """The channel axis, whatever its id is."""
        return next((axis for axis in self.axes if axis.kind == "channel"), None)

    @property
    def channels(self) -> int:
        """Length of the channel axis; 1 where there is none or it is not told."""
        axis = self.channel
        return 1 if axis is None else len(axis.channel_names or ()) or axis.size or 1


@dataclasses.dataclass(frozen=True)
class Weights:
    """An entry of weights."""

    format: str
    place: str
    source: str | None
    content: dict[str, Any]


class Facts:
    """What is known of a bundle."""

    def __init__(self, folder: Path, description: Path) -> None:
        """Read the description; files are read when they are asked for.

        Parameters
        ----------
        folder
            Of the unpacked bundle.
        description
            The rdf.yaml in it.

        Raises
        ------
        UserError
            It is no YAML, or made to harm.
        """
        self.folder, self.root, self.file = folder, description.parent, description.name
        self.problems: list[tuple[str, str]] = []
        """Place and what could not be understood there."""
        self._found: dict[str | None, Path | None] = {}
        try:
            content = read_description(description)
        except NoYaml as error:
            content = {}
            self._problem("", str(error).removeprefix(f"{description} ").rstrip("."))
        self.rdf = _mapping(content)
        if self.rdf is not content:
            self._problem("", "the description is no mapping of keys to values")
        self.version = text(self.rdf.get("format_version")) or ""
        self.is_old = self.version.startswith("0.4") or self.version.startswith("0.3")
        read = self._old_tensor if self.is_old else self._tensor
        self.inputs = [read(entry, f"inputs.{n}", n) for n, entry in self._entries("inputs")]
        self.outputs = [read(entry, f"outputs.{n}", n) for n, entry in self._entries("outputs")]
        self.weights = {
            str(name): Weights(str(name), f"weights.{name}", source_of(entry), dict(entry))
            for name, entry in self._mapping(self.rdf.get("weights"), "weights").items()
            if entry is not None
            for entry in [self._mapping(entry, f"weights.{name}")]
        }

    @property
    def name(self) -> str:
        """Of the model."""
        return text(self.rdf.get("name")) or ""

    @property
    def tensors(self) -> list[Tensor]:
        """Inputs, then outputs."""
        return [*self.inputs, *self.outputs]

    def referred(self, axis: Axis) -> tuple[Tensor, Axis] | None:
        """The tensor and axis whose size an axis follows, if there are such."""
        if axis.reference is None:
            return None
        tensor = next((tensor for tensor in self.tensors if tensor.id == axis.reference[0]), None)
        other = tensor.axis(axis.reference[1]) if tensor else None
        return (tensor, other) if tensor and other else None

    def ratio(self, axis: Axis) -> float:
        """Pixels of an axis per pixel of the one whose size it follows."""
        found = self.referred(axis)
        return axis.ratio * (found[1].pixel / axis.pixel if found and not self.is_old else 1.0)

    @property
    def config(self) -> Mapping[str, Any]:
        """The free part of the description."""
        return _mapping(self.rdf.get("config"))

    def sources(self) -> Iterator[tuple[str, str, str | None]]:
        """Place, source and checksum of every file that the description names."""
        yield from _sources(self.rdf, "")
        if self.is_old:
            for key in ("test_inputs", "test_outputs", "sample_inputs", "sample_outputs"):
                for n, name in enumerate(_sequence(self.rdf.get(key))):
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
        for _, source, given in self.sources():
            path = self.local(source)
            if path is not None and given is not None and source not in found:
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

    def array(self, tensor: Tensor) -> np.ndarray | str | None:
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

    def _problem(self, place: str, what: str) -> None:
        self.problems.append((place or self.file, what))

    def _mapping(self, value: Any, place: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            if value is not None:
                self._problem(place, f"it is no mapping of keys to values, but {_kind(value)}")
            return {}
        return value

    def _few(self, value: Any, most: int, place: str) -> Sequence[Any]:
        entries = _sequence(value)
        if len(entries) > most:
            self._problem(place, f"there are {len(entries)} of them, more than {most}")
            return []
        return entries

    def _entries(self, key: str) -> list[tuple[int, Mapping[str, Any]]]:
        value = self.rdf.get(key)
        if not isinstance(value, list):
            self._problem(key, f"a list is needed, but it is {_kind(value)}")
            return []
        if len(value) > MOST_TENSORS:
            self._problem(key, f"there are {len(value)} of them, more than {MOST_TENSORS}")
            return []
        return [(n, self._mapping(entry, f"{key}.{n}")) for n, entry in enumerate(value)]

    def _tensor(self, entry: Mapping[str, Any], place: str, _: int) -> Tensor:
        axes = [
            self._axis(self._mapping(axis, f"{place}.axes.{n}"), f"{place}.axes.{n}")
            for n, axis in enumerate(self._few(entry.get("axes"), MOST_AXES, f"{place}.axes"))
        ]
        key = "preprocessing" if place.startswith("inputs") else "postprocessing"
        return Tensor(
            id=text(entry.get("id")) or ("input" if place.startswith("inputs") else "output"),
            place=place,
            axes=axes,
            operations=self._operations(entry.get(key), f"{place}.{key}", "id"),
            dtype=_dtype(entry),
            test=source_of(entry.get("test_tensor")),
            sample=source_of(entry.get("sample_tensor")),
        )

    def _axis(self, entry: Mapping[str, Any], place: str) -> Axis:
        kind = text(entry.get("type")) or ""
        # the specification's names of axes that have none
        name = text(entry.get("id")) or {"space": "x"}.get(kind, kind)
        size = entry.get("size")
        halo = integer(entry.get("halo")) or 0
        names = entry.get("channel_names")
        found = Axis(
            id=name,
            place=place,
            kind=kind,
            named=bool(text(entry.get("id"))),
            halo=halo,
            pixel=_scale(entry.get("scale")),
            channel_names=[str(name) for name in names] if isinstance(names, list) else None,
        )
        if kind == "batch" and size is None:
            return found
        if kind == "channel" and isinstance(names, list):
            return dataclasses.replace(found, size=len(names))
        if isinstance(size, Mapping) and "tensor_id" in size:
            reference = (text(size.get("tensor_id")) or "", text(size.get("axis_id")) or "")
            return dataclasses.replace(found, reference=reference, offset=number(size.get("offset")) or 0.0)
        if isinstance(size, Mapping) and place.startswith("outputs") and "step" not in size:
            return dataclasses.replace(found, by_data=True)
        if isinstance(size, Mapping):
            return dataclasses.replace(found, minimum=integer(size.get("min")), step=integer(size.get("step")))
        return dataclasses.replace(found, size=integer(size))

    def _old_tensor(self, entry: Mapping[str, Any], place: str, index: int) -> Tensor:
        """A tensor of format 0.4."""
        given = place.startswith("inputs")
        letters: Sequence[str] = self._few(list(text(entry.get("axes")) or ""), MOST_AXES, f"{place}.axes")
        shape = entry.get("shape")
        halo = _sequence(entry.get("halo"))
        axes = []
        for n, letter in enumerate(letters):
            axis = Axis(
                LETTERS.get(letter, letter),
                f"{place}.axes.{n}",
                {"b": "batch", "c": "channel"}.get(letter, "space"),
                halo=(integer(halo[n]) or 0) if n < len(halo) else 0,
                channel_names=[] if letter == "c" else None,
            )
            if isinstance(shape, list):
                axis = dataclasses.replace(axis, size=integer(shape[n]) if n < len(shape) else None)
            elif isinstance(shape, Mapping) and "reference_tensor" in shape:
                scale, offset = _sequence(shape.get("scale")), _sequence(shape.get("offset"))
                axis = dataclasses.replace(
                    axis,
                    reference=(text(shape.get("reference_tensor")) or "", axis.id),
                    ratio=(number(scale[n]) if n < len(scale) else None) or 1.0,
                    offset=2 * ((number(offset[n]) if n < len(offset) else None) or 0.0),
                )
            elif isinstance(shape, Mapping):
                low, step = _sequence(shape.get("min")), _sequence(shape.get("step"))
                least = integer(low[n]) if n < len(low) else None
                grows = integer(step[n]) if n < len(step) else None
                if grows:
                    axis = dataclasses.replace(axis, minimum=least, step=grows)
                elif letter != "b":
                    axis = dataclasses.replace(axis, size=least)
            axes.append(axis)
        key = "preprocessing" if given else "postprocessing"
        which = "inputs" if given else "outputs"
        return Tensor(
            id=text(entry.get("name")) or "",
            place=place,
            axes=axes,
            operations=self._operations(entry.get(key), f"{place}.{key}", "name"),
            dtype=text(entry.get("data_type")) or "float32",
            test=_at(self.rdf.get(f"test_{which}"), index),
            sample=_at(self.rdf.get(f"sample_{which}"), index),
        )

    def _operations(self, value: Any, place: str, key: str) -> list[Operation]:
        found = []
        for n, entry in enumerate(self._few(value, MOST_OPERATIONS, place)):
            operation = self._mapping(entry, f"{place}.{n}")
            kwargs = dict(_mapping(operation.get("kwargs")))
            if key == "name" and isinstance(kwargs.get("axes"), str):
                kwargs["axes"] = [LETTERS.get(letter, letter) for letter in kwargs["axes"]]
            found.append(Operation(text(operation.get(key)) or "", kwargs, f"{place}.{n}"))
        return found


def _mapped(file: IO[bytes]) -> memoryview:
    """A file as memory, of which only what is looked at is read."""
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


@contextlib.contextmanager
def opened_picture(path: Path) -> Iterator[Image.Image | None]:
    """A picture of the kinds that bundles have, of which nothing but the header is read; None where it is none."""
    from PIL import Image

    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        # of its size, which is looked at before the pixels are
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = stack.enter_context(Image.open(path, formats=("BMP", "GIF", "JPEG", "PNG", "TIFF")))
        except (OSError, ValueError, SyntaxError, TypeError, OverflowError, Image.DecompressionBombError):
            picture = None
        # Pillow's own limit may be switched off in this process
        yield picture if picture is None or picture.width * picture.height <= MOST_PIXELS else None


def load_array(path: Path) -> np.ndarray | str:
    """A ``.npy`` file, without pickles; or why it cannot be read. Large ones stay on disk."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy takes a stranger's header for Python
        return " ".join(str(error).split())[:200] or "it is no .npy file"
    if not isinstance(array, np.ndarray):
        return "it is no .npy file"
    return array


def is_remote(source: str) -> bool:
    """Whether a source is an address."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source) is not None


def source_of(value: Any) -> str | None:
    """The source of a file's entry."""
    value = value.get("source") if isinstance(value, Mapping) else value
    return value if isinstance(value, str) else None


def text(value: Any) -> str | None:
    """A text, or None."""
    return value if isinstance(value, str) else None


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None


def integer(value: Any) -> int | None:
    """A whole number that is not negative, or None."""
    found = number(value)
    return int(found) if found is not None and found >= 0 and found == int(found) else None


def _scale(value: Any) -> float:
    """A scale by which sizes can be multiplied and divided; 1 for others."""
    found = number(value)
    return found if found is not None and abs(found) > 1e-15 else 1.0


def _kind(value: Any) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


def _at(value: Any, index: int) -> str | None:
    entries = _sequence(value)
    return source_of(entries[index]) if index < len(entries) else None


def _dtype(entry: Mapping[str, Any]) -> str:
    data = entry.get("data")
    first = data[0] if isinstance(data, list) and data else data
    return text(_mapping(first).get("type")) or "float32"


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
                for n, cover in enumerate(_sequence(entry)):
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
