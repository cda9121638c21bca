"""Repair of the check's corpus: what can be mended is clean afterwards, and nothing becomes worse."""

import contextlib
import json
import shutil
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from cases import CASES
from corpus import BASES, CLEAN, OTHER_BASES, SAVED_MODEL, clean, old, zipped
from endless import counting_for_ever
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto, helper
from test_fuzz import bundles as bundles
from test_fuzz import descriptions

from bmzpack import check, engines
from bmzpack.bundle.archive import unpacked
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.repairs import weights_conversion
from bmzpack.repairs.opset import lowered
from bmzpack.repairs.repair import repair
from running import run

MENDED = {
    "axes": "channels_without_names",
    "description": "form_of_the_newest_format plain_texts_in_the_newest_format no_nickname config_of_another_program "
    "description_of_another_name description_called_model version_is_a_number version_of_two_numbers "
    "no_link_to_deepimagej no_link_to_ilastik no_link_to_qupath tags_in_the_place_of_links inputs_are_a_mapping "
    "two_originals parent_that_is_not_there no_original",
    "files": "files_in_a_folder no_keras_file no_saved_model_file file_of_an_absolute_path",
    "weights": "onnx_is_none onnx_is_none_and_fiji_takes_it onnx_of_a_new_opset onnx_of_a_new_ir onnx_with_other_names "
    "onnx_of_a_new_opset_beside_a_saved_model",
    "stardist": "stardist_by_name_and_config",
    "scales": "pixel_size_as_scale",
    "sizes": "smallest_size_between_steps halo_that_eats_the_tile halo_of_half_the_smallest_output",
    "samples": "sample_of_other_values sample_of_another_size",
    "processing": "fixed_mean gain_as_a_number operation_without_kwargs range_without_its_end",
}
CLEAN_AFTERWARDS = {name for names in MENDED.values() for name in names.split()}
SLOW = {name for name in CASES if name.startswith("saved_model_")}
"""TensorFlow is imported twice."""
ORDER = ["opens", "degraded", "fails"]


def verdicts(report):
    return {name: verdict.verdict for name, verdict in report.consumers.items()}


def test_names_of_cases():
    assert set(CASES) >= CLEAN_AFTERWARDS


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in CASES
        if not CASES[name].pydantic
    ],
)
def test_broken_in_one_way(name, tmp_path):
    case = CASES[name]
    bundle = (BASES | OTHER_BASES)[case.base](tmp_path / "bundle")
    case.break_(bundle)
    repaired = repair(bundle.finish(), tmp_path / "new.zip")
    before, after = verdicts(repaired.before), verdicts(repaired.after)
    assert all(ORDER.index(after[consumer]) <= ORDER.index(before[consumer]) for consumer in CONSUMERS)
    remaining = [finding for verdict in repaired.after.consumers.values() for finding in verdict.findings]
    if name in CLEAN_AFTERWARDS | SLOW:
        assert not remaining
        assert verdicts(check(tmp_path / "new.zip")) == after
        # what was mended needs no mending
        assert not repair(tmp_path / "new.zip", tmp_path / "again.zip").changes
    for change in (*repaired.changes, *repaired.unmended):
        assert str(tmp_path.parents[2]) not in change.what
        assert change.what.endswith(".")
    if not repaired.changes:
        assert not (tmp_path / "new.zip").exists()


def test_checksums_decide(tmp_path):
    """A wrong file is neither run nor written anew, even where it could be mended."""
    bundle = clean(tmp_path / "bundle")
    bundle.network(opset=18)
    bundle.finish()
    content = bytearray((tmp_path / "bundle" / "weights.onnx").read_bytes())
    content[-1] ^= 1
    (tmp_path / "bundle" / "weights.onnx").write_bytes(content)
    repaired = repair(tmp_path / "bundle", tmp_path / "new.zip")
    assert not repaired.changes
    assert [(change.rule, change.where) for change in repaired.unmended] == [("F3", "weights.onnx")]


@pytest.mark.parametrize("name", BASES)
def test_clean_bundles_need_nothing(name, tmp_path):
    repaired = repair(BASES[name](tmp_path / "bundle").finish(), tmp_path / "new.zip")
    assert (repaired.path, repaired.changes, repaired.unmended) == (None, [], [])


