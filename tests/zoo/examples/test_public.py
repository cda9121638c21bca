"""Public sets: fetched from a server of the test's own, checked, cached, and a clear sentence when offline."""

import dataclasses
import functools
import hashlib
import http.server
import threading
import zipfile

import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.examples import public
from kerazoo.examples.synthetic import nuclei
from kerazoo.files.folders import find_pairs


class Handler(http.server.SimpleHTTPRequestHandler):
    requests = 0

    def do_GET(self):
        type(self).requests += 1
        super().do_GET()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder that is served on the loopback device, holding a small set of the same layout."""
    folder = tmp_path / "served"
    folder.mkdir()
    with zipfile.ZipFile(folder / "dsb2018.zip", "w") as archive:
        for part in ("train", "test"):
            for kind, content in zip(("images", "masks"), nuclei(1, 64), strict=True):
                tifffile.imwrite(tmp_path / "a.tif", content)
                archive.write(tmp_path / "a.tif", f"dsb2018/{part}/{kind}/a.tif")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/dsb2018.zip", folder / "dsb2018.zip"
    server.shutdown()


def use(monkeypatch, url, sha256):
    changed = dataclasses.replace(public.PUBLIC_SETS[0], url=url, sha256=sha256)
    monkeypatch.setattr(public, "PUBLIC_SETS", (changed,))


def test_fetched_once(server, monkeypatch, tmp_path):
    url, path = server
    use(monkeypatch, url, hashlib.sha256(path.read_bytes()).hexdigest())
    Handler.requests = 0
    for _ in range(2):
        parts = public.fetch("nuclei_dsb2018", tmp_path / "cache")
        assert list(parts) == ["train", "test"]
        for folder in parts.values():
            assert len(find_pairs(folder / "images", folder / "masks")) == 1
    assert Handler.requests == 1


def test_wrong_checksum(server, monkeypatch, tmp_path):
    use(monkeypatch, server[0], "0" * 64)
    with pytest.raises(UserError, match="checksum"):
        public.fetch("nuclei_dsb2018", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.zip"))


def test_offline(monkeypatch, tmp_path):
    use(monkeypatch, "http://127.0.0.1:9/dsb2018.zip", "0" * 64)
    with pytest.raises(UserError, match=r"connect to the internet, or .* put it at .*dsb2018\.zip"):
        public.fetch("nuclei_dsb2018", tmp_path)


def test_missing_on_the_server(server, monkeypatch, tmp_path):
    use(monkeypatch, server[0].replace("dsb2018", "absent"), "0" * 64)
    with pytest.raises(UserError, match="cannot be downloaded"):
        public.fetch("nuclei_dsb2018", tmp_path)


def test_unknown_name():
    with pytest.raises(UserError, match="did you mean 'nuclei_dsb2018'"):
        public.fetch("nuclei")


def test_every_set_is_complete():
    for known in public.list_public():
        assert known.url.startswith("https://")
        assert len(known.sha256) == 64
        assert known.parts
        assert known.licence
