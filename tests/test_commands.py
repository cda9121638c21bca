"""Every command is a function of `cli.py` with a sentence of help, and imports what it needs when it runs."""

import ast
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bmzpack import cli as packer
from kerazoo import cli as zoo

ROOT = Path(__file__).parents[1]
COMMANDS = [
    (module, command.name or command.callback.__name__.replace("_", "-"), command.callback.__doc__)
    for module in (zoo, packer)
    for command in module.app.registered_commands
]


@pytest.mark.parametrize(("module", "name", "text"), COMMANDS)
def test_each_command_helps(module, name, text):
    result = CliRunner().invoke(module.app, [name, "--help"])
    assert result.exit_code == 0
    assert text.splitlines()[0].split(";")[0][:40] in " ".join(result.output.split())


@pytest.mark.parametrize("path", ["zoo/kerazoo/cli.py", "packaging/bmzpack/cli.py"])
def test_commands_import_when_they_run(path):
    allowed = {"bmzpack.cli", "bmzpack.commands", "bmzpack.errors", "typer"}
    found = {
        node.module
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        and node.module
        and not node.module.startswith(("__future__", "collections"))
    }
    assert {name for name in found if name.split(".")[0] in ("kerazoo", "bmzpack")} <= allowed


def test_contributing_names_tests_that_are_there():
    text = (ROOT / ".github" / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!what|---)(.+?) \| (.+?) \| (.+?) \|$", text, flags=re.MULTILINE)
    assert [row[0].split()[1].strip(",") for row in rows] == [
        "network", "loss", "augmentation", "consumer", "weights", "operation", "command"
    ]  # fmt: skip
    for _, places, test in rows:
        assert (ROOT / test.strip("`")).is_file(), test
        for place in re.findall(r"`((?:zoo|packaging)/[\w/.]+)`", places):
            assert (ROOT / place.replace("FAMILY/", "")).exists(), place
