"""Official StarDist files: what is read, and what is refused with which reason."""

import json

import h5py
import numpy as np
import pytest
import tifffile

from bmzpack.bundle.archive import unpacked
from bmzpack.errors import UserError
from kerazoo.examples.synthetic import nuclei
from kerazoo.exporting.export import export
from kerazoo.inference.load import load_predictor
from kerazoo.models.stardist.checkpoint import _read_config, _read_tensors, load_stardist
from kerazoo.training.convert import convert

CONFIG = {
    "n_dim": 2,
    "axes": "YXC",
    "n_channel_in": 1,
    "n_rays": 8,
    "grid": [2, 2],
    "backbone": "unet",
    "n_classes": None,
    "unet_n_depth": 1,
    "unet_n_filter_base": 4,
    "unet_batch_norm": False,
    "net_conv_after_unet": 6,
}

SHAPES = {
    "conv2d_9": (3, 3, 1, 4),
    "conv2d_10": (3, 3, 4, 4),
    "down_level_0_no_0": (3, 3, 4, 4),
    "down_level_0_no_1": (3, 3, 4, 4),
    "middle_0": (3, 3, 4, 8),
    "middle_2": (3, 3, 8, 4),
    "up_level_0_no_0": (3, 3, 8, 4),
    "up_level_0_no_2": (3, 3, 4, 4),
    "features": (3, 3, 4, 6),
    "prob": (1, 1, 6, 1),
    "dist": (1, 1, 6, 8),
}


def write(folder, config=CONFIG, shapes=SHAPES, name="weights_best.h5"):
    """A model folder as Keras 2 wrote it; every tensor is filled with its number."""
    (folder / "config.json").write_text(json.dumps(config))
    with h5py.File(folder / name, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in shapes]
        for number, (layer, shape) in enumerate(shapes.items(), start=1):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel:0".encode(), f"{layer}/bias:0".encode()]
            group[f"{layer}/kernel:0"] = np.full(shape, number, np.float32)
            group[f"{layer}/bias:0"] = np.full(shape[-1], -number, np.float32)
    return folder


def test_every_tensor_goes_to_its_layer(tmp_path):
    model, settings = load_stardist(write(tmp_path))
    expected = {
        "grid1_convolution1": 1,
        "grid1_convolution2": 2,
        "encoder1_convolution1": 3,
        "encoder1_convolution2": 4,
        "bottleneck_convolution1": 5,
        "bottleneck_convolution2": 6,
        "decoder1_convolution1": 7,
        "decoder1_convolution2": 8,
        "features": 9,
        "probability": 10,
        "distances": 11,
    }
    for layer, number in expected.items():
        kernel, bias = model.get_layer(layer).get_weights()
        assert (kernel == number).all()
        assert (bias == -number).all()
    assert {layer.name for layer in model.layers if layer.weights} == expected.keys()
    assert settings["rays"] == 8
    assert settings["grid"] == (2, 2)
    assert settings["channels"] == 1
    assert settings["classes"] is None


def test_thresholds_are_read_and_impossible_ones_are_not(tmp_path):
    write(tmp_path)
    (tmp_path / "thresholds.json").write_text('{"prob": 0.48, "nms": 0.3}')
    settings = load_stardist(tmp_path)[1]
    assert (settings["threshold"], settings["overlap"]) == (0.48, 0.3)
    (tmp_path / "thresholds.json").write_text('{"prob": 1.5, "nms": null}')
    settings = load_stardist(tmp_path)[1]
    assert (settings["threshold"], settings["overlap"]) == (0.5, 0.4)


def test_the_best_weights_are_preferred_and_a_file_can_be_named(tmp_path):
    write(tmp_path)
    write(tmp_path, shapes={name: SHAPES[name] for name in reversed(SHAPES)}, name="weights_last.h5")
    assert load_stardist(tmp_path)[0].get_layer("distances").get_weights()[0].max() == 11
    assert load_stardist(tmp_path / "weights_last.h5")[0].get_layer("distances").get_weights()[0].max() == 1


