"""The engines that run weights files here: one entry per framework and version."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from bmzpack.engines import loaders


@dataclasses.dataclass(frozen=True)
class Engine:
    """A framework, in this environment or in one of its own."""

    framework: str
    """Name in messages; with the version the name of the engine."""
    title: str
    """Name in reports, for people."""
    load: Callable[[dict[str, Any], list[str], list[str]], Callable[..., Any]]
    """Opens a weights file, see `bmzpack.engines.loaders`; the file it stands in imports nothing of bmzpack."""
    version: str | None = None
    """The version inside Fiji, which runs in an environment of `bmzpack.engines.old`."""
    unpacked: bool = False
    """Whether the weights file is a zip, of which the engine gets the unpacked folder."""

    @property
    def name(self) -> str:
        """Key in `ENGINES`, such as ``onnxruntime-1.13.1``."""
        return f"{self.framework}-{self.version}" if self.version else self.framework


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("keras", "Keras", loaders.keras),
        Engine("tensorflow", "TensorFlow (v1 session)", loaders.tensorflow, unpacked=True),
        Engine("tensorflow", "TensorFlow 2.10.1", loaders.tensorflow, version="2.10.1", unpacked=True),
        Engine("onnxruntime", "ONNX Runtime", loaders.onnxruntime),
        Engine("onnxruntime", "ONNX Runtime 1.13.1", loaders.onnxruntime, version="1.13.1"),
        Engine("torch", "PyTorch (TorchScript)", loaders.torch),
    )
}
"""By name, in the order of the rows of reports."""
