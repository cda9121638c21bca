"""Ctrl-C during a training: answered between two steps, as TensorFlow may crash if interrupted while it traces."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import keras


class Interruptible(keras.callbacks.Callback):
    """Raises KeyboardInterrupt after the step in which Ctrl-C was pressed; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        super().__init__()
        self._pressed = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C over, where this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGINT)

        def pressed(number: int, frame: Any) -> None:
            if self._pressed or not callable(before):
                raise KeyboardInterrupt
            self._pressed = True

        signal.signal(signal.SIGINT, pressed)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Answer."""
        if self._pressed:
            raise KeyboardInterrupt

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Answer."""
        self.on_train_batch_end(batch, logs)
