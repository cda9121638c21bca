"""TorchScript, for ilastik and QuPath: the model on Keras' torch backend, traced."""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from bmzpack.bundle.archive import check_archive
from bmzpack.errors import UserError
from bmzpack.weights.format import TRUST, Format, Versions, version

if TYPE_CHECKING:
    from bmzpack.bundle.contents import Contents
    from bmzpack.weights.model import Network

REACHES = re.compile(r"\b(save|from_file|rpc_async|rpc_sync|rpc_remote)\b")
"""Operators of TorchScript that write or map files, or use the network: as any word of the program, for no spelling of
a call to be missed."""
ESCAPE = re.compile(r"\\(\n|x[0-9a-fA-F]{2}|[0-7]{1,3})")
"""With which a word of a text can be written so that it is not seen."""
OPAQUE = re.compile(r"\bops\b(?!\s*\.\s*\w+\s*\.\s*\w)")
OPERATORS = re.compile(r"\bops\s*\.\s*(\w+)\s*\.\s*(\w+)")
DOMAINS = {
    "prim",
    "aten",
    "quantized",
    "_quantized",
    "quantization",
    "sparse",
    "mkl",
    "mkldnn",
    "mkldnn_prepacked",
}
"""Whose operators only compute."""


def write(network: Network, path: Path) -> Versions:
    """Write ``path``: any batch and size, any device, tensors by position."""
    import torch

    from bmzpack.weights.traced import write_traced

    write_traced(network.model, path, network.labels)
    return {"pytorch_version": version(torch.__version__)}


def refusal(contents: Contents, path: Path, trust: bool) -> str | None:
    """Pickles, and operators that reach outside of the program."""
    files = contents.torchscript_files
    if not isinstance(files, dict):
        return f"{path.name} is no TorchScript file ({files}); a pickle is not loaded, for it can execute code."
    code = [name for name in files if "/code/" in f"/{name.lower()}" and not name.lower().endswith(".debug_pkl")]
    if not code or not any(name.endswith("/constants.pkl") for name in files):
        return (
            f"{path.name} is a pickle of weights or of a Python object, which is not loaded, for it can execute code."
        )
    if trust:
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            text = "\n".join(archive.read(name).decode("utf-8", "replace") for name in code)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
        raise UserError(f"{path.name} cannot be read: {error}.") from error
    text = ESCAPE.sub(_character, text)
    if found := REACHES.search(text):
        return f"The program in {path.name} calls {found[1]}, which reaches outside of it. {TRUST}"
    if OPAQUE.search(text):
        return f"The program in {path.name} calls operators by a way round, which may do more than compute. {TRUST}"
    for domain, operator in OPERATORS.findall(text):
        if domain not in DOMAINS:
            return f"The program in {path.name} calls {domain}::{operator}, which may do more than compute. {TRUST}"
    return None


def _character(found: re.Match[str]) -> str:
    code = found[1]
    return "" if code == "\n" else chr(int(code[1:], 16) if code[0] == "x" else int(code, 8) & 255)


def canonical(path: Path, target: Path) -> None:
    """Write the zip anew of what was judged: readers disagree about one that was made to be read in two ways.

    Raises
    ------
    UserError
        It cannot be read, or holds two files whose names differ in capitals only, which torch takes for one.
    """
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as written:
            check_archive(archive, path)
            names = [entry.filename for entry in archive.infolist()]
            if len({name.lower() for name in names}) < len(names):
                raise UserError(f"{path.name} holds two files of one name.")
            for name in names:
                with archive.open(name) as source, written.open(name, "w", force_zip64=True) as copy:
                    shutil.copyfileobj(source, copy)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path.name} cannot be read: {error}.") from error


FORMAT = Format(
    name="torchscript",
    file="weights.pt",
    process="torch",
    refusal=refusal,
    program=True,
    canonical=canonical,
    write=write,
    engine="torch",
    backend="torch",
    package="torch",
    layer_names_with_dots=False,
    ends_in_labels=True,
)
