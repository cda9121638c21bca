"""Packing: what is in a bundle, that it opens where it says, and what is said when it cannot be packed."""

import errno
import itertools
import json
import zipfile

import keras
import numpy as np
import pytest
import yaml
from keras import layers
from PIL import Image
from scipy.ndimage import gaussian_filter

import bmzpack
from bmzpack.describe import people
from bmzpack.describe.description import Description, Input, read_description
from bmzpack.describe.rdf import sha256
from bmzpack.describe.template import write_template
from bmzpack.errors import UserError
from bmzpack.packing import pack as packing
from bmzpack.packing.network import with_processing
from bmzpack.settings import validate
from bmzpack.weights import choose_formats


def blobs(shape, seed=1):
    """Something like nuclei in 12 bit, on a dark background."""
    noise = np.random.default_rng(seed).random(shape)
    smooth = gaussian_filter(noise, (6, 6, 0)[: len(shape)])
    return np.uint16(np.clip((smooth - smooth.mean()) / smooth.std() * 600, 0, None) + 100 * noise)


def unet(channels=1, padding="same"):
    """A small U-Net of Keras layers."""
    keras.utils.set_random_seed(1)
    raw = x = keras.Input((None, None, channels), name="raw")
    skips = []
    for filters in (8, 12):
        x = layers.Conv2D(filters, 3, padding=padding, activation="relu")(x)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(16, 3, padding=padding, activation="relu")(x)
    x = layers.BatchNormalization()(x)
    crop = 0
    for filters, skip in zip((12, 8), reversed(skips), strict=True):
        crop = 2 * (crop + 1) if padding == "valid" else 0
        x = layers.Conv2DTranspose(filters, 2, strides=2)(x)
        x = layers.Concatenate()([layers.Cropping2D(crop)(skip) if crop else skip, x])
        x = layers.Conv2D(filters, 3, padding=padding, activation="relu")(x)
        crop += 1
    return keras.Model(raw, layers.Conv2D(3, 1, name="classes")(x), name="small_unet")


def two_by_two():
    """Two inputs, two outputs, one of them at half the resolution."""
    keras.utils.set_random_seed(1)
    raw, hint = keras.Input((None, None, 2), name="raw"), keras.Input((None, None, 1), name="hint")
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.Concatenate()([raw, hint]))
    coarse = layers.Conv2D(4, 3, padding="same", name="coarse")(layers.MaxPooling2D()(x))
    fine = layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="fine")(x)
    return keras.Model([raw, hint], [fine, coarse], name="two_by_two")


def description(**changes):
    """A description with nearly everything in it."""
    content = {
        "name": "Small U-Net (test)",
        "description": "Three classes of pixels.",
        "authors": [{"name": "Ada Example", "github_user": "bioimageiobot", "orcid": "0000-0002-1825-0097"}],
        "cite": [
            {"text": "A paper", "doi": "10.1007/978-3-319-24574-4_28", "url": "https://unreachable.invalid/paper"}
        ],
        "licence": "CC-BY-4.0",
        "tags": ["nuclei"],
        "git_repo": "https://unreachable.invalid/code",
        "timestamp": "2026-11-01T12:00:00+00:00",
        "inputs": [{"test_image": blobs((300, 280)), "preprocessing": ["zero_mean_unit_variance"], "pixel_size": 0.65}],
        "outputs": [{"channel_names": ["background", "interior", "border"], "postprocessing": ["softmax"]}],
        "training": {"data": "Nothing at all.", "training_epochs": 3, "optimizer": "adamw"},
        "validation": [
            {
                "dataset": "Made up",
                "samples": 2,
                "scores": {"dice": 0.5, "a_score_of_a_long_name": 0.25},
                "source": "https://unreachable.invalid/data",
            }
        ],
        "config": {"own": {"key": [1, 2]}},
    }
    return content | changes


@pytest.fixture(scope="module", autouse=True)
def fresh_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def model():
    return unet()


