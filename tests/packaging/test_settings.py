"""YAML files of settings: what is given twice is not guessed."""

import pytest

from bmzpack.errors import UserError
from bmzpack.settings import read_yaml


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", r"`a` is there twice \(lines 1 and 3\)"),
        ("training:\n  epochs: 1\nmodel: {}\ntraining:\n  epochs: 3\n", r"`training` is there twice \(lines 1 and 4\)"),
        ("training:\n  epochs: 1\n  epochs: 3\n", r"`epochs` is there twice \(lines 2 and 3\)"),
        ("inputs:\n- {id: raw, id: other}\n", r"`id` is there twice \(lines 2 and 2\)"),
    ],
)
def test_keys_that_are_given_twice(text, words, tmp_path):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError, match=words):
        read_yaml(tmp_path / "config.yaml", "configuration")


def test_mappings_that_are_merged(tmp_path):
    (tmp_path / "config.yaml").write_text("a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}\nc: {x: 3}\n")
    assert read_yaml(tmp_path / "config.yaml", "configuration")["b"] == {"x": 2, "y": 1}
