"""Networks that cut an image into patches and classify each: one pixel of the output per patch."""

import zipfile
from fractions import Fraction

import keras
import numpy as np
import pytest
import yaml
from bioimageio.spec.model.v0_5 import (
    AxisId,
    SizeReference,
    SpaceInputAxis,
    SpaceOutputAxisWithHalo,
    TensorId,
)
from keras import layers
from PIL import Image
from scipy.ndimage import gaussian_filter

import bmzpack
from bmzpack.bundle.contents import Contents
from bmzpack.bundle.protobuf import read_onnx
from bmzpack.consumers.conditions.tensor_sizes import LARGEST_IMAGE
from bmzpack.consumers.findings import Severity
from bmzpack.consumers.jdll.sides import output_sizes
from bmzpack.consumers.verdicts import check_contents
from bmzpack.describe.cover import COLOURS, INDENT, LINE, write_cover
from bmzpack.engines import TensorNames
from bmzpack.measure.axes import scale_for_fiji
from bmzpack.measure.geometry import Geometry, measure, measure_axis
from bmzpack.measure.receptive_field import receptive_radius
from bmzpack.measure.scales import both_scales
from bmzpack.repairs.axis_scales import scales
from bmzpack.repairs.work import Work
from bmzpack.weights import FORMATS, onnx
from bmzpack.weights.model import Network

PATCH, SIDE = 16, 4


