"""Uploading, against a server on this computer that speaks the zoo's calls."""

import dataclasses
import email.utils
import hashlib
import http.server
import json
import logging
import random
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import bioimageio.spec
import pytest
import yaml

import bmzpack.publish.upload
from bmzpack.consumers.findings import Finding, Report, Severity, Verdict
from bmzpack.errors import UserError
from bmzpack.files import cache_folder
from bmzpack.publish.upload import Uploaded, ask, upload

TOKEN = "eyJ.secret-of-ada.42"
ID = "bioimage-io/lucky-newt"


@dataclasses.dataclass
class Call:
    """A request that the server got."""

    what: str
    """`create`, `put_file README.md`, `PUT README.md`, `edit`."""
    body: bytes
    headers: dict[str, str]

    @property
    def json(self):
        return json.loads(self.body)


class Zoo:
    """A server that keeps what it is given; ``answers`` replaces its answers to a call, one by one.

    An answer is a status, or a status with a body and headers; None drops the connection. Where ``works_anyway``, the
    call is carried out all the same.
    """

    works_anyway = False

    def __init__(self):
        self.calls: list[Call] = []
        self.answers: dict[str, list] = {}
        self.stored: dict[str, bytes] = {}
        self.entries: list[dict] = []
        self.identifier = ID
        zoo = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def log_message(self, *_):
                pass

            def do_POST(self):
                zoo.take(self, self.path.removeprefix("/public/services/artifact-manager/"))

            def do_PUT(self):
                zoo.take(self, "PUT " + self.path.removeprefix("/store/").partition("?")[0])

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.root = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.address = f"{self.root}/public/services/artifact-manager/create"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def take(self, handler, what):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if what == "put_file":
            what = f"put_file {json.loads(body)['file_path']}"
        self.calls.append(Call(what, body, dict(handler.headers.items())))
        answers = self.answers.get(what) or self.answers.get(what.split()[0]) or []
        answer = answers.pop(0) if answers else 200
        if self.works_anyway and answer != 200:
            self.work(what, body)
        if answer is None:
            handler.close_connection = True
            return
        status, content, headers = (*answer, {})[:3] if isinstance(answer, tuple) else (answer, None, {})
        if status == 200 and content is None:
            content = self.work(what, body)
        text = (content if isinstance(content, str) else json.dumps({} if content is None else content)).encode()
        handler.send_response(status)
        for key, value in ({"Content-Length": str(len(text))} | headers).items():
            handler.send_header(key, value)
        handler.end_headers()
        handler.wfile.write(text)

    def work(self, what, body):
        kind, _, name = what.partition(" ")
        if kind == "create":
            number = f"-{len(self.entries)}" if self.entries else ""
            self.entries.append({"id": self.identifier + number, "manifest": json.loads(body)["manifest"]})
            return {"id": self.entries[-1]["id"], "type": "model"}
        if kind == "list":
            name = json.loads(body)["filters"]["manifest"]["name"]
            return [entry for entry in self.entries if entry["manifest"]["name"] == name]
        if kind == "put_file":
            return json.dumps(f"{self.root}/store/{name}?signature=5")
        if kind == "PUT":
            self.stored[name] = body
        return {}

    @property
    def order(self):
        return [call.what for call in self.calls]


RDF = {
    "format_version": "0.5.10",
    "type": "model",
    "name": "Nuclei",
    "description": "Finds nuclei.",
    "authors": [{"name": "Ada Lovelace", "email": "ada@example.org", "affiliation": "Analytical Engines"}],
    "cite": [{"text": "Lovelace 1843", "doi": "10.1000/182"}],
    "license": "MIT",
    "timestamp": "2026-11-02T10:00:00+00:00",
    "documentation": "README.md",
    "covers": ["cover.png"],
    "inputs": [
        {
            "id": "raw",
            "axes": [
                {"type": "batch"},
                {"type": "space", "id": "y", "size": 4},
                {"type": "space", "id": "x", "size": 4},
            ],
            "test_tensor": {"source": "in.npy"},
        }
    ],
    "outputs": [
        {
            "id": "mask",
            "axes": [
                {"type": "batch"},
                {"type": "space", "id": "y", "size": 4},
                {"type": "space", "id": "x", "size": 4},
            ],
            "test_tensor": {"source": "out.npy"},
        }
    ],
    "weights": {"onnx": {"source": "weights.onnx", "opset_version": 15}},
    "config": {"bioimageio": {"nickname": "lucky-newt"}, "largest": float("inf")},
}
FILES = {
    "README.md": "# Nuclei\n",
    "cover.png": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "in.npy": b"\x93NUMPY in",
    "out.npy": b"\x93NUMPY out",
    "weights.onnx": random.Random(0).randbytes(1_250_000),
    "notes/empty.txt": b"",
}


