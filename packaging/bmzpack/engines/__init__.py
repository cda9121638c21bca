"""Running a weights file in the engines of its consumers, each in a process of its own."""

from bmzpack.engines.jobs import attempt_files, run_worker
from bmzpack.engines.registry import ENGINES, Engine
from bmzpack.engines.tensors import Attempt, Result, TensorNames, relative_error

__all__ = [
    "ENGINES",
    "Attempt",
    "Engine",
    "Result",
    "TensorNames",
    "attempt_files",
    "relative_error",
    "run_worker",
]
