"""A new consumer is one file and one line: nothing else names consumers."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest
import yaml
from corpus import Bundle, clean
from rich.console import Console

import bmzpack
from bmzpack.bundle.contents import Contents
from bmzpack.consumers import explain, page, terminal
from bmzpack.consumers.conditions import metadata, processing, weights_files
from bmzpack.consumers.consumer import Consumer
from bmzpack.consumers.findings import Report, Severity
from bmzpack.consumers.registry import CONSUMERS, program_names
from bmzpack.consumers.rules import Rule, link_rule
from bmzpack.engines.rows import CORE, ONNX
from bmzpack.errors import UserError
from bmzpack.publish.upload import upload
from bmzpack.repairs.repair import repair, show
from bmzpack.testing import run

LINK = "toys/toy"
TOY = Consumer(
    key="toy",
    name="Toy Viewer (beta)",
    short_name="Toy Viewer",
    versions={"Toy Viewer": "0.1"},
    order=("onnx",),
    engines={"onnx": (ONNX,)},
    rules=[
        Rule(
            "N1", Severity.CANNOT_OPEN, "It runs ONNX only.", weights_files.no_weights_of(["onnx"]), "Add ONNX weights."
        ),
        link_rule(LINK),
        Rule(
            "P10",
            Severity.WRONG_RESULT,
            "It has no sigmoid.",
            processing.only("sigmoid", processing.skipped(())),
            "Leave it out.",
        ),
        Rule(
            "TOY1",
            Severity.DEGRADED,
            "It shows old formats in grey.",
            metadata.format_version_other_than("0.5"),
            remedy="Wait for its next version.",
            title="format_version is new enough for colours",
            example="format_version: 0.5.10",
        ),
    ],
    link=LINK,
    tags=("toy",),
    opening="Drop `{name}` on the Toy Viewer.",
)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """The one line."""
    monkeypatch.setitem(CONSUMERS, TOY.key, TOY)


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    bundle = clean(tmp_path / "bundle")
    bundle.only("onnx")
    bundle.rdf["format_version"] = "0.4.10"
    return bundle


def texts(report: Report) -> tuple[str, str, dict]:
    """A report on the page, in the terminal, and as JSON."""
    file = io.StringIO()
    terminal.show(report, Console(file=file, width=250))
    return page.render(report), file.getvalue(), json.loads(json.dumps(report.as_dict()))


def test_check(bundle):
    report = bmzpack.check(bundle.finish())
    assert list(report.consumers) == ["fiji", "ilastik", "qupath", "core", "toy"]
    on_page, in_terminal, in_json = texts(report)
    for text in (on_page, in_terminal):
        assert "Toy Viewer opens it, with limits: The format is &#x27;0.4.10&#x27;." in text.replace("'", "&#x27;")
        assert "Toy Viewer (beta)" in text
        assert "format_version is new enough for colours" in text
    assert in_json["consumers"]["toy"]["verdict"] == "degraded"
    assert {finding["rule"] for finding in in_json["consumers"]["toy"]["findings"]} == {"TOY1", "R9"}


def test_its_own_rule_is_listed_and_explained():
    assert "TOY1 format_version is new enough for colours" in explain.overview()
    assert "rules    N1 P10 R9 TOY1" in explain.overview()
    text = explain.explain("toy1")
    assert text.startswith("TOY1: format_version is new enough for colours")
    for line in (
        "Toy Viewer (beta) (Toy Viewer 0.1): degraded",
        "Wait for its next version.",
        "  format_version: 0.5.10",
    ):
        assert line in text


def test_operation_that_it_leaves_out(tmp_path):
    """The bundle's test image tells what that changes."""
    bundle = clean(tmp_path / "bundle")
    bundle.only("onnx")
    bundle.rdf["inputs"][0]["preprocessing"] = [{"id": "sigmoid"}]
    consumers = bmzpack.check(bundle.finish()).consumers
    assert consumers["qupath"].verdict == "opens"
    finding = consumers["toy"].findings[0]
    assert (finding.rule, finding.severity) == ("P10", "wrong result")
    assert finding.found.startswith("The operation sigmoid is left out: on the test image the result is off by")