def pack(path: Path, **changes) -> Path:
    content = {key: value for key, value in (RDF | changes).items() if value is not None}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rdf.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
        for name, data in FILES.items():
            archive.writestr(name, data)
    return path


def report(**failing: str) -> Report:
    def verdict(found: str | None) -> Verdict:
        if found is None:
            return Verdict([])
        return Verdict([Finding("R6", Severity.CANNOT_OPEN, "inputs.0", found, "why", "Make it so.", "Sizes")])

    return Report(
        "b.zip", "Nuclei", {name: verdict(failing.get(name)) for name in ("fiji", "ilastik", "qupath", "core")}
    )


really_check = bmzpack.check


@pytest.fixture
def zoo(monkeypatch, tmp_path):
    zoo = Zoo()
    monkeypatch.setattr(bioimageio.spec.settings, "hypha_upload", zoo.address)
    monkeypatch.setattr(bioimageio.spec.settings, "hypha_upload_token", TOKEN)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(bmzpack.publish.upload, "check", lambda _: report())
    yield zoo
    zoo.server.shutdown()
    zoo.server.server_close()


@pytest.fixture
def bundle(tmp_path):
    return pack(tmp_path / "nuclei.zip")


class User:
    """Agrees or not, and keeps what was shown and how long was waited."""

    def __init__(self, agrees=True):
        self.agrees = agrees
        self.questions, self.lines, self.waits = [], [], []

    def upload(self, bundle, **kwargs):
        return upload(bundle, confirm=self._confirm, show=self.lines.append, sleep=self.waits.append, **kwargs)

    def shown(self, bundle):
        """What a dry run says."""
        self.upload(bundle, dry_run=True)
        return self.text

    def _confirm(self, question):
        self.questions.append(question)
        return self.agrees

    @property
    def text(self):
        return "\n".join(self.lines)


def refused(bundle, user=None, **kwargs) -> str:
    with pytest.raises(UserError) as caught:
        (user or User()).upload(bundle, **kwargs)
    return str(caught.value)


NAMES = ["rdf.yaml", "README.md", "cover.png", "in.npy", "notes/empty.txt", "out.npy", "weights.onnx"]
ALL_CALLS = ["create", *(f"{call} {name}" for name in sorted(NAMES) for call in ("put_file", "PUT")), "edit"]


def test_everything_arrives_as_it_is_and_in_order(zoo, bundle):
    user = User()
    uploaded = user.upload(bundle)
    assert uploaded == Uploaded(ID, f"{zoo.root}/bioimage-io/artifacts/lucky-newt/files/rdf.yaml?version=stage")
    assert zoo.order == ALL_CALLS
    with zipfile.ZipFile(bundle) as archive:
        assert zoo.stored == {name: archive.read(name) for name in NAMES}
    assert yaml.safe_load(zoo.stored["rdf.yaml"])["format_version"] == "0.5.10"
    create, edit = zoo.calls[0].json, zoo.calls[-1].json
    manifest = json.loads(json.dumps(RDF), parse_constant=str)
    mark = create["manifest"]["config"]["bmzpack_upload"]
    assert len(mark) == 64
    manifest["config"] = manifest.get("config", {}) | {"bmzpack_upload": mark}
    assert create | {"manifest": manifest} == {
        "parent_id": "bioimage-io/bioimage.io",
        "alias": "{animal_adjective}-{animal}",
        "type": "model",
        "manifest": manifest,
        "version": "stage",
    }
    assert create["manifest"] == manifest
    assert edit == {
        "artifact_id": ID,
        "version": "stage",
        "manifest": create["manifest"] | {"status": "request-review"},
    }
    assert {call.json["artifact_id"] for call in zoo.calls if call.what.startswith("put_file")} == {ID}
    assert user.waits == []
    assert uploaded.address in user.lines[-1]


