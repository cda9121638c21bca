"""Bundles that were made to harm: each is refused with a sentence or told as a finding, at once, and nothing is run.

Paths that lead out of a zip, links and simple bombs are tried in test_bundle.py.
"""

import io
import os
import pickle
import resource
import struct
import sys
import time
import zipfile
import zlib

import numpy as np
import pytest
import yaml
from corpus import SAVED_MODEL, Network, clean, zipped
from PIL import Image

from bmzpack import check
from bmzpack.bundle.archive import unpacked
from bmzpack.errors import UserError

SECONDS = 10
"""For what takes hours if nobody looks, on a machine that others use too."""


@pytest.fixture(autouse=True)
def at_once():
    started, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - started < SECONDS
    # kilobytes on Linux
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 500_000 or sys.platform != "linux"


def found(path):
    """Rules and what they found."""
    return {(finding.rule, finding.found) for verdict in check(path).consumers.values() for finding in verdict.findings}


def rules(path):
    return {rule for rule, _ in found(path)}


class Harm:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


# YAML

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
YAMLS = {
    "aliases": LAUGHS,
    "merged mappings": "a0: &a0 {x: 1, y: 2}\n"
    + "".join(f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n  k{n}: 1\n" for n in range(1, 20)),
    "alias to itself": "a: &a [*a]",
    "mapping of itself": "a: &a {b: *a}",
    "deep sequences": "a: " + "[" * 50_000,
    "deep sequences, closed": "a: " + "[" * 5_000 + "]" * 5_000,
    "deep mappings": "{a: " * 2_000 + "1" + "}" * 2_000,
    "deep blocks": "".join(f"{' ' * n}a:\n" for n in range(900)),
    "deep by aliases": "a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2_000)),
    "many values": "a: [" + "1," * 400_000 + "1]",
    "many keys": "\n".join(f"k{n}: 1" for n in range(60_000)),
    "many documents": "---\na: 1\n" * 50_000,
    "huge": "a: " + "x" * 2**21,
    "huge integer": "a: " + "9" * 100_000,
    "Python object": "a: !!python/object/apply:os.system ['touch harmed']",
    "unhashable key": "? [a, b]\n: 1",
    "date that is none": "a: 2026-99-99",
    "binary that is none": "a: !!binary é",
}


DAMAGED = {"many documents", *list(YAMLS)[list(YAMLS).index("huge integer") :]}
"""These get a verdict; the others are refused."""


@pytest.mark.parametrize("name", YAMLS)
def test_yaml(name, tmp_path):
    (tmp_path / "rdf.yaml").write_text(YAMLS[name])
    if name in DAMAGED:
        for verdict in check(tmp_path).consumers.values():
            assert [finding.rule for finding in verdict.findings] == ["D1"]
            assert "is no YAML" in verdict.findings[0].found
            assert len(verdict.findings[0].found) < 600
    else:
        with pytest.raises(UserError) as raised:
            check(tmp_path)
        assert "rdf.yaml" in str(raised.value)
        assert len(str(raised.value)) < 600
    assert [path.name for path in tmp_path.iterdir()] == ["rdf.yaml"]


@pytest.mark.parametrize("key", ["inputs", "outputs", "axes", "preprocessing", "covers", "authors", "weights"])
def test_hundreds_of_entries(key, tmp_path):
    bundle = clean(tmp_path / "bundle")
    holder = bundle.rdf["inputs"][0] if key in ("axes", "preprocessing") else bundle.rdf
    if key == "weights":
        bundle.rdf[key] |= {f"onnx{n}": {"source": "weights.onnx"} for n in range(1_000)}
    elif key == "outputs":
        axes = [{"type": "space", "id": "x", "size": {"tensor_id": "o999", "axis_id": "x"}}]
        bundle.rdf[key] = [{"id": f"o{n}", "axes": axes} for n in range(1_000)]
    else:
        holder[key] = holder[key] * 500
    told = rules(bundle.finish())
    assert told == {"D1"} or key in ("covers", "authors")


def test_huge_numbers(tmp_path):
    bundle = clean(tmp_path / "bundle")
    for name in "yx":
        bundle.axis("inputs", name)["size"] = {"min": 2**49, "step": 2**49}
        bundle.axis("outputs", name)["halo"] = 2**48
    assert "T4" in rules(bundle.finish())


def test_scales_whose_quotient_is_no_number(tmp_path):
    bundle = clean(tmp_path / "bundle")
    bundle.axis("inputs", "y")["scale"] = 1e14
    bundle.axis("outputs", "y")["scale"] = 5e-324
    assert {"T4", "T9"} <= rules(bundle.finish())


# paths


@pytest.mark.parametrize(
    "source",
    ["../secret", "/etc/passwd", "a/../../secret", "..", ".", "", "\0", "x" * 5000, "file:///etc/passwd", "~/secret"],
)
@pytest.mark.parametrize("place", ["weights", "tensor", "cover", "documentation"])
def test_sources_outside(source, place, tmp_path):
    (tmp_path / "secret").write_text("# Validation")
    bundle = clean(tmp_path / "bundle")
    match place:
        case "weights":
            bundle.rdf["weights"]["onnx"] |= {"source": source, "sha256": "0" * 64}
        case "tensor":
            bundle.rdf["inputs"][0]["test_tensor"] |= {"source": source, "sha256": "0" * 64}
        case "cover":
            bundle.rdf["covers"] = [source]
        case "documentation":
            bundle.rdf["documentation"] = source
    told = found(bundle.finish())
    assert told
    assert not any("root:" in what or "checksum" in what for _, what in told)


def test_links_in_a_folder(tmp_path):
    (tmp_path / "secret").write_text("secret")
    folder = clean(tmp_path / "bundle").finish()
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="link that leads out"):
        check(folder)
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("README.md")
    assert rules(folder) == {"F2"}
    (folder / "README.md").unlink()
    (folder / "README.md").write_text("# Validation")
    (folder / "docs").mkdir()
    (folder / "docs" / "cover.png").symlink_to(tmp_path / "secret")
    description = yaml.safe_load((folder / "rdf.yaml").read_text()) | {"covers": ["docs/cover.png"]}
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description))
    assert rules(folder) == {"F2"}
    (tmp_path / "linked").symlink_to(folder)
    assert rules(tmp_path / "linked") == {"F2"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_pipes(tmp_path):
    """Whoever reads one waits forever."""
    folder = clean(tmp_path / "bundle").finish()
    (folder / "cover.png").unlink()
    os.mkfifo(folder / "cover.png")
    assert rules(folder) == {"F2"}
    (folder / "rdf.yaml").unlink()
    os.mkfifo(folder / "rdf.yaml")
    for path in (folder, folder / "rdf.yaml"):
        with pytest.raises(UserError):
            check(path)


def test_no_such_file(tmp_path):
    clean(tmp_path).finish()
    for name in ("other.yaml", "other.zip", "other"):
        with pytest.raises(UserError, match=name):
            check(tmp_path / name)


# zips


def bundle_zip(tmp_path, compression=zipfile.ZIP_DEFLATED, **files):
    folder = clean(tmp_path / "bundle").finish()
    path = tmp_path / "bundle.zip"
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def refused(path, match):
    with pytest.raises(UserError, match=match):
        check(path)
    with pytest.raises(UserError, match=match), unpacked(path):
        pass
    assert {entry.name for entry in path.parent.iterdir()} <= {"bundle", path.name}


def test_encrypted(tmp_path):
    path = bundle_zip(tmp_path)
    content = bytearray(path.read_bytes())
    for start, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(start) + flags] |= 1
    path.write_bytes(content)
    refused(path, "is encrypted")


