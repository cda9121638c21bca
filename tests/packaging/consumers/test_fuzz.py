"""Descriptions and files changed at random: always a verdict of every consumer, or one sentence, never a traceback."""

import copy
import math
import shutil
import socket
import time
import zipfile

import pytest
import yaml
from corpus import clean, old
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import places

from bmzpack import check
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.errors import UserError

PLAIN, MANY = 300, 10_000
"""Examples of the plain suite, and of the slow one."""
LONGEST = 2
"""Seconds of the processor for a check."""

LONGEST_FINDING = 12_000
"""Characters; a name of the description may be in it."""

TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            " ",
            "\0",
            "\x1b[2J",
            "\u202e",
            "\ufeff",
            "é" * 50,
            "😀",
            "a" * 5000,
            "..",
            "../rdf.yaml",
            "/etc/passwd",
            "C:\\x",
            ".",
            "README.md",
            "~",
            "http://",
            "https://[::1",
            "file:///etc/passwd",
            "0.5.12",
            "0.4.10",
            "0.3.6",
            "0.5",
            "1e999",
            "batch",
            "channel",
            "raw",
            "space",
            "{}",
            "float32",
            "float9",
            "int999",
        ]
    ),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 300),
        st.sampled_from([2**31, 2**63, 10**30, -(10**30), 10**400, math.nan, math.inf, -math.inf, 1e308, 5e-324, -0.0]),
        st.floats(),
        st.dates(),
        st.datetimes(),
        st.binary(max_size=8),
        TEXTS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(TEXTS, st.integers(), st.none(), st.booleans()), inner, max_size=4),
    ),
    max_leaves=8,
)
PIECES = (
    *(b"", b"\0", b"\xff\xfe", b"\t", b"\n\t", b"- ", b": ", b"#", b"@", b"[", b"{", b"]", b"'", b'"', b"|", b">"),
    *(
        b"&a ",
        b"*a ",
        b"<<: *a\n",
        b"!!set ",
        b"!!binary ",
        b"!!python/name:os.system ",
        b"%TAG ! x\n",
        b"---\n",
        b"...\n",
    ),
)
"""Bytes that mean something to YAML."""
KINDS = ("delete", "retype", "nest", "unwrap", "rename", "duplicate", "swap", "share", "empty", "scale")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Folders of clean bundles: of format 0.5.10, of the form of 0.5.12, and of 0.4; and what they say."""
    found = []
    for name, make in (("plain", clean), ("new", clean), ("old", old)):
        bundle = make(tmp_path_factory.mktemp("fuzz") / name)
        if name == "new":
            bundle.rdf["format_version"] = "0.5.12"
            bundle.rdf["documentation"] = {"source": "README.md", "sha256": None}
            bundle.rdf["covers"] = [{"source": "cover.png", "sha256": None}]
        folder = bundle.finish()
        found.append((folder, bundle.rdf))
    return found


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a check asks the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def mutate(rdf, draw):
    """Change a description at one place, in its place."""
    path = draw(st.sampled_from(list(places(rdf))[1:] or [()]))
    if not path:
        return
    parent = rdf
    for key in path[:-1]:
        parent = parent[key]
    key, value, kind = path[-1], parent[path[-1]], draw(st.sampled_from(KINDS))
    match kind:
        case "delete":
            del parent[key]
        case "retype":
            parent[key] = draw(VALUES)
        case "nest":
            parent[key] = draw(
                st.sampled_from([[value], {"source": value}, {str(key): value}, [[[value]]], [value, value]])
            )
        case "unwrap" if isinstance(value, dict | list) and value:
            parent[key] = next(iter(value.values() if isinstance(value, dict) else value))
        case "rename" if isinstance(parent, dict):
            parent[draw(st.one_of(TEXTS, st.none(), st.integers(), st.dates()))] = parent.pop(key)
        case "duplicate" if isinstance(parent, list):
            parent.extend(copy.deepcopy(value) for _ in range(draw(st.sampled_from([1, 3, 40]))))
        case "swap":
            other = draw(st.sampled_from(list(places(rdf))[1:]))
            found = rdf
            for part in other:
                found = found[part]
            parent[key] = copy.deepcopy(found)
        case "share":
            # the same object twice becomes an alias
            rdf[draw(st.sampled_from(list(rdf) or ["a"]))] = value
        case "empty":
            parent[key] = type(value)() if isinstance(value, dict | list | str) else None
        case "scale" if isinstance(value, int | float) and not isinstance(value, bool):
            parent[key] = draw(st.sampled_from([-value, value * 10**12, value * 0.37, str(value), [value], 0]))


@st.composite
def descriptions(draw, bundles):
    """A bundle's folder, and the bytes of a changed description."""
    folder, rdf = draw(st.sampled_from(bundles))
    rdf = copy.deepcopy(rdf)
    for _ in range(draw(st.integers(0, 5))):
        mutate(rdf, draw)
    content = yaml.dump(rdf, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 3]))):
        content = damage(content, draw)
    return folder, content


