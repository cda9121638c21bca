"""Results that several rules ask for: computed once for a bundle, and forgotten with it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import TypeVar

from bmzpack.bundle.contents import Contents

Result = TypeVar("Result")


def per_bundle(function: Callable[[Contents], Result]) -> Callable[[Contents], Result]:
    """Let a function of a bundle keep its results for as long as the bundle is looked at."""
    known: weakref.WeakKeyDictionary[Contents, Result] = weakref.WeakKeyDictionary()

    @functools.wraps(function)
    def asked(contents: Contents) -> Result:
        if contents not in known:
            known[contents] = function(contents)
        return known[contents]

    return asked
