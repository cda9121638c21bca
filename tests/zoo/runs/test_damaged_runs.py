"""Damaged files of a run: a sentence that names the file and the way out."""

import contextlib

import pytest

from bmzpack.errors import UserError
from kerazoo.runs.run import Run

DAMAGES = ["", "{", "[]", "7", "[" * 100_000, '{"parameters": "many", "train": 3, "engine": 1}', "\x00"]


@pytest.mark.parametrize("content", DAMAGES)
@pytest.mark.parametrize("name", ["recipe", "split", "record", "environment", "agreement"])
def test_json(name, content, tmp_path):
    (tmp_path / "config.yaml").touch()
    (tmp_path / f"{name}.json").write_text(content)
    if content.startswith("{") and len(content) > 1:  # there are entries that may be of any kind
        with contextlib.suppress(UserError):
            getattr(Run(tmp_path), name)
        return
    with pytest.raises(UserError, match=rf"{name}\.json is damaged.*--overwrite"):
        getattr(Run(tmp_path), name)


def test_recipe_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"recipe\.json is damaged or missing"):
        _ = Run(tmp_path).recipe


@pytest.mark.parametrize("content", ["", "a: [", "- 1", "\x00"])
def test_configuration(content, tmp_path):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(UserError, match=r"config\.yaml"):
        _ = Run(tmp_path).config
