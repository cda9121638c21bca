"""Files are written whole or not at all."""

import errno

import pytest

from bmzpack.errors import UserError
from bmzpack.files import cache_folder, new_file


def test_whole(tmp_path):
    with new_file(tmp_path / "a" / "b.txt") as path:
        path.write_text("done")
    assert (tmp_path / "a" / "b.txt").read_text() == "done"
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["b.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken"), OSError(errno.ENOSPC, "full")])
def test_nothing_is_left(tmp_path, error):
    expected = UserError if isinstance(error, OSError) else type(error)

    def write():
        with new_file(tmp_path / "a" / "b" / "c.txt") as path:
            path.write_text("half")
            raise error

    with pytest.raises(expected):
        write()
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_kept(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(UserError, match="--overwrite"), new_file(tmp_path / "a.txt"):
        pass

    def replace():
        with new_file(tmp_path / "a.txt", overwrite=True) as path:
            path.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        replace()
    assert (tmp_path / "a.txt").read_text() == "old"


def test_cache_of_earlier_versions_is_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("uploads") == tmp_path / "bmzpack" / "uploads"
    (tmp_path / "kerazoo" / "uploads").mkdir(parents=True)
    assert cache_folder("uploads") == tmp_path / "kerazoo" / "uploads"
    assert cache_folder("engines") == tmp_path / "bmzpack" / "engines"
    (tmp_path / "bmzpack" / "uploads").mkdir(parents=True)
    assert cache_folder("uploads") == tmp_path / "bmzpack" / "uploads"
