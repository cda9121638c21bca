"""Pack any Keras 3 model as a BioImage Model Zoo bundle, and run the bundle in the engines of its consumers.

Names are imported when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bmzpack.describe.description import Description as Description
    from bmzpack.errors import UserError as UserError
    from bmzpack.packing.pack import pack as pack
    from bmzpack.publish.upload import upload as upload
    from bmzpack.repairs.repair import repair as repair
    from bmzpack.testing.check import check as check
    from bmzpack.testing.test import test as test

_HOMES = {
    "Description": "bmzpack.describe.description",
    "check": "bmzpack.testing.check",
    "UserError": "bmzpack.errors",
    "pack": "bmzpack.packing.pack",
    "repair": "bmzpack.repairs.repair",
    "test": "bmzpack.testing.test",
    "upload": "bmzpack.publish.upload",
}
__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bmzpack' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
