"""The process in which weights files are written: ``python -m bmzpack.weights.writer TASK.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.weights.model import Network, load, one_line
from bmzpack.weights.references import resolved


def main(task_path: Path) -> None:
    """Write every file of a task; their versions, or what went wrong, go into ``versions.json`` beside it."""
    task = json.loads(task_path.read_text())
    network = Network(load(Path(task["model"])), TensorNames(task["inputs"], task["outputs"]), task["labels"])
    versions = {}
    for name, file in task["files"].items():
        try:
            versions[name] = resolved(file["writer"])(network, Path(task["folder"], file["name"]))
        except OSError as error:
            raise UserError(f"{task['folder']} cannot be written ({error.strerror}): free some space there.") from error
        except Exception as error:
            versions[name] = {"error": f"{task['model']} cannot be written as {name} ({one_line(error)})"}
    task_path.with_name("versions.json").write_text(json.dumps(versions))


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
