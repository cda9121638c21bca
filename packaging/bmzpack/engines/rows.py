"""The engines by the names that they have in reports: the rows of a matrix."""

from __future__ import annotations

from bmzpack.engines.registry import ENGINES as REGISTRY

CORE = "bioimageio.core"
KERAS = REGISTRY["keras"].title
TENSORFLOW = REGISTRY["tensorflow"].title
OLD_TENSORFLOW = REGISTRY["tensorflow-2.10.1"].title
ONNX = REGISTRY["onnxruntime"].title
OLD_ONNX = REGISTRY["onnxruntime-1.13.1"].title
TORCH = REGISTRY["torch"].title

ENGINES = {engine.title: name for name, engine in REGISTRY.items()}
"""Keys of `bmzpack.engines.ENGINES` by their titles."""
ROWS = [CORE, *ENGINES]
TODAY = [CORE, *(engine.title for engine in REGISTRY.values() if engine.version is None)]
"""Those of this environment."""