def test_only_the_new_one(bundle):
    assert list(bmzpack.check(bundle.finish(), consumers=["toy"]).consumers) == ["toy"]
    with pytest.raises(UserError, match="fiji, ilastik, qupath, core, toy"):
        bmzpack.check(bundle.finish(), consumers=["toys"])


def test_check_that_runs(tmp_path, monkeypatch):
    """The engine that stands for it speaks for it."""
    bundle = clean(tmp_path / "bundle")
    bundle.only("onnx")
    np.save(bundle.file("test_probability.npy"), np.load(bundle.file("test_probability.npy")) + 1)
    monkeypatch.setattr(run, "ROWS", [CORE, ONNX])
    report = bmzpack.check(bundle.finish(), run=True)
    on_page, in_terminal, in_json = texts(report)
    assert [finding.rule for finding in report.consumers["toy"].findings] == ["E1", "R9"]
    assert in_json["consumers"]["toy"]["verdict"] == "fails"
    assert in_json["run"]["engines"][ONNX]["onnx"]["status"] == "failed"
    for text in (on_page, in_terminal):
        assert "Toy Viewer opens this model, but would compute wrong results" in text


@pytest.mark.slow
def test_bundle(tmp_path, monkeypatch):
    """README.md, links and tags of what is packed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    raw = keras.Input((None, None, 1), name="raw")
    model = keras.Model(raw, keras.layers.Conv2D(2, 3, padding="same", name="classes")(raw))
    image = np.random.default_rng(0).gamma(2, 20, (64, 64)).astype(np.float32)
    content = {"name": "Small network", "licence": "CC-BY-4.0", "inputs": [{"test_image": image}]}
    for formats, opens in ((["keras_v3", "onnx"], True), (["keras_v3"], False)):
        packed = bmzpack.pack(model, content, tmp_path / "small.zip", formats=formats, overwrite=True)
        with zipfile.ZipFile(packed.path) as archive:
            rdf, readme = yaml.safe_load(archive.read("rdf.yaml")), archive.read("README.md").decode()
        assert (LINK in rdf.get("links", [])) == ("toy" in rdf["tags"]) == (TOY.name in packed.programs) == opens
        assert ("**Toy Viewer (beta).** Drop `Small network` on the Toy Viewer." in readme) == opens
        assert ("**Toy Viewer (beta)** cannot run this model." in readme) != opens
    with pytest.raises(UserError, match=r"none of Fiji, ilastik, QuPath and Toy Viewer can use it"):
        upload(packed.path, dry_run=True)
    assert program_names() == "Fiji, ilastik, QuPath and Toy Viewer"


def test_repair(tmp_path):
    """Its link is added where it opens the bundle, and its verdict is shown."""
    bundle = clean(tmp_path / "bundle")
    bundle.only("onnx")
    repaired = repair(bundle.finish(), tmp_path / "out.zip")
    assert "R9" in {change.rule for change in repaired.changes}
    file = io.StringIO()
    show(repaired, Console(file=file, width=250))
    assert "Toy Viewer (beta): opens" in file.getvalue()
    assert LINK in Contents(tmp_path, _description(repaired.path, tmp_path)).rdf["links"]


def _description(path, folder):
    with zipfile.ZipFile(path) as archive:
        archive.extract("rdf.yaml", folder)
    return folder / "rdf.yaml"


@pytest.mark.parametrize("consumer", [*CONSUMERS.values()], ids=[*CONSUMERS])
def test_what_every_consumer_says(consumer):
    """The versions that its rules were seen on, engines for formats that it runs, and how it is opened, if it is."""
    assert consumer.versions
    assert all(consumer.versions.values())
    assert callable(consumer.order) or set(consumer.engines) <= set(consumer.order)
    assert bool(consumer.link) == bool(consumer.opening) == bool(consumer.tags)