def test_the_token_goes_to_the_manager_only(zoo, bundle):
    User().upload(bundle)
    for call in zoo.calls:
        assert call.headers.get("Authorization") == (None if call.what.startswith("PUT") else f"Bearer {TOKEN}")
        if call.what.startswith("PUT"):
            assert "Content-Type" not in call.headers
            assert "Transfer-Encoding" not in call.headers


def test_shows_what_becomes_public_and_asks(zoo, bundle, monkeypatch):
    monkeypatch.setattr(bmzpack.publish.upload, "check", lambda _: report(ilastik="It has no weights for ilastik."))
    user = User(agrees=False)
    assert "was not uploaded" in refused(bundle, user)
    assert zoo.calls == []
    assert len(user.questions) == 1
    for part in [
        "Nuclei",
        "MIT",
        "Ada Lovelace, ada@example.org, Analytical Engines",
        "Fiji can open this model",
        "It has no weights for ilastik",
        "1.2 MiB weights.onnx",
        "0.0 KiB notes/empty.txt",
        f"{zoo.root}/bioimage-io/artifacts/",
    ]:
        assert part in user.text
    assert not cache_folder("uploads").exists()


def test_text_of_a_bundle_cannot_drive_the_terminal(zoo, tmp_path):
    user = User(agrees=False)
    refused(pack(tmp_path / "b.zip", authors=[{"name": "Ada\x1b[2J\u202eevil"}]), user)
    assert "\x1b" not in user.text
    assert "\u202e" not in user.text


def test_dry_run_makes_no_call_and_needs_no_token(zoo, bundle, monkeypatch):
    monkeypatch.setattr(bioimageio.spec.settings, "hypha_upload_token", None)
    user = User()
    assert user.upload(bundle, dry_run=True) is None
    assert zoo.calls == []
    assert user.questions == []
    assert "Ada Lovelace" in user.text
    assert not cache_folder("uploads").exists()


@pytest.mark.parametrize("token", [None, "", "  "])
def test_without_a_token(zoo, bundle, monkeypatch, token):
    monkeypatch.setattr(bioimageio.spec.settings, "hypha_upload_token", token)
    message = refused(bundle)
    assert "BIOIMAGEIO_HYPHA_UPLOAD_TOKEN" in message
    assert "https://bioimage.io/#/api?tab=hypha-rpc" in message
    assert zoo.calls == []


@pytest.mark.parametrize("token", ["eyJ secret", "eyJ\nsecret", "geheimé"])
def test_a_token_that_is_none_is_not_shown(zoo, bundle, monkeypatch, token):
    monkeypatch.setattr(bioimageio.spec.settings, "hypha_upload_token", token)
    message = refused(bundle)
    assert "copy it again" in message
    assert token not in message
    assert zoo.calls == []


@pytest.mark.parametrize(
    ("failing", "who"),
    [
        ({"core": "No such op."}, "bioimageio.core"),
        ({"fiji": "No such op.", "ilastik": "b", "qupath": "c"}, "none of Fiji, ilastik and QuPath"),
    ],
)
def test_refuses_what_does_not_open(zoo, bundle, monkeypatch, failing, who):
    monkeypatch.setattr(bmzpack.publish.upload, "check", lambda _: report(**failing))
    for dry_run in (False, True):
        message = refused(bundle, dry_run=dry_run)
        assert who in message
        assert "No such op. Make it so." in message
    assert zoo.calls == []


def test_takes_what_one_program_opens(zoo, bundle, monkeypatch):
    monkeypatch.setattr(bmzpack.publish.upload, "check", lambda _: report(fiji="a", ilastik="b"))
    assert User().upload(bundle).artifact == ID