def classifier(patch=PATCH, classes=3):
    """A small classifier of patches."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((patch, patch, 3), name="patch")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same", activation="relu")(x))
    x = layers.GlobalAveragePooling2D()(x)
    # far from equal probabilities, so that patches differ
    sharp = keras.initializers.RandomNormal(stddev=4, seed=2)
    x = layers.Dense(classes, activation="softmax", kernel_initializer=sharp)(x)
    return keras.Model(inputs, x, name="classifier")


def patch_map(single, side=SIDE, before=None, behind=None):
    """Apply a classifier to all patches of an image."""
    _, patch, _, channels = single.input_shape
    raw = keras.Input((side * patch, side * patch, channels), name="raw")
    x = keras.ops.reshape(raw if before is None else before(raw), (-1, side, patch, side, patch, channels))
    x = keras.ops.reshape(keras.ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, patch, patch, channels))
    x = keras.ops.reshape(single(x), (-1, side, side, single.output_shape[-1]))
    last = layers.Identity(name="probability") if behind is None else behind
    return keras.Model(raw, last(x), name="patch_map")


def encoder(side=4):
    """A pretrained kind of network, of depthwise convolutions and odd paddings."""
    inputs = keras.Input((64, 64, 3), name="patch")
    base = keras.applications.MobileNetV2((64, 64, 3), 0.35, weights=None, include_top=False, pooling="avg")
    encoded = keras.Model(base.input, base.output, name="encoder")(layers.Rescaling(1 / 127.5, -1)(inputs))
    return patch_map(keras.Model(inputs, layers.Dense(3, activation="softmax")(encoded), name="classifier"), side)


def window(**options):
    return layers.Conv2D(3, 3, padding="same", **options)


def tissue(shape, seed=1):
    """Something smooth in three colours, of 8 bit."""
    smooth = gaussian_filter(np.random.default_rng(seed).random((*shape, 3)), (6, 6, 0))
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


STAIN = {"id": "scale_linear", "kwargs": {"axis": "channel", "gain": [0.01, 0.02, 0.015], "offset": [0.0, -1.0, 0.5]}}


def description(**changes):
    given = {"test_image": tissue((80, 100)), "channel_names": ["red", "green", "blue"], "preprocessing": [STAIN]}
    names = ["epithelium", "stroma", "background"]
    output = {"channel_names": names}
    return {"name": "Map of patches", "licence": "CC-BY-4.0", "inputs": [given | changes], "outputs": [output]}


@pytest.fixture(scope="module", autouse=True)
def fresh_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def single():
    return classifier()


@pytest.fixture(scope="module")
def model(single):
    return patch_map(single)


@pytest.fixture(scope="module")
def packed(model, tmp_path_factory):
    output = tmp_path_factory.mktemp("packed") / "map.zip"
    return bmzpack.pack(model, description(), output, formats=["keras_v3", "keras_hdf5", "onnx"])


@pytest.fixture(scope="module")
def folder(packed, tmp_path_factory):
    return unpacked(packed, tmp_path_factory.mktemp("unpacked"))


def unpacked(packed, folder):
    with zipfile.ZipFile(packed.path) as archive:
        archive.extractall(folder)
    return folder


def test_every_pixel_is_a_patch_seen_alone(model, single):
    images = np.stack([tissue((64, 64), seed) for seed in (1, 2)]).astype(np.float32) / 255 - 0.5
    found = np.asarray(model(images))
    assert found.shape == (2, SIDE, SIDE, 3)
    assert found.max(-1).std() > 0.01
    for image, row, column in np.ndindex(2, SIDE, SIDE):
        place = np.s_[row * PATCH : (row + 1) * PATCH, column * PATCH : (column + 1) * PATCH]
        alone = np.asarray(single(images[image][place][np.newaxis]))[0]
        np.testing.assert_allclose(found[image, row, column], alone, atol=1e-5)


@pytest.mark.parametrize(("patch", "side"), [(16, 4), (16, 3), (12, 2), (24, 5)])
def test_measured(patch, side):
    network = patch_map(classifier(patch), side)
    for axis in (0, 1):
        assert measure_axis(network, axis) == Geometry(step=patch, halo=0, margin=0, minimum=patch * side)


def test_networks_of_depthwise_convolutions_are_measured():
    assert measure(encoder()) == Geometry(step=64, halo=0, margin=0, minimum=256)


def test_what_looks_across_patches_is_found(single):
    for network in (patch_map(single, before=window()), patch_map(single, behind=window(name="probability"))):
        assert measure(network) == Geometry(step=PATCH, halo=PATCH, margin=0, minimum=PATCH * SIDE)


def test_a_wrong_cut_is_found(single):
    """Without the transposition a patch is made of whole rows: along x everything is seen."""
    raw = keras.Input((64, 64, 3), name="raw")
    x = single(keras.ops.reshape(raw, (-1, PATCH, PATCH, 3)))
    network = keras.Model(raw, keras.ops.reshape(x, (-1, SIDE, SIDE, 3)))
    assert (measure_axis(network, 0).halo, measure_axis(network, 1).halo) == (0, None)


def graph(network, path):
    onnx.write(Network(network, TensorNames(["raw"], ["probability"])), path)
    return read_onnx(path.read_bytes())


def test_the_graph_tells_of_patches_that_become_one_pixel(tmp_path):
    """The converter then writes reshapes between the layers of a patch."""
    inputs = keras.Input((PATCH, PATCH, 3), name="patch")
    x = layers.Conv2D(8, 3, strides=PATCH, padding="same")(inputs)
    for _ in range(2):
        x = layers.Conv2D(8, 1)(layers.ReLU()(layers.DepthwiseConv2D(3, padding="same")(x)))
    x = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    file = graph(patch_map(keras.Model(inputs, x, name="classifier")), tmp_path / "a.onnx")
    reshapes = [node for node in file.nodes if node.operation == "Reshape"]
    assert len(reshapes) > 3
    for place, position in ((-1, 2), (-2, 1)):
        assert receptive_radius(file, "probability", place, (position, position)) == 0


def test_the_graph_tells_of_channels_and_vectors_of_patches(tmp_path):
    """Layers that take some of the channels, and a vector whose length the graph computes."""
    inputs = keras.Input((PATCH, PATCH, 3), name="patch")
    x = layers.Conv2D(4, 5)(inputs)
    x = layers.Concatenate()([layers.Conv2D(2, 3)(x[..., :2]), layers.Conv2D(2, 3)(x[..., 2:])])
    x = layers.Dense(3, activation="softmax")(layers.Flatten()(layers.AveragePooling2D(2)(x)))
    file = graph(patch_map(keras.Model(inputs, x, name="classifier")), tmp_path / "a.onnx")
    assert {"Slice", "Shape"} <= {node.operation for node in file.nodes}
    for place, position in ((-1, 2), (-2, 1)):
        assert receptive_radius(file, "probability", place, (position, position)) == 0


@pytest.mark.parametrize(
    ("options", "radius"),
    [({}, 0), ({"behind": window(name="probability")}, 1), ({"before": window()}, None)],
    ids=["patches", "window behind", "window before"],
)
def test_the_graph_tells_the_same(single, options, radius, tmp_path):
    file = graph(patch_map(single, **options), tmp_path / "a.onnx")
    for place, position in ((-1, 2), (-2, 1)):
        assert receptive_radius(file, "probability", place, (position, position)) == radius
        # of an image of any size nothing is known
        assert receptive_radius(file, "probability", place) is None


def test_axes(folder):
    rdf = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    given, found = rdf["inputs"][0]["axes"], rdf["outputs"][0]["axes"]
    assert [axis["id"] for axis in found] == ["batch", "y", "x", "channel"]
    for one, other in zip(given[1:3], found[1:3], strict=True):
        assert one["size"] == PATCH * SIDE
        assert other["size"] == {"tensor_id": "raw", "axis_id": other["id"]}
        assert "halo" not in other
        # by the specification the quotient of the scales, in Fiji that of the output alone
        assert one["size"] * one["scale"] / other["scale"] == SIDE
        assert one["size"] * other["scale"] == SIDE


def axis(**entries):
    return {"type": "space", "id": "x", **entries}


def scaled(*scales):
    """The scale of an input, and of outputs that follow it."""
    inputs = [{"id": "raw", "axes": [axis(size=64)]}]
    size = {"tensor_id": "raw", "axis_id": "x"}
    outputs = [{"id": f"out{scale}", "axes": [axis(size=size, scale=scale)]} for scale in scales]
    scale_for_fiji(inputs, outputs)
    return [entry["axes"][0].get("scale", 1) for entry in (*inputs, *outputs)]


def test_scales_that_suit_fiji_and_the_specification():
    assert scaled(64) == [1 / 64**2, 1 / 64]
    assert scaled(0.5, 0.5) == [4, 2, 2]
    # what is no power of two is rounded up
    assert scaled(48) == pytest.approx([1 / 48**2, 1 / 48], rel=1e-7)
    assert scaled(48)[1] > 1 / 48
    # two ratios, nothing to do
    assert scaled(1, 2) == [1, 1, 2]
    assert scaled(1) == [1, 1]


@pytest.mark.parametrize(
    "ratio", [Fraction(*pair) for pair in ((1, 3), (1, 48), (1, 49), (1, 299), (2, 3), (7, 5), (3, 1))]
)
def test_sizes_come_out_whole(ratio):
    """In the arithmetic of bioimageio.spec and in that of JDLL, for all sizes that Fiji's images have."""
    of_input, of_output = both_scales(float(ratio))
    raw = SpaceInputAxis(id=AxisId("x"), size=64, scale=of_input)
    size = SizeReference(tensor_id=TensorId("raw"), axis_id=AxisId("x"))
    halo = 4 * ratio.numerator
    found = SpaceOutputAxisWithHalo(id=AxisId("x"), size=size, scale=of_output, halo=halo)
    for pixels in range(1, LARGEST_IMAGE + 1):
        wanted = int(pixels * ratio)
        assert found.size.get_size(found, raw, ref_size=pixels) == wanted
        assert output_sizes(np.array(pixels), of_output, 0) == (wanted, wanted)
        # test tensors are compared without rounding
        if pixels % ratio.denominator == 0:
            assert pixels * of_input / of_output == wanted
    assert halo * of_output / of_input == 4 * ratio.denominator


