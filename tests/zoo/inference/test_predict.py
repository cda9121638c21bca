"""Files in, files out: what Fiji needs is kept, and a mistake leaves nothing behind."""

import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from arrays import only
from bmzpack.errors import UserError
from kerazoo.inference.load import load_predictor
from kerazoo.inference.predict import predict
from kerazoo.inference.predictor import Predictor
from kerazoo.runs.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder whose network gives the brightness: class 1 where the pixel is above the mean."""
    import keras

    from kerazoo.config import DecodingConfig
    from kerazoo.data.normalise import Normalisation
    from kerazoo.models.recipe import Recipe, TileGeometry

    raw = keras.Input((None, None, 1), name="raw")
    layer = keras.layers.Conv2D(2, 1, activation="softmax", name="probability")
    model = keras.Model(raw, layer(raw))
    layer.set_weights([np.array([0.0, 4.0]).reshape(1, 1, 1, 2), np.zeros(2)])
    run = Run(tmp_path_factory.mktemp("run"))
    (run.path / "config.yaml").write_text("model: {name: unet2d}\ndata: {}\n")
    model.save(run.model_path)
    recipe = Recipe(
        model="unet2d",
        task="semantic",
        channels=1,
        channel_names=["dna"],
        classes=["background", "foreground"],
        targets="foreground",
        normalisation=Normalisation(method="standardisation"),
        decoding=DecodingConfig(),
        geometry=TileGeometry(step=16, halo=8, minimum=16),
    )
    run.write("recipe", recipe.model_dump())
    return run


def plane(seed=0, shape=(40, 50)):
    return np.random.default_rng(seed).integers(0, 255, shape).astype(np.uint8)


def test_single_plane(run, tmp_path):
    image = plane()
    tifffile.imwrite(
        tmp_path / "a.tif", image, imagej=True, resolution=(4.0, 2.0), metadata={"axes": "YX", "unit": "um"}
    )
    (tmp_path / "a.tif").rename(tmp_path / "a.ome.tif")
    (path,) = predict(run, [tmp_path / "a.ome.tif"], tmp_path / "out")
    assert path == tmp_path / "out" / "a.tif", "it is no OME-TIFF"
    with tifffile.TiffFile(path) as file:
        assert file.is_imagej
        assert file.imagej_metadata["unit"] == "um"
        assert file.pages.first.tags["XResolution"].value == (4, 1)
        assert file.pages.first.tags["YResolution"].value == (2, 1)
        labels = file.asarray()
    assert labels.dtype == np.uint16
    np.testing.assert_array_equal(labels, image > image.mean())
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["a.tif"]


def test_a_map_of_classes_names_them_and_a_mask_does_not(run, tmp_path):
    Image.fromarray(plane()).save(tmp_path / "a.png")
    classes = Run(shutil.copytree(run.path, tmp_path / "classes"))
    classes.write("recipe", run.recipe.model_dump(mode="json") | {"targets": "classes", "classes": ["muscle", "bone"]})
    (named,) = predict(classes, tmp_path / "a.png", tmp_path / "named")
    (mask,) = predict(run, tmp_path / "a.png", tmp_path / "mask")
    with tifffile.TiffFile(named) as file:
        assert file.imagej_metadata["Info"].splitlines()[1:] == ["0: muscle", "1: bone"]
    with tifffile.TiffFile(mask) as file:
        assert "Info" not in file.imagej_metadata
    np.testing.assert_array_equal(tifffile.imread(named), tifffile.imread(mask))


def test_probabilities_are_written_too(run, tmp_path):
    image = plane()
    Image.fromarray(image).save(tmp_path / "a.png")
    paths = predict(run, [tmp_path / "a.png"], tmp_path / "out", probabilities=True, tile=32)
    assert [path.name for path in paths] == ["a.tif", "a_probabilities.tif"]
    with tifffile.TiffFile(paths[1]) as file:
        assert file.is_imagej
        assert file.series[0].axes == "CYX"
        found = file.asarray()
    expected = only(load_predictor(run).outputs(image[..., None]))
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-6)


def test_stack_is_predicted_plane_by_plane(run, tmp_path):
    stack = np.stack([[plane(3 * t + z) for z in range(3)] for t in range(2)])
    tifffile.imwrite(
        tmp_path / "stack.tif",
        stack,
        imagej=True,
        resolution=(10.0, 10.0),
        metadata={"axes": "TZYX", "unit": "um", "spacing": 0.5, "finterval": 2.0},
    )
    labels, probabilities = predict(run, [tmp_path / "stack.tif"], tmp_path / "out", probabilities=True)
    with tifffile.TiffFile(labels) as file:
        assert file.series[0].axes == "TZYX"
        assert file.imagej_metadata["spacing"] == 0.5
        assert file.imagej_metadata["finterval"] == 2.0
        found = file.asarray()
    np.testing.assert_array_equal(found, stack > stack.mean(axis=(2, 3), keepdims=True))
    with tifffile.TiffFile(probabilities) as file:
        assert file.series[0].axes == "TZCYX"
        assert file.asarray().shape == (2, 3, 2, 40, 50)


def test_ambiguous_stack_with_axes_given(run, tmp_path):
    stack = np.stack([plane(z) for z in range(3)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", metadata=None)
    with pytest.raises(UserError, match="--axes"):
        predict(run, [tmp_path / "stack.tif"], tmp_path / "out")
    (path,) = predict(run, [tmp_path / "stack.tif"], tmp_path / "out", axes="ZYX")
    np.testing.assert_array_equal(tifffile.imread(path), stack > stack.mean(axis=(1, 2), keepdims=True))


def test_more_objects_than_uint16_counts(run, tmp_path, monkeypatch):
    """The second plane needs float32: the first, already written, is carried over."""
    counts = iter([3, 70_000])
    monkeypatch.setattr(Predictor, "result", lambda self, image: np.full(image.shape[:2], next(counts), np.int32))
    tifffile.imwrite(tmp_path / "s.tif", np.stack([plane(), plane()]), imagej=True, metadata={"axes": "ZYX"})
    (path,) = predict(run, [tmp_path / "s.tif"], tmp_path / "out")
    labels = tifffile.imread(path)
    assert labels.dtype == np.float32
    assert [np.unique(part).tolist() for part in labels] == [[3], [70_000]]


def nan(folder):
    image = plane().astype(np.float32)
    image[3, 4] = np.nan
    tifffile.imwrite(folder / "bad.tif", image)


def channels(folder):
    tifffile.imwrite(folder / "bad.tif", plane(shape=(40, 50, 3)), photometric="rgb")


def truncated(folder):
    tifffile.imwrite(folder / "bad.tif", plane())
    content = (folder / "bad.tif").read_bytes()
    (folder / "bad.tif").write_bytes(content[:-500])


@pytest.mark.parametrize("spoil", [nan, channels, truncated, lambda folder: None])
def test_one_bad_image_stops_all_before_anything_is_written(run, tmp_path, spoil):
    tifffile.imwrite(tmp_path / "good.tif", plane())
    spoil(tmp_path)
    with pytest.raises(UserError, match=r"bad\.tif"):
        predict(run, [tmp_path / "good.tif", tmp_path / "bad.tif"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_existing_results_are_kept_unless_asked(run, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", plane())
    predict(run, [tmp_path / "a.tif"], tmp_path / "out")
    before = (tmp_path / "out" / "a.tif").read_bytes()
    with pytest.raises(UserError, match="--overwrite"):
        predict(run, [tmp_path / "a.tif"], tmp_path / "out")
    assert (tmp_path / "out" / "a.tif").read_bytes() == before
    predict(run, [tmp_path / "a.tif"], tmp_path / "out", overwrite=True, progress=True)


def test_images_are_never_overwritten(run, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", plane())
    before = (tmp_path / "a.tif").read_bytes()
    with pytest.raises(UserError, match="results would lie among the images; choose another one with -o"):
        predict(run, [tmp_path / "a.tif"], tmp_path, overwrite=True)
    assert (tmp_path / "a.tif").read_bytes() == before


def test_two_images_of_one_name(run, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", plane())
    Image.fromarray(plane()).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="both be written"):
        predict(run, [tmp_path / "a.tif", tmp_path / "a.png"], tmp_path / "out")


def test_failure_in_between_leaves_nothing(run, tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", plane())

    def fail(self, image, kept):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "result", fail)
    with pytest.raises(KeyboardInterrupt):
        predict(run, [tmp_path / "a.tif"], tmp_path / "out", probabilities=True)
    assert not (tmp_path / "out").exists()