def test_refuses_an_id(zoo, tmp_path):
    assert "id lucky-newt" in refused(pack(tmp_path / "b.zip", id="lucky-newt"))
    assert zoo.calls == []


def test_refuses_what_is_no_valid_description(zoo, tmp_path):
    assert "no valid bundle" in refused(pack(tmp_path / "b.zip", weights={}))
    assert zoo.calls == []


def test_refuses_a_folder(zoo, bundle, tmp_path):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "folder")
    for path in (tmp_path / "folder", tmp_path / "folder" / "rdf.yaml"):
        assert "upload the zip file" in refused(path)
    assert "There is no bundle" in refused(tmp_path / "absent.zip")


@pytest.mark.parametrize(
    "address", ["http://hypha.aicell.io/create", "ftp://127.0.0.1/create", "hypha", "http://127.0.0.1.evil.org/create"]
)
def test_refuses_an_address_without_https(zoo, bundle, monkeypatch, address):
    monkeypatch.setattr(bioimageio.spec.settings, "hypha_upload", address)
    assert "needs https" in refused(bundle)


def test_asks_only_in_a_terminal(zoo, bundle, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(UserError, match="--yes"):
        upload(bundle, confirm=ask, show=lambda _: None)
    assert zoo.calls == []


LOST = [
    (None, ""),
    (500, ""),
    ((502, "<html>Bad gateway</html>"), "status 502: <html>Bad gateway</html>"),
    ((429, {"detail": "slowly"}, {"Retry-After": "7"}), "status 429: slowly"),
    ((401, {"detail": "Invalid token"}), "status 401: Invalid token"),
    ((403, "<html>Forbidden</html>"), "status 403: <html>Forbidden</html>"),
    ((400, {"success": False, "detail": "Traceback\n  File x\nPermissionError: not yours\n"}), "400: PermissionError"),
    ((500, {"detail": ["Traceback\n", "KeyError: 'ws'\n"]}), "status 500: KeyError: 'ws'"),
    ((200, {"success": False, "detail": "no such collection"}), "status 200: no such collection"),
    ((307, "", {"Location": "http://evil.example.org/"}), "status 307: Temporary Redirect"),
    ((200, "ok"), ""),
    ((200, {}), ""),
    ((200, {"id": 7}), ""),
    ((200, [1]), ""),
    ((200, "[" * 100_000), ""),
    ((200, {"id": "\ud800"}), ""),
    ((200, {"id": "../x\x1b[2J"}), ""),
]
"""Answers to `create` that do not say whether there is an entry, and what a user sees of them."""


@pytest.mark.parametrize(("answer", "words"), LOST)
def test_an_entry_whose_answer_is_lost_is_looked_up(zoo, bundle, answer, words):
    """A gateway on the way can answer like this, behind which the entry was made."""
    zoo.answers["create"], zoo.works_anyway = [answer], True
    assert User().upload(bundle).artifact == ID
    assert zoo.order == ["create", "list", *ALL_CALLS[1:]]
    assert len(zoo.entries) == 1


@pytest.mark.parametrize(("answer", "words"), LOST)
def test_an_entry_that_was_not_made_is_made_by_the_next_call(zoo, bundle, answer, words):
    zoo.answers["create"] = [answer]
    user = User()
    message = refused(bundle, user)
    assert words in message
    assert "whether it did is not known" in message
    assert "Nothing is public" in message
    assert user.waits == [1, 2, 4, 8]
    assert "An earlier call may have made an entry" in User().shown(bundle)
    assert zoo.order == ["create", *["list"] * 4]
    assert User().upload(bundle).artifact == ID
    assert zoo.order == ["create", *["list"] * 8, *ALL_CALLS]
    assert len(zoo.entries) == 1


def test_an_entry_that_was_made_late_is_found_by_the_next_call(zoo, bundle):
    zoo.answers["create"] = [None]
    refused(bundle)
    zoo.work("create", zoo.calls[0].body)
    assert User().upload(bundle).artifact == ID
    assert len(zoo.entries) == 1


@pytest.mark.parametrize("answer", [(403, {"detail": "PermissionError: list"}), (200, {"no": "list"})])
def test_where_entries_cannot_be_looked_up(zoo, bundle, answer):
    zoo.answers |= {"create": [None], "list": [answer]}
    message = refused(bundle)
    assert "whether it did is not known" in message
    assert "--again" in message
    assert User().upload(bundle, again=True).artifact == ID
    assert zoo.order == ["create", "list", *ALL_CALLS]


def test_entries_of_another_content_are_others(zoo, bundle, tmp_path):
    User().upload(pack(tmp_path / "b.zip", version="0.2.0"))
    zoo.calls.clear()
    zoo.answers["create"], zoo.works_anyway = [None], True
    assert User().upload(bundle).artifact == f"{ID}-1"
    assert len(zoo.entries) == 2


def test_two_entries_of_one_content(zoo, bundle):
    zoo.answers["create"], zoo.works_anyway = [None], True
    zoo.answers["list"] = [500] * 5
    refused(bundle)
    zoo.work("create", zoo.calls[0].body)
    assert f"the server has the entries {ID}, {ID}-1 for it. Remove all but one" in refused(bundle)


@pytest.mark.parametrize("seed", [*range(20), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(20, 300))])
def test_after_any_faults_there_is_one_entry_with_all_files(zoo, bundle, seed):
    """Every answer may be lost, before the call was carried out or after it; users call until it works."""
    dice = random.Random(seed)
    faults = [None, 500, 503, (502, "<html>"), (429, {}, {"Retry-After": "1"}), (400, {"detail": TOKEN}), (403, TOKEN)]
    rate = dice.choice([0.05, 0.15, 0.3])

    class Dice(dict):
        def get(self, what, default=None):
            zoo.works_anyway = dice.random() < 0.5
            return [dice.choice(faults)] if dice.random() < rate else None

    zoo.answers, texts = Dice(), []
    for _ in range(200):
        user = User()
        try:
            done = user.upload(bundle)
            break
        except UserError as error:
            texts += [str(error), user.text]
    else:
        pytest.fail("it never came to an end")
    assert [entry["id"] for entry in zoo.entries] == [done.artifact]
    with zipfile.ZipFile(bundle) as archive:
        assert zoo.stored == {name: archive.read(name) for name in NAMES}
    assert zoo.order[-1] == "edit"
    assert not any(TOKEN in text for text in texts)


