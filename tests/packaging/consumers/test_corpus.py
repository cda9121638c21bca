"""Every rule of every consumer finds what it is meant for, and nothing else: neither in clean bundles nor in others."""

import re
import subprocess
import sys
import zipfile
from importlib import metadata

import numpy as np
import pytest
from cases import CASES, pretend
from corpus import BASES, CLEAN, OTHER_BASES, clean

from bmzpack import check
from bmzpack.consumers.findings import Severity
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.describe import rdf

RULES = {
    (key, rule.id): rule
    for key, consumer in CONSUMERS.items()
    for rule in [*consumer.rules, *([consumer.specification] if consumer.specification else [])]
}


@pytest.mark.parametrize("name", BASES)
def test_clean_bundles_give_no_finding(name, tmp_path):
    report = check(BASES[name](tmp_path / "bundle").finish())
    assert {consumer: verdict.findings for consumer, verdict in report.consumers.items()} == {
        consumer: [] for consumer in CONSUMERS
    }


@pytest.mark.parametrize("name", CASES)
def test_broken_in_one_way(name, tmp_path, monkeypatch):
    case = CASES[name]
    bundle = (BASES | OTHER_BASES)[case.base](tmp_path / "bundle")
    case.break_(bundle)
    if case.pydantic:
        monkeypatch.setattr(metadata, "version", pretend(case.pydantic))
    report = check(bundle.finish())
    found = [finding for verdict in report.consumers.values() for finding in verdict.findings]
    assert {finding.rule for finding in found} == {case.rule, *case.also}, found
    assert {name: verdict.verdict for name, verdict in report.consumers.items()} == dict.fromkeys(
        CONSUMERS, "opens"
    ) | case.minds
    assert {name for name, verdict in report.consumers.items() if verdict.findings} == set(case.minds)
    assert any(case.says in finding.found for finding in found), found
    for finding in found:
        assert all([finding.where, finding.found, finding.why, finding.remedy, finding.title]), finding
        assert finding.found.endswith("."), finding


@pytest.mark.parametrize(("consumer", "rule"), RULES)
def test_no_rule_without_a_case(consumer, rule):
    cases = [case for case in CASES.values() if rule in (case.rule, *case.also) and consumer in case.minds]
    assert cases, f"{rule} of {consumer} finds nothing in the corpus"
    worst = RULES[consumer, rule].severity
    verdict = {Severity.ADVICE: "opens", Severity.DEGRADED: "degraded"}.get(worst, "fails")
    assert verdict in {case.minds[consumer] for case in cases}, f"{rule} of {consumer} never matters as it says"


