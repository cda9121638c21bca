"""Where a run was made: versions, machine, command."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
from typing import Any

_PACKAGES = ("kerazoo", "keras", "tensorflow", "numpy", "opencv-python-headless", "scikit-image", "scipy", "tifffile")


def describe_environment(policy: str, workers: int) -> dict[str, Any]:
    """What may matter for repeating a run on this machine, as JSON content.

    Parameters
    ----------
    policy
        The dtype policy of the training.
    workers
        How many processes train together.
    """
    import tensorflow as tf

    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return {
        "started": now(),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpus": [gpu.get("device_name", "unknown") for gpu in gpus],
        "precision": policy,
        "workers": workers,
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def now() -> str:
    """Local date and time, to the second."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