def test_server_that_is_not_there(zoo, bundle, monkeypatch):
    zoo.server.server_close()
    user = User()
    message = refused(bundle, user)
    assert "was not reached" in message
    assert user.waits == [1, 2, 4, 8]
    assert "trying again in 8 s" in user.text
    assert list(cache_folder("uploads").iterdir()) == []


@pytest.mark.parametrize("call", ["put_file in.npy", "PUT in.npy", "edit"])
@pytest.mark.parametrize("answer", [500, 503, 429, None])
def test_failures_that_pass(zoo, bundle, call, answer):
    zoo.answers[call] = [answer, answer]
    user = User()
    assert user.upload(bundle).artifact == ID
    assert user.waits == [1, 2]
    assert zoo.order.count("create") == 1
    assert zoo.order.count(call) == 3
    with zipfile.ZipFile(bundle) as archive:
        assert zoo.stored == {name: archive.read(name) for name in NAMES}


def test_waits_as_long_as_the_server_says(zoo, bundle):
    soon = email.utils.formatdate(time.time() + 100, usegmt=True)
    zoo.answers["PUT in.npy"] = [
        (503, "", {"Retry-After": "30"}),
        (503, "", {"Retry-After": soon}),
        (503, "", {"Retry-After": "soon"}),
        (503, "", {"Retry-After": "0"}),
    ]
    user = User()
    user.upload(bundle)
    assert user.waits == [30, pytest.approx(100, abs=5), 4, 8]


def test_gives_up_where_the_server_wants_long(zoo, bundle):
    zoo.answers["PUT in.npy"] = [(503, "", {"Retry-After": "86400"})]
    user = User()
    assert "asks to wait for 86400 s" in refused(bundle, user)
    assert user.waits == []