def damage(content, draw):
    """Change the text itself."""
    start = draw(st.integers(0, len(content)))
    end = min(len(content), start + draw(st.sampled_from([0, 1, 4, 100])))
    match draw(st.sampled_from(["cut", "replace", "flip", "repeat"])):
        case "cut":
            return content[:start]
        case "replace":
            return content[:start] + draw(st.sampled_from(PIECES)) + content[end:]
        case "flip":
            return (
                content[:start]
                + bytes(byte ^ 1 << draw(st.integers(0, 7)) for byte in content[start:end])
                + content[end:]
            )
        case _:
            return content[:end] + content[start:]


def judged(path):
    """A verdict, whatever there is."""
    started = time.process_time()
    refused, verdicts = "", {}
    try:
        verdicts = check(path).consumers
    except UserError as error:
        refused = str(error)
    if refused:  # a description only where it is a bomb
        assert path.suffix != ".yaml" or "as a bomb has" in refused or "that long" in refused
    else:
        assert set(verdicts) == set(CONSUMERS)
    for verdict in verdicts.values():
        for finding in verdict.findings:
            assert all([finding.where, finding.found, finding.why, finding.remedy])
            assert len(finding.found) < LONGEST_FINDING
    assert time.process_time() - started < LONGEST


def tried(examples):
    """The settings of a test with so many examples."""
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples <= PLAIN,
        suppress_health_check=list(HealthCheck),
    )


def fuzz_descriptions(bundles, examples):
    @tried(examples)
    @given(descriptions(bundles))
    def run(case):
        folder, content = case
        (folder / "rdf.yaml").write_bytes(content)
        judged(folder / "rdf.yaml")

    judged(bundles[0][0])
    run()


def test_changed_descriptions(bundles):
    fuzz_descriptions(bundles, PLAIN)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_changed_descriptions(bundles):
    started = time.perf_counter()
    fuzz_descriptions(bundles, MANY)
    print(f"{MANY} descriptions in {time.perf_counter() - started:.0f} s")


FILES = (
    "weights.onnx",
    "weights.pt",
    "weights.keras",
    "saved_model.zip",
    "saved_model.pb",
    "test_raw.npy",
    "cover.png",
)


@st.composite
def files(draw, folder):
    """The name of a file, and other bytes for it."""
    name = draw(st.sampled_from([*FILES, "README.md"]))
    if name == "saved_model.pb":
        with zipfile.ZipFile(folder / "saved_model.zip") as archive:
            content = archive.read(name)
    else:
        content = (folder / name).read_bytes()
    for _ in range(draw(st.integers(1, 3))):
        content = damage(content, draw)
    return name, content


def fuzz_files(folder, tmp_path, examples):
    @tried(examples)
    @given(files(folder))
    def run(case):
        name, content = case
        copied = tmp_path / "changed"
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(folder, copied)
        if name == "saved_model.pb":
            with zipfile.ZipFile(copied / "saved_model.zip", "w") as archive:
                archive.writestr(name, content)
                archive.writestr("variables/", b"")
        else:
            (copied / name).write_bytes(content)
        judged(copied)

    judged(folder)
    run()


def test_changed_files(tmp_path):
    fuzz_files(clean(tmp_path / "bundle").finish(), tmp_path, PLAIN // 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_changed_files(tmp_path):
    fuzz_files(clean(tmp_path / "bundle").finish(), tmp_path, MANY)


def test_changed_zips(tmp_path):
    """The bundle's own zip."""
    folder = clean(tmp_path / "bundle").finish()
    with zipfile.ZipFile(tmp_path / "clean.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    content = (tmp_path / "clean.zip").read_bytes()

    @settings(
        max_examples=PLAIN // 2, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def run(data):
        changed = content
        # most of a zip is compressed bytes, of which the checksum tells; its directory is at the end
        for _ in range(data.draw(st.integers(1, 3))):
            changed = changed[:-2000] + damage(changed[-2000:], data.draw)
        (tmp_path / "changed.zip").write_bytes(changed)
        judged(tmp_path / "changed.zip")

    judged(tmp_path / "clean.zip")
    run()
