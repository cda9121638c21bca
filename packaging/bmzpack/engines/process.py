"""The one way to start a Python of its own, which limits and confines it, and tells what went wrong in it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from bmzpack.engines import sandbox
from bmzpack.errors import UserError

PACKAGES = Path(__file__).parents[2]
Result = TypeVar("Result")

LONGEST = 900.0
"""Seconds that a process may take."""
DISK = 2**34
"""Bytes that it may write."""
MOST_FILES = 20_000
MOST_THREADS = 4_000
PAUSE = 0.25
"""Seconds between two looks at what it takes."""
KEPT = {"LANG", "LANGUAGE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH", "PATHEXT", "SYSTEMROOT", "TZ"}
KEPT_PREFIXES = ("LC_", "MKL_", "NUMBER_OF_PROCESSORS", "OMP_", "OPENBLAS_", "PROCESSOR_", "TF_", "XLA_")
"""Environment variables that it gets: no token is among them."""


def run_python(
    arguments: Sequence[str],
    failure: str,
    scratch: Path,
    *,
    reads: Sequence[Path] = (),
    trust: bool = False,
    python: Path | None = None,
    backend: str = "tensorflow",
    seconds: float = LONGEST,
) -> None:
    """Run Python on the CPU and wait for its end.

    It is confined by the system where that can be done (see `bmzpack.engines.sandbox`), and its memory, files, threads
    and time are limited everywhere.

    Parameters
    ----------
    arguments
        A script or ``-m`` and a module, and what follows.
    failure
        What it means when the process fails; begins the message of the error.
    scratch
        The folder that it works in, the only one in which it can write.
    reads
        Files and folders that it reads besides its libraries.
    trust
        Whether it is left unconfined.
    python
        The interpreter; this one by default.
    backend
        Of Keras.
    seconds
        Longest time that it may take.

    Raises
    ------
    UserError
        The process failed: with its own words where it ended on a UserError, else with the last line of its errors;
        or it was stopped at a limit.
    """
    with _Started(arguments, failure, scratch, reads, trust, python, backend, seconds) as started:
        started.wait(lambda pause: _ended(started.process, pause), seconds)
        if started.process.returncode:
            raise started.error()


class Conversation:
    """A confined Python that does something again and again, as long as this object lives.

    Parameters
    ----------
    arguments, failure, scratch, reads
        As for `run_python`. The program writes a line to its standard output when it is ready, and for every line that
        it reads from its standard input.
    """

    def __init__(self, arguments: Sequence[str], failure: str, scratch: Path, reads: Sequence[Path]) -> None:
        stack = contextlib.ExitStack()
        self._started = stack.enter_context(_Started(arguments, failure, scratch, reads, answers=True))
        self._end = weakref.finalize(self, stack.close)
        try:
            self._listen()
        except BaseException:
            self.close()
            raise

    def ask(self) -> None:
        """Have it done once more.

        Raises
        ------
        UserError
            As for `run_python`; the process has ended then.
        """
        process = self._started.process
        assert process.stdin is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(b"\n")
                process.stdin.flush()
            self._listen()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End it."""
        self._end()

    def _listen(self) -> None:
        process = self._started.process
        assert process.stdout is not None
        output = process.stdout.fileno()

        def answer(pause: float) -> bytes | None:
            return os.read(output, 1) if select.select([output], [], [], pause)[0] else None

        if not self._started.wait(answer, LONGEST):
            process.wait()
            raise self._started.error()


