"""How a command ends: what a user can mend is one sentence on standard error and exit code 2, never a traceback."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

import typer

from bmzpack.errors import UserError


def guarded(app: typer.Typer) -> None:
    """Run a typer app as a program.

    Exit codes: 0 done, 1 a test failed, 2 an error that the user can correct, 130 interrupted.
    """
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        app()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except SystemExit as ended:
        # typer exits without a word on Ctrl-C; what the command had to say about it is in the cause
        interrupt = getattr(ended.__context__, "__cause__", None)
        if not isinstance(interrupt, KeyboardInterrupt):
            raise
        print(str(interrupt) or "Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None


def import_tensorflow() -> None:
    """Import TensorFlow without the lines that its libraries write to standard error before their log level counts."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as swallowed:
        os.dup2(swallowed.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


@contextlib.contextmanager
def shown_steps() -> Iterator[None]:
    """Show the steps and warnings that the packer logs while the block runs, on standard error.

    In a terminal the present step stands in a line of its own, with its time; elsewhere every step is a line.
    """
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("")

        class Shown(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                if record.levelno < logging.WARNING and console.is_terminal:
                    progress.reset(task, description=record.getMessage())
                else:
                    console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)

        handler = Shown()
        log = logging.getLogger("bmzpack")
        level = log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(level)


def weights_formats(text: str | None) -> list[str] | None:
    """The names in the option `--formats`, which are separated by commas; None where it is not given."""
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError("--formats is empty: name weights formats such as keras_v3,onnx.")
    from bmzpack.weights import choose_formats

    return choose_formats(names)