@pytest.fixture(scope="module")
def packed(model, tmp_path_factory):
    output = tmp_path_factory.mktemp("packed") / "unet.zip"
    return bmzpack.pack(model, description(), output, formats=["keras_v3", "onnx"])


@pytest.fixture(scope="module")
def folder(packed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(packed.path) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def rdf(folder):
    return yaml.safe_load((folder / "rdf.yaml").read_text(encoding="utf-8"))


def axis(tensor, name):
    return next(entry for entry in tensor["axes"] if entry["id"] == name)


def test_no_traces_of_the_work_remain(packed):
    assert [path.name for path in packed.path.parent.iterdir()] == ["unet.zip"]


@pytest.mark.slow
def test_packing_twice_gives_the_same_bytes(model, packed, tmp_path):
    model.save(tmp_path / "model.keras")
    again = bmzpack.pack(tmp_path / "model.keras", description(), tmp_path / "again.zip", formats=["keras_v3", "onnx"])
    assert again.path.read_bytes() == packed.path.read_bytes()
    assert again.agreement == packed.agreement


def test_plain_strings_of_the_last_format_that_all_read(rdf):
    assert rdf["format_version"] == "0.5.10"
    assert rdf["documentation"] == "README.md"
    assert rdf["covers"] == ["cover.png"]


def test_fiji_finds_a_name(rdf):
    """ModelDescriptorV05: without an id, config.bioimageio.nickname is read without asking whether it is there."""
    assert "id" not in rdf
    assert len(rdf["config"]["bioimageio"]["nickname"].split("-")) == 2


def test_fiji_reads_the_axes(rdf):
    """JDLL makes an order string of one letter per axis; any other id gives more letters than axes."""
    letters = {"batch": "b", "channel": "c"}
    for tensor in (*rdf["inputs"], *rdf["outputs"]):
        order = "".join(letters.get(entry["id"], entry["id"]) for entry in tensor["axes"])
        assert order == "byxc"
        assert axis(tensor, "channel")["channel_names"]
        assert "sample_tensor" not in tensor


def test_fiji_can_tile(rdf):
    """TileMaker: tiles are floor((size + 2 halo) / step) * step and must be min + n * step."""
    size, output = axis(rdf["inputs"][0], "y")["size"], axis(rdf["outputs"][0], "y")
    assert size["min"] % size["step"] == 0
    for image in range(size["min"], 600, 7):
        tile = (image + 2 * output["halo"]) // size["step"] * size["step"]
        assert (tile - size["min"]) % size["step"] == 0
        assert tile > 2 * output["halo"]


def test_sizes_are_measured(rdf):
    for name in "yx":
        # two poolings: 4; convolutions at 1, 2, 4, 2, 1 pixels reach 1 + 2 + 4 + 2 + 1, and further where they meet
        assert axis(rdf["inputs"][0], name)["size"]["step"] == 4
        output = axis(rdf["outputs"][0], name)
        assert output["size"] == {"tensor_id": "raw", "axis_id": name}
        assert 10 <= output["halo"] <= 14


def test_pixel_sizes_are_where_no_program_misreads_them(rdf, folder):
    """JDLL takes the scale of an output's axis for its ratio to the input: 0.65 would leave 65 % of the image."""
    axes = [entry for tensor in (*rdf["inputs"], *rdf["outputs"]) for entry in tensor["axes"]]
    assert not {"scale", "unit"} & {key for entry in axes for key in entry}
    assert rdf["config"]["bmzpack"]["pixel_size"] == {"y": 0.65, "x": 0.65, "unit": "micrometer"}
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert text.count("Pixel size: y 0.65 micrometer, x 0.65 micrometer.") == 2


def test_versions_have_three_numbers(rdf):
    versions = [rdf["version"], rdf["weights"]["keras_v3"]["keras_version"], rdf["weights"]["keras_v3"]["backend"][1]]
    assert all(version.count(".") == 2 for version in versions)


def test_weights_name_their_parent_and_their_content(rdf, folder):
    assert [name for name, entry in rdf["weights"].items() if "parent" not in entry] == ["keras_v3"]
    files = [*rdf["weights"].values(), *(tensor["test_tensor"] for tensor in (*rdf["inputs"], *rdf["outputs"]))]
    for file in files:
        assert sha256(folder / file["source"]) == file["sha256"]


def test_softmax_is_in_the_network(rdf, folder):
    assert "postprocessing" not in rdf["outputs"][0]
    probabilities = np.load(folder / "test_classes.npy")
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    assert "The network itself applies `softmax`" in (folder / "README.md").read_text(encoding="utf-8")


def test_test_tensors_are_a_window_of_the_image_and_what_keras_makes_of_it(model, folder):
    given = np.load(folder / "test_raw.npy")
    assert given.shape == (1, 256, 256, 1)
    windows = np.lib.stride_tricks.sliding_window_view(blobs((300, 280)).astype(np.float32), (256, 256))
    assert (windows == given[0, ..., 0]).all(axis=(2, 3)).any()
    normalised = (given - given.mean()) / (given.std() + 1e-6)
    expected = keras.ops.softmax(model(normalised)).numpy()
    np.testing.assert_allclose(np.load(folder / "test_classes.npy"), expected, atol=1e-5)


def test_filters_of_the_zoo(rdf, packed):
    assert rdf["links"] == ["deepimagej/deepimagej", "bioimageio/qupath"]
    assert packed.programs == ["Fiji (deepImageJ)", "QuPath"]
    assert {"nuclei", "2d", "fiji", "qupath"} <= set(rdf["tags"])
    assert not packed.missing


def test_people_licence_and_further_entries(rdf):
    assert rdf["license"] == "CC-BY-4.0"
    assert rdf["maintainers"][0]["github_user"] == "bioimageiobot"
    assert rdf["config"]["own"] == {"key": [1, 2]}
    assert rdf["config"]["bioimageio"]["training"] == {"training_epochs": 3, "optimizer": "adamw"}
    assert rdf["config"]["bioimageio"]["evaluations"][0]["results"] == [[0.5], [0.25]]
    assert rdf["config"]["bmzpack"]["validation"][0]["scores"]["a_score_of_a_long_name"] == 0.25


def test_documentation(folder, packed):
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "## Validation" in text
    assert "| a_score_of_a_long_name | 0.25 |" in text
    for name, entry in packed.agreement.items():
        assert f"| {name} | {entry['max_abs_error']:.1e} | {entry['seconds'] * 1e3:.3g} ms |" in text
    assert "**ilastik** cannot run this model. The bundle has keras_v3" in text


def test_small_images_are_mirrored_but_not_on_the_cover():
    from bmzpack.describe.cover import _square
    from bmzpack.describe.description import Input
    from bmzpack.measure.axes import Sizes, Tensor
    from bmzpack.packing.tensors import test_windows as cut_windows
    from bmzpack.packing.tensors import visible_part

    model, image = unet(), np.arange(40.0 * 50).reshape(1, 40, 50, 1).astype(np.float32)
    inputs = [Tensor.of("raw", Input.model_validate({"test_image": "a.npy"}), model.inputs[0])]
    window = cut_windows({"raw": image}, inputs, Sizes(minimum=80, step=4))[0]
    assert window["raw"].shape == (1, 80, 80, 1)
    np.testing.assert_array_equal(window["raw"][:, 20:60, 15:65], image)
    assert visible_part({"raw": image}, window) == 0.5
    picture = np.zeros((80, 80, 3))
    picture[20:60, 20:60] = 1
    assert _square(picture, 0.5).min() == 255


def test_cover(folder):
    with Image.open(folder / "cover.png") as cover:
        assert cover.size[0] == 2 * cover.size[1]
        pixels = np.asarray(cover)
    assert (folder / "cover.png").stat().st_size < 500_000
    assert pixels[:, :256].std() > 20
    assert pixels[:, 256:].std() > 5


def per_channel(operation, **numbers):
    return {"id": operation, "kwargs": {"axis": "channel", **numbers}}


@pytest.mark.parametrize(
    ("operation", "computed"),
    [
        (per_channel("scale_linear", gain=[0.5, 2.0], offset=[1.0, -3.0]), lambda x: x * [0.5, 2] + [1, -3]),
        (
            per_channel("fixed_zero_mean_unit_variance", mean=[5.0, 7.0], std=[2.0, 3.0]),
            lambda x: (x - [5, 7]) / [2, 3],
        ),
    ],
)
def test_numbers_per_channel_go_into_the_graph(operation, computed):
    from bmzpack.describe.description import Input, Output
    from bmzpack.measure.axes import Tensor
    from bmzpack.operations.divide import divide

    raw = keras.Input((None, None, 2), name="raw")
    model = keras.Model(raw, layers.Identity(name="same")(raw))
    given = Input.model_validate({"test_image": "a.npy", "preprocessing": ["ensure_dtype", operation]})
    inputs = [Tensor.of("raw", given, model.inputs[0])]
    outputs = [Tensor.of("same", Output(), model.outputs[0])]
    declared, in_graph = divide(inputs, outputs)
    assert [entry.id for entry in declared["raw"]] == ["ensure_dtype"]
    x = np.random.default_rng(1).random((1, 4, 4, 2)).astype(np.float32) * 10
    result = with_processing(model, inputs, outputs, in_graph)(x)
    np.testing.assert_allclose(result, computed(x), rtol=1e-5, atol=1e-5)


def test_sizes_of_a_network_of_the_2015_kind():
    """Valid convolutions take 20 + 4 n pixels and no multiple of 4 + 2: what is declared must be valid."""
    from bmzpack.describe.description import Input, Output
    from bmzpack.measure.axes import Sizes, Tensor, input_axes, output_axes, sizes_of
    from bmzpack.measure.geometry import Geometry, measure

    model = unet(padding="valid")
    geometry = measure(model)
    inputs = [Tensor.of("raw", Input.model_validate({"test_image": "a.npy"}), model.inputs[0])]
    outputs = [Tensor.of("classes", Output(), model.outputs[0])]
    for measured in (
        geometry,
        Geometry(step=4, halo=geometry.halo, margin=geometry.margin, minimum=geometry.minimum + 2),
    ):
        sizes = sizes_of(inputs, measured)
        size = input_axes(inputs[0], sizes, None)[1]["size"]
        if measured.minimum % measured.step:
            assert size == sizes.minimum
            assert (sizes.minimum - measured.minimum) % measured.step == 0
        else:
            assert size["min"] % size["step"] == 0
    sizes = Sizes(geometry.minimum + 40 * geometry.step, 0)
    entry = output_axes(model, inputs, outputs, sizes, geometry)[0][1]
    assert entry["size"] == {"tensor_id": "raw", "axis_id": "y", "offset": -2 * geometry.margin}
    assert (
        keras.ops.shape(model(np.zeros((1, sizes.minimum, sizes.minimum, 1))))[1] == sizes.minimum - 2 * geometry.margin
    )


def lambda_model():
    raw = keras.Input((None, None, 1), name="raw")
    return keras.Model(raw, layers.Lambda(lambda x: x * 2, name="probability")(raw))


def integer_input():
    raw = keras.Input((None, None, 1), dtype="int32", name="raw")
    return keras.Model(raw, layers.Rescaling(0.1, name="probability")(raw))


def integer_output():
    raw = keras.Input((None, None, 1), name="raw")
    return keras.Model(raw, keras.ops.cast(raw, "int32"))


def odd_name():
    raw = keras.Input((None, None, 1), name="Raw-Image")
    return keras.Model(raw, layers.Conv2D(1, 3, padding="same", name="probability")(raw))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (lambda_model, "Lambda"),
        (integer_input, "int32"),
        (integer_output, "int32"),
        (odd_name, "Raw-Image"),
    ],
)
def test_models_that_no_bundle_can_hold(kind, words, tmp_path):
    content = {"name": "A model", "inputs": [{"test_image": blobs((64, 64))}], "outputs": [{"id": "result"}]}
    with pytest.raises(UserError, match=words):
        bmzpack.pack(kind(), content, tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_tensors_without_names_are_named(tmp_path):
    """The normal case of a model that was not made for packing."""
    raw = keras.Input((None, None, 1))
    model = keras.Model(raw, layers.Conv2D(1, 3, padding="same")(raw))
    content = {"name": "A model", "inputs": [{"test_image": blobs((64, 64))}]}
    bmzpack.pack(model, content, tmp_path / "a.zip", formats=["keras_v3"])
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        rdf = yaml.safe_load(archive.read("rdf.yaml"))
    assert [tensor["id"] for tensor in (*rdf["inputs"], *rdf["outputs"])] == ["raw", "output"]
    # what QuPath needs is there, whatever was said
    assert (rdf["authors"], rdf["description"]) == ([{"name": "Author not stated"}], "A model.")


def test_several_inputs_without_names(tmp_path):
    ends = [keras.Input((None, None, 1)) for _ in range(2)]
    model = keras.Model(ends, layers.Conv2D(1, 3, padding="same")(layers.Concatenate()(ends)))
    image = blobs((64, 64))
    content = {"name": "A model", "inputs": [{"test_image": image}, {"test_image": image}]}
    with pytest.raises(UserError, match="give each in the description an id"):
        bmzpack.pack(model, content, tmp_path / "a.zip", formats=["keras_v3"])
    content["inputs"] = [{"test_image": image, "id": "nuclei"}, {"test_image": image, "id": "membranes"}]
    bmzpack.pack(model, content, tmp_path / "a.zip", formats=["keras_v3"])
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        rdf = yaml.safe_load(archive.read("rdf.yaml"))
    assert [tensor["id"] for tensor in rdf["inputs"]] == ["nuclei", "membranes"]


def test_a_constant_output_is_said(tmp_path, caplog):
    raw = keras.Input((None, None, 1), name="raw")
    x = layers.Conv2D(1, 1, activation="sigmoid", bias_initializer=keras.initializers.Constant(50), name="mask")(raw)
    content = {"name": "A model", "inputs": [{"test_image": blobs((64, 64))}]}
    bmzpack.pack(keras.Model(raw, x), content, tmp_path / "a.zip", formats=["keras_v3"])
    assert "'mask' of the test image is nearly constant (1)" in caplog.text


def test_github_users_are_confirmed(monkeypatch, caplog):
    people_of = [{"name": "Ada", "github_user": "ada-of-the-tests"}, {"name": "Eve", "github_user": "eve"}]
    described = validate(Description, description(authors=people_of), "test")
    monkeypatch.setattr(people, "exists", lambda user: user == "eve")
    found = people.verified(described)
    assert [author.github_user for author in found.authors] == [None, "eve"]
    assert "ada-of-the-tests could not be confirmed" in caplog.text
    assert not people.exists("no user/of github")


def test_a_description_to_fill_in(tmp_path):
    """It can be read as it is, but for the image, and every key of a description is in it."""
    raw = keras.Input((None, None, 1))
    keras.Model(raw, layers.Conv2D(1, 3, name="mask")(raw)).save(tmp_path / "model.keras")
    write_template(tmp_path / "model.keras", tmp_path / "model.yaml")
    text = (tmp_path / "model.yaml").read_text(encoding="utf-8")
    described = read_description(tmp_path / "model.yaml")
    assert [tensor.id for tensor in described.inputs] == ["raw"]
    assert "# - id: mask" in text
    for key in (*Description.model_fields, *Input.model_fields):
        assert f"{key}:" in text
    assert "An SPDX identifier such as ``CC-BY-4.0``." in text
    with pytest.raises(UserError, match="exists"):
        write_template(tmp_path / "model.keras", tmp_path / "model.yaml")


def with_input(**changes):
    return description(inputs=[{"test_image": blobs((64, 64))} | changes])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (with_input(test_image="nowhere.tif"), "There is no test image nowhere.tif"),
        (with_input(test_image=blobs((64, 64, 3))), "3 channels where the network takes 1"),
        (with_input(test_image=np.ones((2, 3, 64, 64))), "test_image_axes"),
        (with_input(test_image=blobs((3, 64))), "3 pixels long in y"),
        (with_input(test_image=np.full((64, 64), np.nan)), "NaN"),
        (with_input(test_image=np.zeros((64, 64), complex)), "complex128"),
        (with_input(test_image=np.zeros((64, 64))), "zero everywhere"),
        (with_input(id="image"), "raw"),
        (with_input(axes="yxc"), "beginning with b"),
        (with_input(axes="bxyt"), "axes"),
        (with_input(channel_names=["a", "b"]), "2 channel_names"),
        (with_input(preprocessing=["zero_mean_unit_varianc"]), "zero_mean_unit_variance"),
        (with_input(preprocessing=[{"id": "clip", "kwargs": {"low": 1}}]), "clip"),
        (with_input(preprocessing=[{"id": "scale_range", "kwargs": {"axes": ["batch", "y", "x"]}}]), "batch"),
        (with_input(preprocessing=["softmax", {"id": "clip", "kwargs": {"min": 0, "max": 1}}]), "change their order"),
        (with_input(preprocessing=[per_channel("scale_linear", gain=[1.0, 2.0])]), "2 numbers for 1 channels"),
        (with_input(pixel_siz=0.65), "pixel_size"),
        (description(outputs=[{}, {}]), "2 are described"),
        (description(licence="CC-BY-9"), "license"),
        (description(name="U-Net/2D"), "name"),
        (description(version="1.0"), "version"),
        (description(cite=[{"text": "A paper"}]), "doi"),
        (description(authors=[{"nam": "Ada"}]), "name"),
    ],
)
def test_descriptions_that_cannot_be_used(content, words, tmp_path, monkeypatch):
    # the long work of the weights is not what is tested here
    monkeypatch.setattr(packing, "write_all", fake_weights)
    with pytest.raises(UserError, match=words):
        bmzpack.pack(unet(), content, tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def fake_weights(model_path, folder, names, test_inputs, formats, *, labels=None):
    """The Keras file alone, run in this process."""
    from bmzpack.weights import Written

    path = folder / "weights.keras"
    path.write_bytes(model_path.read_bytes())
    outputs = [{names.outputs[0]: np.zeros((*x[names.inputs[0]].shape[:3], 3), np.float32)} for x in test_inputs]
    if any(x[names.inputs[0]].any() for x in test_inputs):
        outputs = [{name: array + 0.5 for name, array in entry.items()} for entry in outputs]
    versions = {"keras_version": "3.15.1", "tensorflow_version": "2.21.0"}
    return [Written("keras_v3", path, None, versions, 0.0, 0.001, outputs)]


def test_existing_output(tmp_path):
    (tmp_path / "a.zip").write_text("precious")
    with pytest.raises(UserError, match="--overwrite"):
        bmzpack.pack(unet(), description(), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_text() == "precious"


def test_full_disk(tmp_path, monkeypatch):
    def no_space(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(packing, "write_all", fake_weights)
    monkeypatch.setattr("bmzpack.bundle.archive.write_archive", no_space)
    with pytest.raises(UserError, match="disk is full"):
        bmzpack.pack(unet(), description(), tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, "write_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bmzpack.pack(unet(), description(), tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_output(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot be written"):
        bmzpack.pack(unet(), description(), tmp_path / "file" / "a.zip")


def test_missing_model_and_unknown_format(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.keras"):
        bmzpack.pack(tmp_path / "nowhere.keras", description(), tmp_path / "a.zip")
    with pytest.raises(UserError, match="onx"):
        bmzpack.pack(unet(), description(), tmp_path / "a.zip", formats=["keras_v3", "onx"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one", "two"])
def test_all_formats_run_where_they_should(kind, tmp_path):
    """Every format through bioimageio.core and its own engine; packed twice, from memory and from a file."""
    if kind == "one":
        model, content = unet(), description()
    else:
        gain = per_channel("scale_linear", gain=[1e-3, 2e-3], offset=[-1.0, 0.5])
        inputs = [
            {"id": "hint", "test_image": np.uint8(blobs((300, 280)) > 600)},
            {"id": "raw", "test_image": blobs((300, 280, 2)), "preprocessing": [gain]},
        ]
        model, content = two_by_two(), {"name": "Two by two", "inputs": inputs}
    packed = bmzpack.pack(model, content, tmp_path / "a.zip")
    report = bmzpack.test(packed.path, json=tmp_path / "report.json")
    assert report.passed, report.as_dict()
    formats = choose_formats(None)
    assert sorted(report.formats) == sorted(formats)
    assert all(entry.engine == "passed" and entry.max_abs_error < 1e-5 for entry in report.formats.values())
    cores = {name: entry.core for name, entry in report.formats.items()}
    assert cores == dict.fromkeys(formats, "passed") | (
        dict.fromkeys(formats[:3], "unsupported") if kind == "two" else {}
    )
    # two outputs of two scales are more than Fiji takes, two inputs more than the others
    assert packed.programs == (["Fiji (deepImageJ)", "ilastik", "QuPath"] if kind == "one" else [])
    written = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert written["passed"]
    assert set(written["formats"]["onnx"]) == {"core", "engine", "max_abs_error", "seconds", "messages"}

    model.save(tmp_path / "model.keras")
    again = bmzpack.pack(tmp_path / "model.keras", content, tmp_path / "b.zip")
    assert again.path.read_bytes() == packed.path.read_bytes()


@pytest.mark.slow
def test_a_bundle_that_was_changed_fails(packed, tmp_path):
    """A test tensor that the network does not give, and a weights file that is none."""
    with zipfile.ZipFile(packed.path) as archive:
        archive.extractall(tmp_path)
    (tmp_path / "weights.onnx").write_bytes(b"nothing")
    np.save(tmp_path / "test_classes.npy", np.load(tmp_path / "test_classes.npy") + 0.01)
    report = bmzpack.test(tmp_path)
    assert not report.passed
    statuses = itertools.chain.from_iterable((entry.core, entry.engine) for entry in report.formats.values())
    assert set(statuses) == {"failed"}
    assert all(entry.messages for entry in report.formats.values())


@pytest.mark.parametrize("shares", [False, True])
def test_many_channels_do_not_mix_to_white_on_the_cover(tmp_path, shares):
    from bmzpack.describe.cover import write_cover

    y, x = np.mgrid[:64, :64]
    values = np.eye(33)[x // 2] if shares else np.random.default_rng(0).uniform(5, 30, (64, 64, 33))
    if not shares:
        values[..., 0] = np.hypot(y - 32, x - 32) < 16
    axes = [{"id": "batch"}, {"id": "y"}, {"id": "x"}]
    names = ["probability", *(f"distance{ray}" for ray in range(32))]
    outputs = [{"id": "stars", "axes": [*axes, {"id": "channel", "channel_names": names}]}]
    inputs = [{"id": "raw", "axes": [*axes, {"id": "channel", "channel_names": ["channel0"]}]}]
    write_cover(tmp_path / "cover.png", inputs, outputs, {"raw": values[None, ..., :1], "stars": values[None]})
    with Image.open(tmp_path / "cover.png") as cover:
        right = np.asarray(cover)[:, 256:].astype(int)
    if shares:
        assert np.ptp(right, axis=-1).max() > 50, "the mixture of colours"
    else:
        assert not np.ptp(right, axis=-1).any()
        assert (right[96:160, 96:160] > 250).all()
        assert (right[:50, :50] < 5).all()
