"""Pack any Keras 3 model as a BioImage Model Zoo bundle, and run the bundle in the engines of its consumers.

Names are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bmzpack.contract import check as check
    from bmzpack.description import Description as Description
    from bmzpack.errors import UserError as UserError
    from bmzpack.packing import pack as pack
    from bmzpack.proof import test as test
    from bmzpack.repairing import repair as repair
    from bmzpack.uploading import upload as upload

_HOMES = {
    "Description": "bmzpack.description",
    "check": "bmzpack.contract",
    "UserError": "bmzpack.errors",
    "pack": "bmzpack.packing",
    "repair": "bmzpack.repairing",
    "test": "bmzpack.proof",
    "upload": "bmzpack.uploading",
}
__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bmzpack' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