def test_two_files_of_a_name(tmp_path):
    path = bundle_zip(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("rdf.yaml", "type: model")
    refused(path, "two files of the same name")


def test_a_file_that_is_a_folder_too(tmp_path):
    refused(bundle_zip(tmp_path, **{"README.md/inside": "text"}), "a file and a folder")


def test_names_that_no_system_takes(tmp_path):
    refused(bundle_zip(tmp_path, **{"x" * 300: "text"}), "cannot be unpacked")


def test_other_compression(tmp_path):
    refused(bundle_zip(tmp_path, zipfile.ZIP_LZMA), "few programs know")


def test_files_that_share_their_bytes(tmp_path):
    """As in the zip bomb that overlaps: every entry by itself is harmless."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    noise = np.random.default_rng(0).integers(0, 2, 2**16, np.uint8).tobytes()
    packed = packer.compress(noise) + packer.flush()
    checksum = zlib.crc32(noise)
    start = (
        struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 33, checksum, len(packed), len(noise), 1, 0) + b"a" + packed
    )
    directory = b""
    for n in range(500):
        name = f"{n:03}".encode()
        entry = (b"PK\1\2", 20, 20, 0, 8, 0, 33, checksum, len(packed), len(noise), len(name), 0, 0, 0, 0, 0, 0)
        directory += struct.pack("<4s6H3I5H2I", *entry) + name
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 500, 500, len(directory), len(start), 0)
    path = tmp_path / "bundle.zip"
    path.write_bytes(start + directory + end)
    refused(path, "share their bytes")


def test_size_that_is_not_true(tmp_path):
    path = bundle_zip(tmp_path, bomb=b"\0" * 1_000_000)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"bomb") - 46
    content[place + 24 : place + 28] = struct.pack("<I", 10)
    path.write_bytes(content)
    refused(path, "damaged")


def nested(depth):
    content = b"\0" * 2**20
    for _ in range(depth):
        content = zipped({"inner.zip": content})
    return content


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("saved_model.zip", nested(8), "W1"),
        ("saved_model.zip", zipped({"saved_model.pb": b"\0" * 2**28, "variables/": b""}), "W1"),
        ("saved_model.zip", zipped({"../../saved_model.pb": b"", "variables/": b""}), "W1"),
        ("weights.pt", zipped({"mean/code/a.py": b"\0" * 2**28}), "W4"),
        ("weights.pt", zipped({f"mean/code/{n}.py": b"" for n in range(2_000)}), "W4"),
    ],
    ids=["nested", "bomb", "slip", "bomb in TorchScript", "many files"],
)
def test_zips_in_the_bundle(name, content, rule, tmp_path):
    bundle = clean(tmp_path / "bundle")
    bundle.write(name, content)
    assert rules(bundle.finish()) == {rule}
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


# weights and tensors


def test_nothing_is_run(tmp_path):
    harm = Harm(tmp_path / "harmed")
    bundle = clean(tmp_path / "bundle")
    bundle.write("weights.pt", zipped({"mean/data.pkl": pickle.dumps(harm), "mean/code/a.py": b""}))
    bundle.write("weights.keras", zipped({"config.json": b'{"class_name": "Lambda", "config": {"function": "x"}}'}))
    np.save(bundle.file("test_raw.npy"), np.array([harm], object), allow_pickle=True)
    bundle.write("weights.onnx", pickle.dumps(harm))
    assert rules(bundle.finish()) == {"T4", "W3"}
    assert not harm.path.exists()


def npy(header, version=1):
    text = header.encode().ljust(118) + b"\n"
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + b"\0" * 64


ARRAYS = {
    "terabytes": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1000000, 1000000, 2)}"),
    "more than there are addresses": npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**30},)}}"),
    "negative": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, -64, 64, 2)}"),
    "many axes": npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 30}}}"),
    "no numbers": npy("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1, 2, 2, 2)}"),
    "structured": npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1, 2, 2, 2)}"),
    "wide": npy("{'descr': '|S4000000000', 'fortran_order': False, 'shape': (1, 2, 2, 2)}"),
    "no header": npy("__import__('os').system('touch harmed')"),
    "header of gigabytes": b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b" " * 100,
    "unknown version": npy("{}", version=9),
    "archive": zipped({"array.npy": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}")}),
    "empty": b"",
    "no values": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 0, 64, 2)}"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name, tmp_path):
    bundle = clean(tmp_path / "bundle")
    bundle.write("test_raw.npy", ARRAYS[name])
    assert rules(bundle.finish()) == {"T4"}


def test_readme_of_a_million_signs(tmp_path):
    bundle = clean(tmp_path / "bundle")
    bundle.write("README.md", b"#" * 1_000_000)
    started = time.process_time()
    assert any("no section Validation" in text for _, text in found(bundle.finish()))
    assert time.process_time() - started < 2


@pytest.mark.parametrize("shape", [(10_000_000, 1, 1, 1), (1, 1000, 1_000_000, 1)])
def test_array_of_many_values(shape, tmp_path):
    """It is looked at in large pieces, whatever its shape is, and not to its end."""
    bundle = clean(tmp_path / "bundle")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f2", "fortran_order": False, "shape": shape})
    with bundle.file("test_raw.npy").open("wb") as file:
        file.write(header.getvalue())
        file.truncate(len(header.getvalue()) + 2 * int(np.prod(shape)))
    del bundle.rdf["inputs"][0]["test_tensor"]["sha256"]
    started = time.process_time()
    assert "T4" in rules(bundle.finish())
    assert time.process_time() - started < 2


@pytest.mark.parametrize("limit", [Image.MAX_IMAGE_PIXELS, None])
def test_picture_of_billions_of_pixels(tmp_path, recwarn, monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    bundle = clean(tmp_path / "bundle")
    picture = io.BytesIO()
    Image.new("1", (15_000, 7_500)).save(picture, "png")
    bundle.write("cover.png", picture.getvalue())
    bundle.write("sample.png", picture.getvalue())
    bundle.rdf["inputs"][0]["sample_tensor"] = {"source": "sample.png", "sha256": None}
    assert rules(bundle.finish()) == set()
    header = bytearray(picture.getvalue())
    header[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    header[29:33] = struct.pack(">I", zlib.crc32(header[12:29]))
    bundle = clean(tmp_path / "other")
    bundle.write("cover.png", bytes(header))
    assert rules(bundle.finish()) == {"R12"}
    assert not [warning for warning in recwarn if "Decompression" in str(warning.category)]


def varint(value):
    content = b""
    while value > 127:
        content += bytes([value & 127 | 128])
        value >>= 7
    return content + bytes([value])


def part(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


START = b"\x08\x08" + part(8, b"\x10\x0f")
GRAPHS = {
    "millions of nodes": START + part(7, part(1, b"") * 5_000_000),
    "millions of axes": START + part(7, part(11, part(2, part(1, part(2, part(1, b"") * 5_000_000))))),
    "name without end": START + part(7, part(11, part(1, b"x" * 20_000_000))),
    "window without end": START + part(7, part(1, part(5, part(1, b"kernel_shape") + part(8, b"\1" * 20_000_000)))),
    "number without end": START + b"\x08" + b"\xff" * 10_000_000,
    "size of exabytes": START + b"\x3a" + b"\xff" * 8 + b"\x7f" + b"x",
    "groups": b"\x0b" * 1_000_000,
}


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs(name, tmp_path):
    bundle = clean(tmp_path / "bundle")
    bundle.write("weights.onnx", GRAPHS[name])
    assert rules(bundle.finish()) == {"W3"}


def test_saved_model_of_millions_of_nodes(tmp_path):
    bundle = clean(tmp_path / "bundle")
    graph = part(2, part(1, part(4, b"serve")) + part(2, part(1, b"") * 3_000_000))
    with zipfile.ZipFile(bundle.file("saved_model.zip"), "w") as archive:
        archive.writestr("saved_model.pb", graph)
        archive.writestr("variables/", b"")
    assert rules(bundle.finish()) == {"W1"}


@pytest.mark.parametrize(
    "config", [b"[" * 100_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b"9" * 10_000, b"\xff", b"null"]
)
def test_keras_files(config, tmp_path):
    bundle = clean(tmp_path / "bundle")
    bundle.only("keras_v3", SAVED_MODEL, "torchscript")
    bundle.write("weights.keras", zipped({"config.json": config}))
    bundle.write("saved_model.zip", zipped({"saved_model.pb": Network().as_saved_model(), "variables/": b""}))
    assert rules(bundle.finish()) == set()
