"""Opening a bundle without trusting it."""

import stat
import zipfile

import pytest

from bmzpack.bundle import archive as bundle
from bmzpack.errors import UserError


def zipped(path, **files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in ({"rdf.yaml": "type: model"} | files).items():
            archive.writestr(name, content)
    return path


def test_written_the_same_every_time_and_opened_again(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("weights.onnx", "README.md", "rdf.yaml"):
        (folder / name).write_text(name)
    bundle.write(folder, tmp_path / "a.zip")
    (folder / "README.md").touch()
    bundle.write(folder, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["rdf.yaml", "README.md", "weights.onnx"]
    with bundle.unpacked(tmp_path / "a.zip") as opened:
        assert (opened / "weights.onnx").read_text() == "weights.onnx"
    assert not opened.exists()
    for path in (folder, folder / "rdf.yaml"):
        with bundle.unpacked(path) as opened:
            assert opened == folder


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "..\\outside", "C:/outside"])
def test_paths_that_lead_out(name, tmp_path):
    path = zipped(tmp_path / "a.zip", **{name: "text"})
    with pytest.raises(UserError, match="leads out of it"), bundle.unpacked(path):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_links(tmp_path):
    path = zipped(tmp_path / "a.zip")
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(UserError, match="link"), bundle.unpacked(path):
        pass


def test_bombs(tmp_path):
    path = zipped(tmp_path / "a.zip", bomb=b"\0" * 30_000_000)
    with pytest.raises(UserError, match="bomb"), bundle.unpacked(path):
        pass
    path = zipped(tmp_path / "b.zip", **{f"file{number}": "" for number in range(bundle.MOST_FILES)})
    with pytest.raises(UserError, match="1001 files"), bundle.unpacked(path):
        pass


def test_damaged(tmp_path):
    path = zipped(tmp_path / "a.zip", weights=bytes(range(256)) * 100)
    content = bytearray(path.read_bytes())
    (tmp_path / "short.zip").write_bytes(content[: len(content) // 2])
    content[content.index(b"weights") + 30] ^= 255
    (tmp_path / "changed.zip").write_bytes(content)
    for name in ("short.zip", "changed.zip"):
        with (
            pytest.raises(UserError, match=f"{name} is no zip file, or a damaged one"),
            bundle.unpacked(tmp_path / name),
        ):
            pass


def test_no_bundle(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("README.md", "")
    for path in (tmp_path / "other.zip", tmp_path, tmp_path / "nowhere.zip"):
        with pytest.raises(UserError), bundle.unpacked(path):
            pass
