"""Imports go down the rooms only, as pyproject.toml orders them, and names stay where they belong."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = [path for root in ("zoo/kerazoo", "packaging/bmzpack") for path in sorted((ROOT / root).rglob("*.py"))]
OUTSIDE = {"cli", "commands", "config", "demo", "errors", "files", "settings"}
"""Files that may stand outside rooms."""


def test_imports_go_down_the_rooms():
    paths = os.pathsep.join(str(ROOT / root) for root in ("zoo", "packaging"))
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_files_stand_in_rooms():
    outside = {path.stem for path in SOURCES if path.parent.name in ("kerazoo", "bmzpack")}
    assert {name for name in outside if not name.startswith("__")} <= OUTSIDE


def test_what_a_network_learns_is_known_to_its_family_only():
    kinds = re.compile(r'"(stars|flows|fields|border|patch)"')
    found = [path for path in SOURCES if "models" not in path.parts and "kerazoo" in path.parts]
    assert [path for path in found if kinds.search(path.read_text(encoding="utf-8"))] == []


def test_files_are_short():
    long = {path.name for path in SOURCES if path.read_text(encoding="utf-8").count("\n") > 500}
    assert long <= {"polygons.py"}