def test_as_a_zip(tmp_path):
    folder = clean(tmp_path / "bundle").finish()
    for name, place, verdict in (("clean.zip", "", "opens"), ("folder.zip", "mean/", "fails")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for path in folder.iterdir():
                archive.write(path, f"{place}{path.name}")
        report = check(tmp_path / name)
        assert {entry.verdict for entry in report.consumers.values()} == {verdict}
        found = {finding.rule for entry in report.consumers.values() for finding in entry.findings}
        assert found == ({"F1"} if place else set())


def test_the_clean_bundle_is_what_it_says(tmp_path):
    """bioimageio.spec takes it with its files; ONNX Runtime and TensorFlow give its test output."""
    folder = clean(tmp_path / "bundle").finish()
    rdf.check(folder)
    with zipfile.ZipFile(folder / "saved_model.zip") as archive:
        archive.extractall(tmp_path / "saved_model")
    expected = np.load(folder / "test_probability.npy")
    for engine, path in ((ONNX, folder / "weights.onnx"), (TENSORFLOW, tmp_path / "saved_model")):
        result = subprocess.run(
            [sys.executable, "-c", engine, folder / "test_raw.npy", path, tmp_path / "out.npy"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr[-2000:]
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


START = """
import sys, numpy
raw = numpy.load(sys.argv[1])
raw = ((raw - raw.mean(dtype=float)) / (raw.std(dtype=float) + 1e-6)).astype("float32")
"""
ONNX = f"""{START}
import onnxruntime
[found] = onnxruntime.InferenceSession(sys.argv[2]).run(["probability"], {{"raw": raw}})
numpy.save(sys.argv[3], found)
"""
TENSORFLOW = f"""{START}
import tensorflow.compat.v1 as tf
with tf.Session(graph=tf.Graph()) as session:
    signature = tf.saved_model.loader.load(session, ["serve"], sys.argv[2]).signature_def["serving_default"]
    numpy.save(sys.argv[3], session.run(signature.outputs["probability"].name, {{signature.inputs["raw"].name: raw}}))
"""


def by_plane(raw):
    return (raw - raw.mean((1, 2), keepdims=True)) / (raw.std((1, 2), keepdims=True) + 1e-6)


def once_for_every_plane(raw):
    """JDLL: the whole is standardised by each plane, one after the other."""
    for channel in range(raw.shape[-1]):
        raw = (raw - raw[..., channel].mean()) / (raw[..., channel].std() + 1e-6)
    return raw


def scaled(raw, floor):
    if floor:
        low, high = (np.sort(raw, None)[int(raw.size * share)] for share in (0.01, 0.998))
    else:
        low, high = np.percentile(raw, [1.0, 99.8])
    return (raw - low) / (high - low + 1e-6)


ERRORS = {
    "standardised_by_plane": (by_plane, once_for_every_plane),
    "percentiles": (lambda raw: scaled(raw, floor=False), lambda raw: scaled(raw, floor=True)),
    "gains_by_channel": (lambda raw: raw * [0.1, 0.2] + [0.0, 1.0], lambda raw: raw * 0.1),
    "fixed_mean": (lambda raw: (raw - 40) / (28 + 1e-6), lambda raw: raw),
    "cast_to_bytes": (lambda raw: raw.astype(np.uint8).astype(float), lambda raw: raw),
}
"""What the specification means, and what the program does, by the case's name."""


@pytest.mark.parametrize("name", ERRORS)
def test_the_error_of_an_operation(name, tmp_path):
    """It is told in numbers, of the bundle's own test image."""
    bundle = clean(tmp_path / "bundle")
    raw = np.load(bundle.file("test_raw.npy"))
    CASES[name].break_(bundle)
    report = check(bundle.finish(), consumers=["qupath" if name == "fixed_mean" else "fiji"])
    [finding] = [finding for verdict in report.consumers.values() for finding in verdict.findings]
    right, wrong = (np.asarray(function(raw.astype(float))) for function in ERRORS[name])
    error = np.abs(right - wrong).max() / np.ptp(right)
    told = re.search(r"off by up to (\S+) (of|than) its range", finding.found)
    assert told, finding.found
    assert error > 1 if told[1] == "more" else float(told[1]) == pytest.approx(error, rel=0.06)


def test_the_corpus_is_large_enough():
    assert len(CASES) >= 60
    assert CLEAN["format_version"] == "0.5.10"


def test_what_makes_no_difference_is_no_finding(tmp_path):
    """Lists of one number for all channels, the ends of the range as percentiles, checksums of files that compute
    nothing."""
    bundle = clean(tmp_path / "gains")
    bundle.preprocess("scale_linear", axis="channel", gain=[0.1, 0.1], offset=[1.0, 1.0])
    assert not check(bundle.finish(), consumers=["fiji"]).consumers["fiji"].findings
    bundle = clean(tmp_path / "range")
    bundle.preprocess("scale_range", axes=["channel", "y", "x"])
    assert not check(bundle.finish(), consumers=["fiji"]).consumers["fiji"].findings
    bundle = clean(tmp_path / "notes")
    bundle.write("notes.txt", b"seen")
    bundle.rdf["attachments"] = [{"source": "notes.txt", "sha256": "0" * 64}]
    verdicts = check(bundle.finish()).consumers
    assert not verdicts["fiji"].findings
    assert [finding.rule for finding in verdicts["core"].findings] == ["F3"]