def test_format_0_4_is_upgraded_where_it_has_to_be(tmp_path):
    bundle = old(tmp_path / "bundle")
    bundle.network(opset=18)
    bundle.only("onnx", "torchscript")
    repaired = repair(bundle.finish(), tmp_path / "new.zip")
    assert [change.rule for change in repaired.changes] == ["D2", "W3"]
    assert not [finding for verdict in repaired.after.consumers.values() for finding in verdict.findings]
    with unpacked(tmp_path / "new.zip") as folder:
        rdf = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert (rdf["format_version"], rdf["documentation"], rdf["covers"]) == ("0.5.10", "README.md", ["cover.png"])
    assert [operation["id"] for operation in rdf["inputs"][0]["preprocessing"]][-2:] == [
        "zero_mean_unit_variance",
        "ensure_dtype",
    ]
    assert [axis.get("halo") for axis in rdf["outputs"][0]["axes"]] == [None, 1, 1, None]


def with_scales(folder, of_input, of_output, unit="micrometer", **changes):
    """The clean bundle with pixel sizes."""
    bundle = clean(folder)
    for place, scale in (("inputs", of_input), ("outputs", of_output)):
        for name in "yx":
            bundle.axis(place, name).update({"scale": scale, "unit": unit} | changes.get(name, {}))
    return bundle


def test_pixel_sizes_are_kept(tmp_path):
    repaired = repair(with_scales(tmp_path / "bundle", 0.25, 0.25).finish(), tmp_path / "new.zip")
    assert [change.rule for change in repaired.changes] == ["T9", "T9"]
    with unpacked(tmp_path / "new.zip") as folder:
        rdf = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert [tensor["axes"] for tensor in (*rdf["inputs"], *rdf["outputs"])] == [
        tensor["axes"] for tensor in (*CLEAN["inputs"], *CLEAN["outputs"])
    ]
    assert rdf["config"]["bmzpack"] == {"pixel_size": {"y": 0.25, "x": 0.25, "unit": "micrometer"}}


def test_outputs_of_half_the_size_are_read_by_fiji(tmp_path):
    bundle = with_scales(tmp_path / "bundle", 0.65, 1.3)
    bundle.array("test_probability.npy", np.load(bundle.file("test_probability.npy"))[:, ::2, ::2])
    repaired = repair(bundle.finish(), tmp_path / "new.zip")
    # of a side of 45 pixels there are two tiles, and one of the result
    assert [finding.rule for finding in repaired.after.consumers["fiji"].findings] == ["R7"]
    with unpacked(tmp_path / "new.zip") as folder:
        rdf = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert [[axis["scale"] for axis in rdf[place][0]["axes"][1:3]] for place in ("inputs", "outputs")] == [
        [0.25, 0.25],
        [0.5, 0.5],
    ]


def test_scales_that_stay(tmp_path):
    """Two units, which one note cannot hold; and a note of another kind in its place."""
    bundle = with_scales(tmp_path / "units", 0.25, 0.25, x={"unit": "nanometer"})
    repaired = repair(bundle.finish(), tmp_path / "a.zip")
    assert [(change.rule, change.where) for change in repaired.unmended] == [("T9", "outputs.0.axes.2")]
    assert "several pixel sizes or units" in repaired.unmended[0].what
    bundle = clean(tmp_path / "note")
    bundle.rdf["config"]["bmzpack"] = "a text"
    for place in ("inputs", "outputs"):
        bundle.axis(place, "x")["scale"] = 0.5
    repaired = repair(bundle.finish(), tmp_path / "b.zip")
    assert not repaired.changes
    assert "no mapping" in repaired.unmended[0].what


# other origins of weights


def mean_of_neighbours():
    """The network of the corpus, as an author of long ago may have had it: with names that Keras made up."""
    import keras

    keras.backend.clear_session()
    raw = keras.Input((None, None, 2))
    layer = keras.layers.DepthwiseConv2D(3, padding="same", use_bias=False)
    model = keras.Model(raw, layer(raw))
    layer.set_weights([np.full((3, 3, 2, 1), 1 / 9, np.float32)])
    return model


