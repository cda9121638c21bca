"""A Keras 3 model zoo for microscopy: train on your images, pack for Fiji, ilastik and QuPath.

- `list_models`, `create_model`: the networks, and one of them with random or given weights
- `init`: measure annotated images and write a configuration
- `train`, `evaluate`, `report`, `compare`: from a configuration to a run folder, its scores, its page, and several runs
- `predict`, `load`: apply a run or a bundle to image files, or to arrays
- `export`: a run as a BioImage Model Zoo bundle
- `convert`: official weights of Cellpose, Omnipose, Segment Anything and StarDist as a run

Names are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kerazoo.commands import report as report
    from kerazoo.commands import train as train
    from kerazoo.configuration.write import write_config as init  # noqa: F401
    from kerazoo.evaluation.evaluate import evaluate as evaluate
    from kerazoo.exporting.export import export as export
    from kerazoo.inference.arrays import load as load
    from kerazoo.inference.predict import predict as predict
    from kerazoo.models.registry import create_model as create_model
    from kerazoo.models.registry import list_models as list_models
    from kerazoo.reports.comparison import compare as compare
    from kerazoo.training.convert import convert as convert

# oneDNN's convolutions, which TensorFlow takes by itself on some processors only, are the faster ones on all of them.
# TensorFlow reads this when it is first imported, which any module may do: there is no later place for it.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

__version__ = "0.1.0"

_HOMES = {
    "create_model": "kerazoo.models.registry",
    "list_models": "kerazoo.models.registry",
    "init": "kerazoo.configuration.write:write_config",
    "train": "kerazoo.commands",
    "convert": "kerazoo.training.convert",
    "load": "kerazoo.inference.arrays",
    "predict": "kerazoo.inference.predict",
    "evaluate": "kerazoo.evaluation.evaluate",
    "export": "kerazoo.exporting.export",
    "report": "kerazoo.commands",
    "compare": "kerazoo.reports.comparison",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kerazoo' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