def test_no_program_minds_but_ilastik(packed, folder):
    """In Fiji some sizes are cut into more tiles than their result."""
    assert packed.programs == ["Fiji (deepImageJ)", "QuPath"]
    found = check_contents(Contents(folder, folder / "rdf.yaml"), ["fiji", "qupath"]).consumers
    assert {(finding.rule, finding.severity) for finding in found["fiji"].findings} == {("R7", Severity.DEGRADED)}
    assert "cut into another number of tiles" in found["fiji"].findings[0].found
    assert found["qupath"].findings == []


def test_halo_is_missed_where_the_network_looks_across(single, folder, tmp_path):
    """The same bundle with another graph."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for options in ({"behind": window(name="probability")}, {"before": window()}):
        graph(patch_map(single, **options), tmp_path / "weights.onnx")
        report = check_contents(Contents(tmp_path, tmp_path / "rdf.yaml"), ["fiji"])
        assert any("halo" in finding.found for finding in report.consumers["fiji"].findings)


def test_scales_of_pixels_are_a_fault_in_fiji(folder, tmp_path):
    """JDLL expects another size then, which a repair mends; the size of the pixels is kept."""
    rdf = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    for tensor, size in ((rdf["inputs"][0], 0.5), (rdf["outputs"][0], 0.5 * PATCH)):
        for entry in tensor["axes"][1:3]:
            entry |= {"scale": size, "unit": "micrometer"}
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "rdf.yaml").write_text(yaml.safe_dump(rdf), encoding="utf-8")
    report = check_contents(Contents(tmp_path, tmp_path / "rdf.yaml"), ["fiji", "qupath"])
    faults = {name: {finding.rule for finding in verdict.findings} for name, verdict in report.consumers.items()}
    assert faults == {"fiji": {"R7", "T9"}, "qupath": set()}
    work = Work(tmp_path, tmp_path / "rdf.yaml", tmp_path)
    scales(work)
    original = yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))
    assert [work.rdf[place][0]["axes"] for place in ("inputs", "outputs")] == [
        original[place][0]["axes"] for place in ("inputs", "outputs")
    ]
    assert work.rdf["config"]["bmzpack"]["pixel_size"] == {"y": 0.5, "x": 0.5, "unit": "micrometer"}


def test_documentation(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "has one pixel per patch of 16 x 16 pixels of the input" in text
    assert "multiples of 64 pixels" in text
    assert "The network itself applies `scale_linear`" in text


def test_cover_shows_every_pixel_of_the_map(folder):
    with Image.open(folder / "cover.png") as cover:
        pixels = np.asarray(cover).astype(int)
    assert pixels.shape == (256, 512, 3)
    blocks = pixels[:, 256:].reshape(SIDE, 64, SIDE, 64, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert blocks[:, 0, :, 0].std() > 10
    assert len(np.unique(pixels[:, :256].reshape(-1, 3), axis=0)) > 1000


@pytest.mark.slow
def test_every_format_in_batches_and_blocks(model, single, tmp_path):
    """All engines agree, also on two images; bioimageio.core lays the maps of a larger image beside each other."""
    from bioimageio.core import Sample, Tensor, create_prediction_pipeline
    from bioimageio.spec import load_description

    packed = bmzpack.pack(model, description(), tmp_path / "map.zip")
    assert list(packed.agreement) == list(FORMATS)
    assert all(entry["max_abs_error"] < 1e-5 for entry in packed.agreement.values())
    report = bmzpack.test(packed.path)
    assert report.passed, report.as_dict()
    statuses = {name: (entry.core, entry.engine) for name, entry in report.formats.items()}
    assert statuses == dict.fromkeys(FORMATS, ("passed", "passed"))
    folder = unpacked(packed, tmp_path / "folder")
    loaded = load_description(folder / "rdf.yaml", perform_io_checks=False)
    image = tissue((128, 192)).astype(np.float32)[np.newaxis]
    with create_prediction_pipeline(loaded, weights_format="onnx") as pipeline:
        sample = Sample(members={"raw": Tensor.from_numpy(image, dims=["batch", "y", "x", "channel"])}, stat={}, id="a")
        result = pipeline.predict_sample_with_blocking(sample)
    found = np.asarray(next(iter(result.members.values())).data)
    gain, offset = (np.array(STAIN["kwargs"][key], np.float32) for key in ("gain", "offset"))
    patches = (image[0] * gain + offset).reshape(8, PATCH, 12, PATCH, 3).swapaxes(1, 2).reshape(-1, PATCH, PATCH, 3)
    np.testing.assert_allclose(found[0], np.asarray(single(patches)).reshape(8, 12, 3), atol=1e-4)


@pytest.mark.slow
def test_a_pretrained_kind_of_network(tmp_path):
    """In every format, as the runtimes inside Fiji take it."""
    image = tissue((300, 300))
    packed = bmzpack.pack(encoder(), description(test_image=image, preprocessing=[]), tmp_path / "map.zip")
    assert list(packed.agreement) == list(FORMATS)
    assert all(entry["max_abs_error"] < 1e-5 for entry in packed.agreement.values())
    assert packed.programs == ["Fiji (deepImageJ)", "QuPath"]
    file = read_onnx((unpacked(packed, tmp_path / "folder") / "weights.onnx").read_bytes())
    assert file.opset <= 17
    assert file.ir_version <= 8
    assert receptive_radius(file, "probability", -1, (2, 2)) == 0


def entry(name, channels, y, x):
    axes = [{"id": "batch"}, *({"id": axis, "size": size} for axis, size in zip("yx", (y, x), strict=True))]
    return {"id": name, "axes": [*axes, {"id": "channel", "channel_names": channels}]}


@pytest.mark.parametrize("enlarged", [False, True])
def test_the_cover_of_a_classifier_shows_one_colour_per_class(tmp_path, enlarged):
    names = ["epithelium of the bronchus, with a long and winding name", "stroma", "background", "not there"]
    truth = np.arange(16).reshape(4, 4) % 3
    values = 0.3 + 0.1 * np.eye(4)[truth]  # far from sure
    if enlarged:
        values = values.repeat(128, axis=0).repeat(128, axis=1)
    inputs, outputs = [entry("raw", ["red", "green", "blue"], 512, 512)], [entry("map", names, *values.shape[:2])]
    tensors = {"raw": tissue((512, 512))[np.newaxis], "map": values[np.newaxis]}
    write_cover(tmp_path / "cover.png", inputs, outputs, tensors, classes=True)
    with Image.open(tmp_path / "cover.png") as cover:
        right = np.asarray(cover)[:, 256:]
    palette = np.uint8(np.rint(255 * np.array(COLOURS[:3])))
    field = 64
    above = right[: 2 * field]
    np.testing.assert_array_equal(above, palette[truth[:2]].repeat(field, axis=0).repeat(field, axis=1))
    box = right[256 - 3 * LINE - 2 * INDENT :, : 2 * INDENT + LINE - 6]
    legend = [colour for colour in palette if (box == colour).all(axis=-1).sum() == (LINE - 6) ** 2]
    assert len(legend) == 3  # the class that is not seen is not named
    assert (right[-3 * LINE - 2 * INDENT :, INDENT + LINE :].min(axis=-1) > 128).sum() > 100  # letters
