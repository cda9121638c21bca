"""Other versions of programs: what each refuses that the newest takes, and that verdicts say so."""

import pytest
from corpus import clean

from bmzpack import check
from bmzpack.consumers import summary
from bmzpack.consumers.findings import Severity
from bmzpack.consumers.registry import CONSUMERS

SPEC_0_5_9 = {"bioimageio.core 0.10.2", "ilastik"}
SPEC_0_5_5 = {"bioimageio.core 0.9.1"}
SPEC_0_5_4 = {"bioimageio.core 0.8.0", "ilastik 1.4.1.post1"}
OLDEST, OLD, ALL = SPEC_0_5_4, SPEC_0_5_4 | SPEC_0_5_5, SPEC_0_5_4 | SPEC_0_5_5 | SPEC_0_5_9


def keras_file(bundle):
    bundle.write("weights.keras", b"")
    bundle.rdf["weights"]["keras_v3"] = {"source": "weights.keras", "sha256": None, "keras_version": "3.15.1"}
    bundle.rdf["weights"]["keras_v3"] |= {"backend": ["tensorflow", "2.21.0"], "parent": "onnx"}


def odd_halo(bundle):
    for name in "yx":
        bundle.axis("outputs", name)["halo"] = 3


def clip_without_max(bundle):
    bundle.preprocess("clip", min=0.0)


def softmax(bundle):
    bundle.rdf["outputs"][0]["postprocessing"] = [{"id": "softmax", "kwargs": {"axis": "channel"}}]


def labels_of_cellpose(bundle):
    kwargs = {"cellprob_threshold": 0.0, "flow_threshold": 0.4, "do_3D": False}
    bundle.rdf["outputs"][0]["postprocessing"] = [{"id": "cellpose_flow_dynamics", "kwargs": kwargs}]


def labels_of_stardist(bundle):
    kwargs = {"prob_threshold": 0.5, "nms_threshold": 0.4, "n_rays": 1, "b": 0, "grid": [1, 1]}
    bundle.rdf["outputs"][0]["postprocessing"] = [{"id": "stardist_postprocessing", "kwargs": kwargs}]


def channel_of_two_words(bundle):
    bundle.axis("inputs", "channel")["channel_names"] = ["cell nuclei", "membranes"]


def nobody_to_cite(bundle):
    del bundle.rdf["cite"]


CHANGES = {
    keras_file: OLD,
    odd_halo: OLD,
    clip_without_max: OLD,
    softmax: OLDEST,
    labels_of_cellpose: ALL,
    labels_of_stardist: ALL,
    channel_of_two_words: ALL,
    nobody_to_cite: OLDEST,
}


def made(folder):
    """A clean bundle that every version takes."""
    bundle = clean(folder)
    bundle.only("onnx", "torchscript")
    for name in "yx":
        bundle.axis("outputs", name)["halo"] = 2
    return bundle


def refusing(folder):
    """Versions of ilastik and bioimageio.core that refuse a bundle."""
    found = set()
    for key, verdict in check(folder, consumers=["ilastik", "core"]).consumers.items():
        for name, release in {key: verdict, **verdict.releases}.items():
            if any(finding.severity is Severity.CANNOT_OPEN for finding in release.findings):
                found.add(name)
    return found


def test_a_bundle_that_every_version_takes(tmp_path):
    assert not refusing(made(tmp_path / "bundle").finish())


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_older_versions_refuse(change, tmp_path):
    bundle = made(tmp_path / "bundle")
    change(bundle)
    assert refusing(bundle.finish()) == CHANGES[change]


def test_what_is_said_of_other_versions(tmp_path):
    bundle = made(tmp_path / "bundle")
    keras_file(bundle)
    report = check(bundle.finish())
    by_name = {program.name: program.conditions for program in summary.summarise(report).programs}
    assert "ilastik 1.4.1.post1 cannot use it: There are weights keras_v3." in by_name["ilastik"]
    assert "bioimageio.core 0.9.1 cannot use it" in by_name["Python (bioimageio.core)"]
    assert "0.10.2 cannot" not in by_name["Python (bioimageio.core)"]
    # images of integers, in the newest JDLL
    assert "JDLL 98d3be2 cannot use it" in by_name["Fiji (deepImageJ)"]
    written = report.as_dict()["consumers"]["core"]["releases"]["bioimageio.core 0.8.0"]
    assert (written["verdict"], written["versions"]["bioimageio.spec"]) == ("fails", "0.5.4.1")


def test_every_release_names_its_versions():
    for consumer in CONSUMERS.values():
        for release in consumer.releases:
            assert release.versions
            assert release.rules
