"""TorchScript, for ilastik: the model on Keras' torch backend, traced."""

from __future__ import annotations

import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from bmzpack.errors import UserError
from bmzpack.weights.format import TRUST, Format, Versions, version

if TYPE_CHECKING:
    from bmzpack.bundle.contents import Contents
    from bmzpack.weights.model import Network

REACHES = re.compile(r"\b(save|from_file|rpc_async|rpc_sync|rpc_remote)\b")
"""Operators of TorchScript that write or map files, or use the network: as any word of the program, for no spelling of
a call to be missed."""
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

    write_traced(network.model, path)
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
    if found := REACHES.search(text):
        return f"The program in {path.name} calls {found[1]}, which reaches outside of it. {TRUST}"
    for domain, operator in OPERATORS.findall(text):
        if domain not in DOMAINS:
            return f"The program in {path.name} calls {domain}::{operator}, which may do more than compute. {TRUST}"
    return None


FORMAT = Format(
    name="torchscript",
    file="weights.pt",
    process="torch",
    refusal=refusal,
    program=True,
    write=write,
    engine="torch",
    backend="torch",
    package="torch",
    layer_names_with_dots=False,
)