@pytest.mark.slow
def test_formats_from_hdf5_with_names_that_keras_made_up(tmp_path):
    bundle = clean(tmp_path / "bundle")
    bundle.only("onnx")
    bundle.file("weights.onnx").unlink()
    mean_of_neighbours().save(bundle.file("weights.h5"))
    bundle.rdf["weights"] = {"keras_hdf5": {"source": "weights.h5", "sha256": None, "tensorflow_version": "2.21.0"}}
    repaired = repair(bundle.finish(), tmp_path / "new.zip")
    made = [change.where.removeprefix("weights.") for change in repaired.changes]
    assert made[:2] == [SAVED_MODEL, "onnx"]
    if len(made) == 3:  # torch is there
        assert set(verdicts(repaired.after).values()) == {"opens"}
    with unpacked(tmp_path / "new.zip") as folder:
        assert error(folder, "onnxruntime", "weights.onnx") < 1e-5
        assert error(folder, "tensorflow", "saved_model.zip") < 1e-5


@pytest.mark.slow
def test_saved_model_of_tensorflow_1_in_a_nested_zip(tmp_path):
    """With reference variables, a signature of another name, and other names of tensors."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Session(graph=tf.Graph()) as session:
        image = v1.placeholder(tf.float32, (None, None, None, 2))
        kernel = v1.get_variable("kernel", initializer=np.full((3, 3, 2, 1), 1 / 9, np.float32), use_resource=False)
        result = tf.nn.depthwise_conv2d(image, kernel, [1, 1, 1, 1], "SAME")
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(tmp_path / "saved"))
        signature = v1.saved_model.predict_signature_def({"image": image}, {"result": result})
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map={"predict": signature})
        builder.save()
    files = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in (tmp_path / "saved").rglob("*")
        if path.is_file()
    }
    bundle = clean(tmp_path / "bundle")
    bundle.saved_model({"saved.zip": zipped(files)})
    repaired = repair(bundle.finish(), tmp_path / "new.zip")
    assert [change.rule for change in repaired.changes] == ["W1"]
    with unpacked(tmp_path / "new.zip") as folder:
        assert error(folder, "tensorflow", "saved_model.zip") < 1e-5


def error(folder, engine, name):
    raw, expected = (np.load(folder / f"test_{name}.npy") for name in ("raw", "probability"))
    given = ((raw - raw.mean()) / (raw.std() + 1e-6)).astype(np.float32)
    result = run(engine, folder / name, [{"raw": given}], TensorNames(["raw"], ["probability"]))
    return np.abs(result.outputs[0]["probability"] - expected).max() / np.ptp(expected)


# untrusted files


def test_pickles_and_code_are_not_touched(tmp_path, monkeypatch):
    """Nothing is run of a bundle whose weights are a Lambda in HDF5 and a pickle."""
    import h5py

    started = []
    monkeypatch.setattr("bmzpack.engines.jobs.run_python", lambda *arguments, **options: started.append(arguments))
    bundle = clean(tmp_path / "bundle")
    bundle.only("torchscript")
    layer = {"class_name": "Lambda", "config": {"name": "trick", "function": ["", None, None]}}
    with h5py.File(bundle.file("weights.h5"), "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": [layer]}})
    bundle.write("weights.pt", zipped({"archive/data.pkl": b"cos\nsystem\n(S'false'\ntR."}))
    bundle.rdf["weights"]["keras_hdf5"] = {"source": "weights.h5", "sha256": None, "tensorflow_version": "2.21.0"}
    repaired = repair(bundle.finish(), tmp_path / "new.zip")
    assert any("Lambda layer 'trick'" in change.what for change in repaired.unmended)
    assert not started


@pytest.mark.slow
def test_saved_model_that_reaches_out_is_not_run(tmp_path):
    import tensorflow as tf

    class Reads(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 2), tf.float32, "raw")])
        def serve(self, raw):
            size = tf.strings.length(tf.io.read_file("/etc/hostname"))
            return {"probability": raw * tf.cast(size, tf.float32)}

    module = Reads()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": module.serve})
    bundle = clean(tmp_path / "bundle")
    with zipfile.ZipFile(bundle.file("saved_model.zip"), "w") as archive:
        for path in (tmp_path / "saved").rglob("*"):
            archive.write(path, f"inner/{path.relative_to(tmp_path / 'saved')}")
    repaired = repair(bundle.finish(), tmp_path / "new.zip")
    assert not repaired.changes
    assert any("ReadFile" in change.what for change in repaired.unmended)


def test_damaged_files_are_said(tmp_path, monkeypatch):
    """Every file of the bundle cut off or overwritten: a sentence about this file, never a traceback."""
    monkeypatch.setattr(weights_conversion, "run_python", refuse)
    source = clean(tmp_path / "clean").finish()
    for path in sorted(source.iterdir()):
        for number, content in enumerate((b"", path.read_bytes()[: path.stat().st_size // 2], bytes(300))):
            folder = tmp_path / f"{path.name}{number}"
            shutil.copytree(source, folder)
            (folder / path.name).write_bytes(content)
            try:
                before = repair(folder, tmp_path / "new.zip", overwrite=True).before
                sentences = [finding.found for verdict in before.consumers.values() for finding in verdict.findings]
            except UserError as problem:
                assert path.name == "rdf.yaml"
                sentences = [str(problem)]
            if number == 1 and path.name in ("README.md", "cover.png"):
                continue  # half a text is a text, and the head of a picture has its size
            cut_off = number == 1 and path.name == "rdf.yaml"  # what is left of it is understood, and then incomplete
            assert any(path.name in sentence for sentence in sentences) or (cut_off and sentences), (path.name, number)


def refuse(*_, **__):
    raise UserError("not run in this test")


# opsets


TENSORS = {
    "axes": np.array([2, 3]),
    "channel_scale": np.arange(1, 5, dtype=np.float32),
    "first": np.array([1]),
    "kernel": np.random.default_rng(0).random((4, 4, 2, 2)).astype(np.float32),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "shape": np.array([1, 4, 64]),
    "halves": np.array([2, 2]),
}
OPERATORS = {
    "Resize": [("Resize", ["x", "", "scales"], {"mode": "linear"})],
    "ReduceMean": [("ReduceMean", ["x", "axes"], {})],
    "Pad": [("Pad", ["x", "pads"], {"mode": "reflect"})],
    "Split": [("Split", ["x"], {"axis": 1, "num_outputs": 2})],
    "Split in parts": [("Split", ["x", "halves"], {"axis": 1})],
    "AveragePool": [("AveragePool", ["x"], {"kernel_shape": [2, 2], "strides": [2, 2]})],
    "ConvTranspose": [("ConvTranspose", ["x", "kernel"], {"strides": [2, 2]})],
    "ConstantOfShape": [("ConstantOfShape", ["shape"], {})],
    "Reshape": [("Reshape", ["x", "shape"], {})],
    "Unsqueeze": [("Unsqueeze", ["x", "first"], {})],
    "Gelu": [("Gelu", ["x"], {})],
    "Mish": [("Mish", ["x"], {})],
    "GroupNormalization": [("GroupNormalization", ["x", "channel_scale", "channel_scale"], {"num_groups": 2})],
}


def network_of(name):
    """A network of one operator in opset 21, and the names of its outputs."""
    ((operator, inputs, attributes),) = OPERATORS[name]
    outputs = ["y", "z"] if operator == "Split" else ["y"]
    nodes = [helper.make_node(operator, inputs, outputs, **attributes)]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 4, "h", "w"])]
    result = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in outputs]
    stored = [onnx.numpy_helper.from_array(TENSORS[name], name) for name in inputs if name in TENSORS]
    graph = helper.make_graph(nodes, "g", ends, result, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), outputs


IMAGE = np.random.default_rng(1).random((1, 4, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_of_newer_opsets(name):
    """All that networks for images need is written in opset 17."""
    model, outputs = network_of(name)
    before = model.SerializeToString()
    after = lowered(model, 17)
    assert [(entry.domain, entry.version) for entry in after.opset_import] == [("", 17)]
    results = []
    for content in (before, after.SerializeToString()):
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        results.append(session.run(outputs, {"x": IMAGE}))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.engines
@pytest.mark.parametrize("name", OPERATORS)
def test_operators_in_the_runtime_of_fiji(name, tmp_path):
    try:
        engines.old.python("onnxruntime", "1.13.1")
    except UserError as error:
        pytest.skip(str(error))
    model, outputs = network_of(name)
    (tmp_path / "new.onnx").write_bytes(model.SerializeToString())
    model = lowered(model, 17)
    model.ir_version = 8
    (tmp_path / "old.onnx").write_bytes(model.SerializeToString())
    names = TensorNames(["x"], outputs)
    new = run("onnxruntime", tmp_path / "new.onnx", [{"x": IMAGE}], names)
    old = run("onnxruntime-1.13.1", tmp_path / "old.onnx", [{"x": IMAGE}], names)
    for output in outputs:
        np.testing.assert_allclose(new.outputs[0][output], old.outputs[0][output], atol=1e-6)


@pytest.mark.slow
def test_changed_descriptions(bundles, tmp_path, monkeypatch):
    """The random descriptions of the check's own test: a repair or a sentence, and nothing becomes worse."""
    monkeypatch.setattr(weights_conversion, "run_python", refuse)
    monkeypatch.setattr(weights_conversion, "write_all", refuse)
    monkeypatch.setattr("bmzpack.engines.jobs.run_python", refuse)

    @settings(max_examples=1000, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(descriptions(bundles))
    def run(case):
        folder, content = case
        (folder / "rdf.yaml").write_bytes(content)
        with contextlib.suppress(UserError):
            repaired = repair(folder, tmp_path / "new.zip", overwrite=True)
            before, after = verdicts(repaired.before), verdicts(repaired.after)
            assert all(ORDER.index(after[consumer]) <= ORDER.index(before[consumer]) for consumer in CONSUMERS)

    run()


# what strangers' weights do while they are repaired


def graph_that_writes(bundle, mark):
    """A saved model with an operation that the guard names, in place of the bundle's."""

    def message(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    node = message(1, b"evil") + message(2, b"WriteFile")
    with zipfile.ZipFile(bundle.file("saved_model.zip")) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["saved_model.pb"] += message(2, message(2, message(1, node)))
    bundle.write("saved_model.zip", zipped(files))


def test_weights_that_reach_out_are_not_run_to_be_repaired(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr("bmzpack.engines.jobs.run_python", lambda *arguments, **options: started.append(arguments))
    monkeypatch.setattr(weights_conversion, "run_python", refuse)
    bundle = clean(tmp_path / "bundle")
    bundle.only(SAVED_MODEL)
    graph_that_writes(bundle, tmp_path / "mark")
    for key in ("inputs", "outputs"):
        for letter in "yx":
            if isinstance(bundle.axis(key, letter)["size"], dict) and "min" in bundle.axis(key, letter)["size"]:
                bundle.axis(key, letter)["size"] = {"min": 20, "step": 16}
    repaired = repair(bundle.finish(), tmp_path / "new.zip")
    assert not started
    assert not any("network was run" in change.what for change in repaired.changes)


def test_graphs_without_an_end_are_stopped_while_they_are_repaired(tmp_path, monkeypatch):
    """Counts for ever: sizes are found out by running it."""
    from bmzpack.bundle.contents import opened
    from bmzpack.repairs.acceptance import acceptance_test
    from bmzpack.repairs.work import Work

    monkeypatch.setattr("bmzpack.repairs.acceptance.LONGEST", 3.0)
    ends = [helper.make_tensor_value_info(name, 1, [None, None, None, 2]) for name in ("raw", "probability")]
    graph = helper.make_graph(counting_for_ever(), "graph", ends[:1], ends[1:])
    bundle = clean(tmp_path / "bundle")
    bundle.only("onnx")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    bundle.write("weights.onnx", model.SerializeToString())
    (tmp_path / "scratch").mkdir()
    with opened(bundle.finish()) as contents:
        work = Work(contents.folder, contents.root / contents.file, tmp_path / "scratch")
        test = acceptance_test(work)
        (first, *_) = test.run("onnx", work.trusted("onnx"))
    assert isinstance(first, UserError)
    assert "stopped after 3 seconds" in str(first)