@pytest.mark.parametrize(
    ("call", "answer", "waits"),
    [
        ("put_file in.npy", (400, {"detail": "KeyError: gone"}), 0),
        ("put_file in.npy", (200, {"no": "address"}), 0),
        ("put_file in.npy", (200, '"http://evil.example.org/in.npy"'), 0),
        ("put_file in.npy", (200, '"http://[/in.npy"'), 0),
        ("put_file in.npy", 500, 4),
        ("PUT in.npy", (403, "<Error><Code>AccessDenied</Code></Error>"), 0),
        ("PUT in.npy", 503, 4),
        ("PUT in.npy", None, 4),
    ],
)
def test_file_that_fails_for_good_and_the_next_call_continues(zoo, bundle, call, answer, waits):
    zoo.answers[call] = [answer] * 5
    user = User()
    message = refused(bundle, user)
    assert "its file in.npy was not stored" in message
    assert "Nothing is public" in message
    assert ID in message
    assert len(user.waits) == waits
    assert "edit" not in zoo.order
    assert sorted(zoo.stored) == ["README.md", "cover.png"]

    zoo.answers.clear()
    zoo.calls.clear()
    zoo.identifier = "bioimage-io/another-newt"
    assert User().upload(bundle).artifact == ID
    rest = ["in.npy", "notes/empty.txt", "out.npy", "rdf.yaml", "weights.onnx"]
    assert zoo.order == [*(f"{call} {name}" for name in rest for call in ("put_file", "PUT")), "edit"]
    with zipfile.ZipFile(bundle) as archive:
        assert zoo.stored == {name: archive.read(name) for name in NAMES}


def test_again_leaves_an_entry_that_is_gone(zoo, bundle):
    zoo.answers["PUT in.npy"] = [403]
    refused(bundle)
    zoo.calls.clear()
    zoo.entries.clear()
    zoo.identifier = "bioimage-io/another-newt"
    user = User()
    assert user.upload(bundle, again=True).artifact == "bioimage-io/another-newt"
    assert f"{ID} stays at stage" in user.text
    assert zoo.order == ALL_CALLS


def test_review_that_cannot_be_requested_is_requested_by_the_next_call(zoo, bundle):
    zoo.answers["edit"] = [(400, {"detail": "PermissionError: no"})]
    message = refused(bundle)
    assert "the review could not be requested (status 400: PermissionError: no)" in message
    assert "Nothing is public" in message
    zoo.calls.clear()
    assert User().upload(bundle).artifact == ID
    assert zoo.order == ["edit"]


def test_interrupted_and_continued(zoo, bundle):
    zoo.answers["PUT in.npy"] = [503]

    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="The same command continues"):
        upload(bundle, confirm=lambda _: True, show=lambda _: None, sleep=interrupt)
    zoo.calls.clear()
    User().upload(bundle)
    assert zoo.order[0] == "put_file in.npy"


def test_never_twice(zoo, bundle, tmp_path, monkeypatch):
    uploaded = User().upload(bundle)
    zoo.calls.clear()
    monkeypatch.setattr(bioimageio.spec.settings, "hypha_upload_token", None)
    repacked = tmp_path / "other.zip"
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(repacked, "w", zipfile.ZIP_DEFLATED) as new:
        for name in reversed(old.namelist()):
            new.writestr(name, old.read(name))
    for path in (bundle, repacked):
        for options in ({}, {"dry_run": True}, {"again": True}):
            user = User()
            assert user.upload(path, **options) == uploaded
            assert "uploaded already" in user.text
            assert user.questions == []
    assert zoo.calls == []


def test_another_content_or_server_is_another_upload(zoo, bundle, tmp_path, monkeypatch):
    User().upload(bundle)
    User().upload(pack(tmp_path / "b.zip", version="0.2.0"))
    assert zoo.order == ALL_CALLS * 2
    other = Zoo()
    monkeypatch.setattr(bioimageio.spec.settings, "hypha_upload", other.address)
    User().upload(bundle)
    assert other.order == ALL_CALLS
    other.server.shutdown()
    other.server.server_close()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"who": 1}'])
