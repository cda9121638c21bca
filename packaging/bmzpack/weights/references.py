"""Functions by name, for the processes that write weights: ``package.module:function``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def reference(function: Callable[..., Any]) -> str:
    """The name of a function of a module."""
    return f"{function.__module__}:{function.__name__}"


def resolved(name: str) -> Callable[..., Any]:
    """The function of a name."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)