class _Started:
    """A process that is stopped when the block ends, and what it writes to its standard error."""

    def __init__(
        self,
        arguments: Sequence[str],
        failure: str,
        scratch: Path,
        reads: Sequence[Path] = (),
        trust: bool = False,
        python: Path | None = None,
        backend: str = "tensorflow",
        seconds: float | None = None,
        answers: bool = False,
    ) -> None:
        scratch, confined = scratch.resolve(), not trust and sandbox.obstacle() is None
        names = [str(path.resolve()) for path in (*reads, PACKAGES / "bmzpack")]
        policy = {
            "parent": os.getpid(),
            "memory": memory(),
            "disk": DISK,
            "seconds": seconds,
            "confined": confined and sys.platform == "linux",
            "scratch": str(scratch),
            "reads": names,
        }
        command = [str(python or sys.executable), sandbox.__file__, json.dumps(policy), *arguments]
        if confined and sys.platform == "darwin":
            command = ["/usr/bin/sandbox-exec", "-p", sandbox.profile(str(scratch), names), *command]
        self._failure, self._scratch = failure, scratch
        self._allowed = _size(scratch) + DISK
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        pipe = subprocess.PIPE if answers else subprocess.DEVNULL
        self.process = subprocess.Popen(
            command,
            env=_environment(scratch, python, backend),
            cwd=scratch,
            stdin=pipe,
            stdout=pipe,
            stderr=self._errors,
            start_new_session=True,
        )

    def __enter__(self) -> _Started:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL) if hasattr(os, "killpg") else self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._errors):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()

    def wait(self, result: Callable[[float], Result | None], seconds: float) -> Result:
        """Wait for what ``result`` gives within a pause; UserError where a limit is passed that no system holds."""
        end = time.monotonic() + seconds
        while True:
            if (found := result(max(0.0, min(PAUSE, end - time.monotonic())))) is not None:
                return found
            reason = None
            if time.monotonic() >= end:
                reason = f"after {seconds:.0f} seconds"
            elif _size(self._scratch) + os.fstat(self._errors.fileno()).st_size > self._allowed:
                reason = "as it wrote more than a network needs"
            elif _threads(self.process.pid) > MOST_THREADS:
                reason = f"as it started more than {MOST_THREADS} threads"
            if reason:
                comma = "" if reason.startswith("after") else ","
                raise UserError(f"{self._failure}: it was stopped{comma} {reason}.")

    def error(self) -> UserError:
        """Why it ended."""
        code, errors = self.process.returncode, self._errors
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 2**14))
        lines = [line for line in errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        last = lines[-1] if lines else f"exit code {code}"
        if code < 0:
            last = f"it was ended by {signal.Signals(-code).name}{f': {last}' if lines else ''}"
        if code == 2 and last.startswith("Error: "):
            return UserError(last.removeprefix("Error: "))
        return UserError(f"{self._failure}: {last}")


def memory() -> int:
    """Bytes that a process may take: half of the computer's, as two of them run at a time, but 8 GB at least."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # on Windows
        return 2**40
    return max(size // 2, min(size, 8 * 10**9))


def _environment(scratch: Path, python: Path | None, backend: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name.upper() in KEPT or name.startswith(KEPT_PREFIXES)}
    if python is None:
        own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        kept["PYTHONPATH"] = os.pathsep.join([str(PACKAGES), *(str(Path(path).resolve()) for path in own)])
    places = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME"), str(scratch))
    return (
        kept
        | places
        | {
            "USER": "nobody",
            "KERAS_BACKEND": backend,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",  # a GPU rounds convolutions to TF32, and frameworks would fight for it
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",  # the order of sets decides the order of nodes
            "PYTHONSAFEPATH": "1",  # the scratch folder, or that of this command, may hold a stranger's numpy.py
        }
    )


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code of a process that ends within so many seconds."""
    if hasattr(os, "pidfd_open"):  # it wakes at once, where Popen.wait sleeps up to 50 ms
        with contextlib.suppress(OSError):
            file = os.pidfd_open(process.pid)
            try:
                select.select([file], [], [], seconds)
            finally:
                os.close(file)
            return process.poll()
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(timeout=seconds)
    return None


def _size(folder: Path) -> float:
    """Bytes of all files in a folder; infinity where there are too many of them, or some that cannot be seen."""
    size, count, waiting = 0.0, 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:  # removed meanwhile
            continue
        except OSError:
            return math.inf
        if count > MOST_FILES:
            return math.inf
    return size


def _threads(process: int) -> int:
    """Threads of a process, where Linux tells."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[17])
    except (OSError, ValueError, IndexError):
        return 1
