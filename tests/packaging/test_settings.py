"""Settings: a key that is there twice is refused, wherever it is."""

import pytest

from bmzpack.errors import UserError
from bmzpack.settings import read_yaml


def test_keys_that_are_there_twice(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("training:\n  epochs: 30\ndata: {a: 1}\ntraining:\n  epochs: 3\n")
    with pytest.raises(UserError, match=r"c\.yaml: `training` is there twice \(lines 1 and 4\)"):
        read_yaml(path, "configuration")
    path.write_text("cite:\n- {doi: a, text: b}\n- {doi: a,\n   doi: c}\n")
    with pytest.raises(UserError, match=r"`doi` is there twice \(lines 3 and 4\)"):
        read_yaml(path, "configuration")
    path.write_text("a: &x {k: 1}\nb: [*x, *x]\nc: {k: 2}\n")
    assert read_yaml(path, "configuration") == {"a": {"k": 1}, "b": [{"k": 1}, {"k": 1}], "c": {"k": 2}}
