"""Imports go down the rooms only, as pyproject.toml orders them, and names stay where they belong."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from kerazoo.models import registry

ROOT = Path(__file__).parents[1]
SOURCES = [path for root in ("zoo/kerazoo", "packaging/bmzpack") for path in sorted((ROOT / root).rglob("*.py"))]
OUTSIDE = {"cli_options", "cli", "commands", "config", "demo", "errors", "files", "settings"}
"""Files that may stand outside rooms."""
ORDINARY = {"classes", "foreground", "prompts"}
"""Kinds of targets whose names are words for other things too, such as annotations and forms of bundles."""


def test_imports_go_down_the_rooms():
    paths = os.pathsep.join(str(ROOT / root) for root in ("zoo", "packaging"))
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_the_contracts_name_every_family():
    """Import contracts cannot ask the registry: a new family has to be added to both lists of pyproject.toml."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {entry["name"].partition(";")[0]: entry for entry in settings["tool"]["importlinter"]["contracts"]}
    folders = {name.split(".")[2] for name in registry.FAMILIES}
    layers = contracts["Families of networks do not know each other"]["layers"]
    assert {name for layer in layers for name in layer.split(" | ")} - {"configure", "shared"} == folders
    forbidden = contracts["Rooms ask the protocol of a family, not its folder"]["forbidden_modules"]
    assert set(forbidden) == {f"kerazoo.models.{name}" for name in folders}


def test_files_stand_in_rooms():
    outside = {path.stem for path in SOURCES if path.parent.name in ("kerazoo", "bmzpack")}
    assert {name for name in outside if not name.startswith("__")} <= OUTSIDE


def test_what_a_network_learns_is_known_to_its_family_only():
    kinds = {kind for family in registry.families() for kind in family.kinds}
    assert kinds >= ORDINARY
    named = re.compile(rf'"({"|".join(kinds - ORDINARY)})"')
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in SOURCES
        if "models" not in path.parts and "kerazoo" in path.parts
    }
    assert [path for path, text in texts.items() if named.search(text)] == []
    assert [path for path, text in texts.items() if is_compared(text, kinds)] == []


def test_comparisons_are_seen():
    for text in ('a.targets == "classes"', 'kind in ("x", "foreground")', 'match a.targets.kind:\n case "prompts": 1'):
        assert is_compared(text, ORDINARY)
    for text in ('data.annotation == "classes"', 'f(targets="classes")', 'form == "prompts"'):
        assert not is_compared(text, ORDINARY)


def is_compared(text, kinds):
    """Whether any `targets` or `kind` is compared with one of these words."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare | ast.Match):
            inner = list(ast.walk(ast.Module([ast.Expr(node)], []) if isinstance(node, ast.Compare) else node.subject))
            words = (
                inner if isinstance(node, ast.Compare) else [w for case in node.cases for w in ast.walk(case.pattern)]
            )
            names = {getattr(part, "attr", getattr(part, "id", "")) for part in inner}
            if names & {"targets", "kind"} and kinds & {w.value for w in words if isinstance(w, ast.Constant)}:
                return True
    return False


def test_files_are_short():
    long = {path.name for path in SOURCES if path.read_text(encoding="utf-8").count("\n") > 500}
    assert long <= {"polygons.py"}
