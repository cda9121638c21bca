"""A run becomes a bundle: what the run knows is said, and its normalisation is computed alike everywhere."""

import json
import shutil
import zipfile

import keras
import numpy as np
import pytest
import yaml
from keras import layers

from arrays import only
from bmzpack.describe.description import Input, Output
from bmzpack.errors import UserError
from bmzpack.measure.axes import Tensor
from bmzpack.operations.divide import divide
from bmzpack.operations.processing import arrays, preprocess
from bmzpack.packing.network import with_processing
from kerazoo.data.normalise import Normalisation
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.exporting.export import describe, export
from kerazoo.exporting.processing import operations
from kerazoo.exporting.texts import data_set_name, title
from kerazoo.models.configure import make_config
from kerazoo.models.registry import create_model
from kerazoo.runs.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder as training leaves it, of an untrained network."""
    folder = tmp_path_factory.mktemp("zebrafish")
    write_nuclei(folder, images=3, seed=1, size=96)
    images, masks = sorted((folder / "images").iterdir()), sorted((folder / "masks").iterdir())
    run = Run(folder / "run")
    run.path.mkdir()
    config = make_config(
        {
            "model": {"name": "unet2d", "arguments": {"filters": 4, "depth": 2}},
            "data": {"images": str(folder / "images"), "masks": str(folder / "masks")},
            "publication": {
                "authors": [{"name": "Ada Example", "github_user": "bioimageiobot"}],
                "cite": [{"text": "The images", "url": "https://unreachable.invalid"}],
                "tags": ["nuclei"],
            },
        }
    )
    (run.path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    entries = [
        {"id": image.stem, "image": str(image), "mask": str(mask)} for image, mask in zip(images, masks, strict=True)
    ]
    run.write("split", {"train": entries[:1], "validation": entries[1:]})
    run.write("environment", {"started": "2026-11-01T12:00:00+01:00"})
    run.write("record", {"epochs": 3, "seconds": 360.0, "scores": {"dice": 0.5, "ap_50": None}})
    run.write(
        "recipe",
        {
            "model": "unet2d",
            "task": "instances",
            "channels": 1,
            "channel_names": ["DAPI"],
            "classes": ["background", "interior", "border"],
            "targets": "border",
            "normalisation": {"method": "standardisation"},
            "decoding": {"threshold": 0.4},
            "geometry": {"step": 4, "halo": 22, "minimum": 4},
        },
    )
    create_model("unet2d", classes=3, filters=4, depth=2).save(run.model_path)
    return run


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return export(run.path, tmp_path_factory.mktemp("bundle") / "zebrafish.zip", formats=["keras_v3"])


@pytest.fixture(scope="module")
def rdf(bundle):
    with zipfile.ZipFile(bundle) as archive:
        return yaml.safe_load(archive.read("rdf.yaml"))


def test_bundle_says_what_the_run_knows(rdf, run):
    assert rdf["name"].startswith("U-Net instance segmentation of zebrafish")
    assert rdf["authors"][0]["name"] == "Ada Example"
    assert [entry.get("doi") or entry["url"] for entry in rdf["cite"]] == [
        "10.1007/978-3-319-24574-4_28",
        "https://unreachable.invalid",
    ]
    assert {"nuclei", "instance-segmentation", "unet"} <= set(rdf["tags"])
    assert rdf["timestamp"].startswith("2026-11-01")
    assert rdf["inputs"][0]["axes"][3]["channel_names"] == ["DAPI"]
    assert rdf["outputs"][0]["axes"][3]["channel_names"] == ["background", "interior", "border"]
    training = rdf["config"]["bioimageio"]["training"]
    assert training["training_epochs"] == 3
    assert training["training_duration"] == 0.1
    assert rdf["config"]["bmzpack"]["validation"][0]["scores"] == {"dice": 0.5}
    assert rdf["config"]["kerazoo"] == run.recipe.model_dump(mode="json")


def test_run_keeps_the_agreement(bundle, run):
    assert set(run.agreement) == {"keras_v3"}
    assert set(run.agreement["keras_v3"].as_json()) == {"max_abs_error", "seconds"}


def test_prediction_of_the_bundle_is_that_of_the_run(bundle, run):
    from kerazoo.files.read import read_image
    from kerazoo.inference.load import load_predictor

    image = read_image(run.split.as_json()["validation"][0]["image"])
    np.testing.assert_allclose(
        only(load_predictor(bundle).outputs(image)), only(load_predictor(run).outputs(image)), atol=1e-6
    )


NORMALISATIONS = [
    {"method": "none"},
    {"method": "scaling", "maximum": 4095.0},
    {"method": "centering", "maximum": 4095.0, "mean": [0.2, 0.3]},
    {"method": "standardisation"},
    {"method": "standardisation", "scope": "dataset", "mean": [900.0, 1100.0], "deviation": [150.0, 300.0]},
    {"method": "percentile", "low": 2.0, "high": 99.0},
    {"method": "percentile", "per_channel": True},
]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("content", NORMALISATIONS, ids=lambda content: "_".join(map(str, list(content.values())[:2])))
def test_bundle_computes_the_normalisation_of_the_training(content, channels):
    """What bioimageio.core does by the declared operations, and then the graph, is what `Normalisation.apply` does."""
    lists = {key: content[key][:channels] for key in ("mean", "deviation") if key in content}
    normalisation = Normalisation.model_validate(content | lists)
    image = np.random.default_rng(1).integers(0, 4000, (48, 40, channels)).astype(np.uint16)

    raw = keras.Input((None, None, channels), name="raw")
    model = keras.Model(raw, layers.Identity(name="same")(raw))
    given = Input(test_image=image, preprocessing=operations(normalisation, channels))
    inputs = [Tensor.of("raw", given, model.inputs[0])]
    outputs = [Tensor.of("same", Output(), model.outputs[0])]
    declared, in_graph = divide(inputs, outputs)
    axes = [{"type": "batch", "id": "batch"}]
    axes += [{"type": "space", "id": name, "size": {"min": 4, "step": 4}} for name in "yx"]
    axes += [{"type": "channel", "id": "channel", "channel_names": [f"channel{n}" for n in range(channels)]}]
    entry = {"id": "raw", "axes": axes, "data": {"type": "float32"}}
    entry["preprocessing"] = [operation.model_dump() for operation in declared["raw"]]
    processed = arrays(preprocess([entry], {"raw": image[np.newaxis].astype(np.float32)}), ["raw"])["raw"]

    computed = with_processing(model, inputs, outputs, in_graph)(processed)
    expected = normalisation.apply(image)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(computed)[0], expected, atol=1e-5 * np.ptp(expected))
    assert not any(
        isinstance(value, list) for op in declared["raw"] for key, value in op.kwargs.items() if key != "axes"
    )


def test_no_folder_of_the_machine_is_published(run, tmp_path):
    other = Run(shutil.copytree(run.path, tmp_path / "run"))
    config = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    config["model"]["weights"] = str(tmp_path / "other_run" / "best.keras")
    (other.path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    description = describe(other)
    assert description.training.data is not None
    assert description.training.data.endswith(", starting from the weights best.keras.")
    assert str(tmp_path) not in description.model_dump_json(exclude={"inputs"})


def test_a_name_says_the_task_once():
    names = {}
    for model in ("classifier2d", "patch_cnn", "unet2d"):
        whole = {"folder": "tissue", "annotation": "image"}
        data = {"images": "tissue", "masks": "masks"} if model == "unet2d" else whole
        names[model] = title(make_config({"model": {"name": model}, "data": data}))
    assert names == {
        "classifier2d": "Patch classifier of tissue",
        "patch_cnn": "Patch CNN patch classification of tissue",
        "unet2d": "U-Net instance segmentation of tissue",
    }


def test_data_sets_are_named_after_the_folder_that_says_something():
    def named(images):
        return data_set_name(make_config({"model": {"name": "unet2d"}, "data": {"images": images}}))

    assert named("/data/nuclei_dsb2018/train/images") == "nuclei_dsb2018"
    assert named("/data/worms") == "worms"


def test_what_cannot_be_exported(run, tmp_path):
    with pytest.raises(UserError, match=r"config\.yaml"):
        export(tmp_path, tmp_path / "a.zip")
    (tmp_path / "a.zip").write_text("precious")
    with pytest.raises(UserError, match="--overwrite"):
        export(run, tmp_path / "a.zip")
    other = Run(tmp_path / "run")
    other.path.mkdir()
    for name in ("config.yaml", "recipe.json", "record.json", "best.keras"):
        (other.path / name).write_bytes((run.path / name).read_bytes())
    other.write(
        "split", {"train": [], "validation": [{"id": "a", "image": "/nowhere/a.tif", "mask": "/nowhere/b.tif"}]}
    )
    with pytest.raises(UserError, match=r"/nowhere/a\.tif is gone"):
        describe(other)
    other.write("split", run.split.as_json())
    text = (other.path / "config.yaml").read_text(encoding="utf-8").replace("name: null", "name: U/Net")
    (other.path / "config.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="name"):
        describe(other)
    assert json.loads((other.path / "split.json").read_text()) == run.split.as_json()