@pytest.mark.parametrize(
    ("config", "shapes", "says"),
    [
        ({"n_dim": 3}, {}, "n_dim is 3"),
        ({"unet_batch_norm": True}, {}, "unet_batch_norm is True"),
        ({"unet_kernel_size": [5, 5]}, {}, "unet_kernel_size"),
        ({"n_rays": 16}, {}, r"distances/kernel is \(1, 1, 6, 8\)"),
        ({"grid": [1, 1]}, {}, r"encoder1_convolution1/kernel is \(3, 3, 4, 4\)"),
        ({"grid": [4, 4]}, {}, "no tensor for grid2_convolution1/kernel"),
        ({"n_classes": 2}, {}, "no tensor for class_features/kernel"),
        ({}, {"features_class": (3, 3, 4, 6)}, "2 tensors that config.json knows nothing of"),
        ({}, {"dense": (6, 8)}, "a layer dense"),
        ({}, {"prob": None}, "no tensor for probability/kernel"),
        ({"n_rays": None}, {}, "no config.json of StarDist"),
    ],
)
def test_the_wrong_file_is_refused_with_the_reason(tmp_path, config, shapes, says):
    write(tmp_path, CONFIG | config, {name: shape for name, shape in (SHAPES | shapes).items() if shape})
    with pytest.raises(UserError, match=says):
        load_stardist(tmp_path)


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(UserError, match=r"no .*weights_best\.h5"):
        load_stardist(tmp_path)
    write(tmp_path)
    (tmp_path / "weights_best.h5").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read as Keras weights"):
        load_stardist(tmp_path)
    write(tmp_path)
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(UserError, match="cannot be read"):
        load_stardist(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match=r"no .*config\.json"):
        load_stardist(tmp_path)


def test_a_model_becomes_a_run(tmp_path):
    (tmp_path / "official").mkdir()
    folder = write(tmp_path / "official")
    (folder / "thresholds.json").write_text('{"prob": 0.43, "nms": 0.3}')
    run = convert("stardist", folder, tmp_path / "run")
    assert (run.recipe.decoding.threshold, run.recipe.decoding.overlap, run.recipe.geometry.grid) == (0.43, 0.3, 2)
    assert run.config.model.arguments == {"rays": 8, "grid": [2, 2], "filters": 4, "depth": 1, "features": 6}
    assert len(run.recipe.classes) == 9
    image = np.random.default_rng(0).integers(0, 255, (37, 50, 1)).astype(np.uint8)
    assert load_predictor(run).result(image).shape == (37, 50)
    with pytest.raises(UserError, match="exists"):
        convert("stardist", folder, tmp_path / "run")
    assert convert("stardist", folder, tmp_path / "run", overwrite=True).recipe == run.recipe


def test_a_converted_run_is_packed_with_an_image(tmp_path):
    (tmp_path / "official").mkdir()
    folder = write(tmp_path / "official")
    with h5py.File(folder / "weights_best.h5", "r+") as file:
        for name in SHAPES:
            kernel = file[f"{name}/{name}/kernel:0"]
            kernel[...] = np.random.default_rng(1).normal(0, 0.1, kernel.shape)
    (folder / "thresholds.json").write_text('{"prob": 0.43, "nms": 0.3}')
    run = convert("stardist", folder, tmp_path / "run")
    with pytest.raises(UserError, match="--image"):
        export(run, tmp_path / "bundle.zip", formats=["keras_v3"])
    tifffile.imwrite(tmp_path / "image.tif", nuclei(1, 128)[0])
    bundle = export(run, tmp_path / "bundle.zip", formats=["keras_v3"], image=tmp_path / "image.tif")
    with unpacked(bundle) as place:
        text = (place / "README.md").read_text(encoding="utf-8")
    assert "Official weights, converted from official" in text
    image = tifffile.imread(tmp_path / "image.tif")[..., None]
    np.testing.assert_array_equal(load_predictor(bundle).result(image), load_predictor(run).result(image))


def test_what_is_no_checkpoint_leaves_nothing(tmp_path):
    for kind, path, message in (
        ("stardist", tmp_path / "none", "There is no checkpoint"),
        ("unet", tmp_path, "choose cellpose, omnipose, sam, stardist"),
        ("stardist", tmp_path, "config.json"),
        ("cellpose", tmp_path / "text.pth", "text.pth"),
    ):
        (tmp_path / "text.pth").write_text("no checkpoint")
        with pytest.raises(UserError, match=message):
            convert(kind, path, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["text.pth"]


@pytest.mark.parametrize("kind", ["link", "storage", "unwritten"])
def test_weights_of_other_files_are_refused(kind, tmp_path):
    """A stranger's file could bring anything of this computer into a run that is then published."""
    with h5py.File(tmp_path / "weights_best.h5", "w") as file:
        if kind == "link":
            file["model_weights"] = h5py.ExternalLink("/etc/hostname", "/")
        elif kind == "storage":
            file.create_dataset("layers/vars/0", (10,), "u1", external=[("/etc/hostname", 0, 10)])
        else:
            file.create_dataset("layers/vars/0", (10**12,), "f4", chunks=(10**6,))
    with pytest.raises(UserError, match=r"other file|bomb|another file"):
        _read_tensors(tmp_path / "weights_best.h5")


def test_settings_without_end_are_refused(tmp_path):
    settings = {"n_rays": 32, "grid": [1, 1], "unet_n_filter_base": 10**9, "unet_n_depth": 3}
    (tmp_path / "config.json").write_text(json.dumps(settings | {"net_conv_after_unet": 128, "n_channel_in": 1}))
    with pytest.raises(UserError, match="no config"):
        _read_config(tmp_path / "config.json")