def test_a_damaged_record_is_a_doubt(zoo, bundle, content):
    zoo.answers["PUT in.npy"] = [403]
    refused(bundle)
    (record,) = cache_folder("uploads").iterdir()
    record.write_text(content)
    assert User().upload(bundle).artifact == ID
    assert len(zoo.entries) == 1


def test_two_at_once_make_one_entry(zoo, bundle):
    other = []

    def confirm(_):
        other.append(User().upload(bundle))
        return True

    with pytest.raises(UserError, match="Another process"):
        upload(bundle, confirm=confirm, show=lambda _: None)
    assert other[0].artifact == ID
    assert zoo.order == ALL_CALLS


def test_without_a_record_nothing_is_sent(zoo, bundle, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "XDG_CACHE_HOME" in refused(bundle)
    assert zoo.calls == []


def test_the_token_is_never_shown(zoo, bundle, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    messages = []
    for call in ("create", "put_file in.npy", "PUT in.npy", "edit"):
        zoo.answers[call] = [(403, {"detail": f"Bearer {TOKEN} is not allowed"})]
        user = User()
        messages += [refused(bundle, user, again=call != "create"), user.text]
    user = User()
    user.upload(bundle, again=True)
    records = "".join(path.read_text() for path in cache_folder("uploads").iterdir())
    said = "\n".join([*messages, user.text, caplog.text, records, *capsys.readouterr()])
    assert "Bearer *** is not allowed" in said
    assert TOKEN not in said


def test_the_name_of_a_record_is_of_the_content(zoo, bundle):
    User().upload(bundle)
    (record,) = cache_folder("uploads").iterdir()
    assert len(record.stem) == len(hashlib.sha256().hexdigest())
    assert json.loads(record.read_text()) == {"artifact": ID, "files": sorted(NAMES), "done": True}


@pytest.fixture
def example(data_folder, tmp_path):
    """The example of bioimageio.spec with its ONNX weights, in format 0.5.10; all axes named, it opens in QuPath."""
    folder = data_folder("bioimageio_example_unet2d_nuclei")
    content = yaml.safe_load((folder / "bioimageio.yaml").read_text())
    weights = {"onnx": {key: value for key, value in content["weights"]["onnx"].items() if key != "parent"}}
    content |= {"format_version": "0.5.10", "weights": weights}
    for tensor in content["inputs"] + content["outputs"]:
        for axis in tensor["axes"]:
            if axis["type"] == "space":
                axis.setdefault("id", "x")
    with zipfile.ZipFile(tmp_path / "example.zip", "w") as archive:
        archive.writestr("rdf.yaml", yaml.safe_dump({key: value for key, value in content.items() if key != "id"}))
        for path in folder.iterdir():
            if path.name != "bioimageio.yaml":
                archive.write(path, path.name)
    return tmp_path / "example.zip"


def test_with_the_real_check(zoo, bundle, example, monkeypatch):
    monkeypatch.setattr(bmzpack.publish.upload, "check", really_check)
    assert "weights.onnx" in refused(bundle)
    assert zoo.calls == []
    user = User()
    assert user.upload(example).artifact == ID
    assert "QuPath can open this model" in user.text
    with zipfile.ZipFile(example) as archive:
        assert zoo.stored == {name: archive.read(name) for name in archive.namelist()}


def test_why_the_upload_of_bioimageio_spec_is_not_called(zoo, example):
    """If this fails, bioimageio.spec may have become safe to call: read the docstring of bmzpack.upload again."""
    zoo.answers["PUT"] = [200, 500, 500]
    bioimageio.spec.upload(example)
    assert zoo.order[-1] == "edit"
    put = {call.what: call for call in zoo.calls}["PUT rdf.yaml"]
    assert put.body.startswith(b"--")
    assert b"Content-Disposition: form-data" in put.body
    assert b"format_version: 0.5.12" in put.body
    assert zoo.calls[0].json["manifest"]["documentation"].keys() == {"source", "sha256"}
