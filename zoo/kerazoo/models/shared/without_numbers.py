"""Networks whose weights have shapes and no numbers: hundreds of millions of random ones take minutes and gigabytes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def without_numbers() -> Iterator[None]:
    """Build networks in this block without numbers in their weights: they can be counted, drawn and measured only.

    Keras would make the numbers up at the end of the next symbolic call, of whatever other network; therefore its
    list of weights that still lack numbers is cleared behind the block, and with it the policy of dtypes and the
    counters of names (`keras.utils.clear_session`).
    """
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session(free_memory=False)
