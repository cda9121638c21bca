"""Every command is a function of `cli.py` with a sentence of help, and imports what it needs when it runs."""

import ast
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import kerazoo
from bmzpack import cli as packer
from bmzpack.errors import UserError
from kerazoo import cli as zoo
from kerazoo.models.registry import families, list_models

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


def test_help_names_the_models_that_an_option_is_for():
    """Typed by hand, as the registry would make the help slow."""
    commands = typer.main.get_command(zoo.app).commands
    texts = {(name, option.name): option.help or "" for name in commands for option in commands[name].params}
    for name in ("predict", "evaluate"):
        named = texts[name, "source"].partition("a bundle, or ")[2].rstrip(".").split(", ")
        assert named == [model.name for model in list_models() if model.builder is None]
    rescaled = [model.name for family in families() if family.rescales for model in family.models]
    assert f"({', '.join(rescaled)})" in texts["predict", "diameter"]
    kinds = set(re.findall(r"\w+", texts["convert", "kind"])) - {"or"}
    assert kinds == {family.name for family in families() if family.converts}


def test_version_and_short_help():
    assert CliRunner().invoke(zoo.app, ["--version"]).output == f"{kerazoo.__version__}\n"
    assert "Exit codes: 0 done" in CliRunner().invoke(zoo.app, ["-h"]).output
    assert CliRunner().invoke(zoo.app, ["init", "-h"]).exit_code == 0


def test_what_python_lists():
    assert set(dir(kerazoo)) == set(kerazoo.__all__)
    assert all(name in str(kerazoo.__doc__) for name in kerazoo.__all__ if not name.startswith("__"))
    for package in ("zoo/kerazoo", "packaging/bmzpack"):
        assert (ROOT / package / "py.typed").is_file()


def test_one_network_is_shown_with_its_arguments():
    shown = CliRunner().invoke(zoo.app, ["models", "unet2d"]).output
    assert "filters" in shown
    assert "(None, None, 1)" in shown
    with pytest.raises(UserError, match="unet2d takes no argument 'filtres'; did you mean 'filters'"):
        kerazoo.create_model("unet2d", filtres=4)
    for name in ("filters", "depth"):
        with pytest.raises(UserError, match=f"{name} is 0; choose a whole number from 1 on"):
            kerazoo.create_model("unet2d", **{name: 0})


@pytest.mark.parametrize("path", ["zoo/kerazoo/cli.py", "packaging/bmzpack/cli.py"])
def test_commands_import_when_they_run(path):
    allowed = {"bmzpack.cli", "bmzpack.commands", "bmzpack.errors", "kerazoo.cli_options", "typer"}
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
    for _, _, test in rows:
        assert (ROOT / test.strip("`")).is_file(), test
    places = [
        span for span in re.findall(r"`([^`\n]+)`", text) if re.fullmatch(r"[\w.]+(/[\w.]*)+|\w+\.(py|toml)", span)
    ]
    assert len(places) > 30
    for place in set(places) - {"packaging/__init__.py"}:  # which must never exist
        assert any(ROOT.glob(place.replace("FAMILY", "*").rstrip("/"))), place
