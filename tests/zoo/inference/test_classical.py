"""Explicit programming by the same commands as a network, without any training."""

import csv

import numpy as np
import pytest
import tifffile
from skimage.measure import regionprops

import kerazoo
from bmzpack.errors import UserError
from kerazoo.evaluation.evaluate import evaluate, remarks
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.files.annotations.read import read_objects
from kerazoo.files.read import open_stack
from kerazoo.inference.predict import predict
from kerazoo.models.classical.method import classical


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    write_nuclei(folder, images=3, seed=4, size=128)
    return folder


def test_predict(nuclei, tmp_path):
    images = sorted((nuclei / "images").iterdir())
    *written, table = predict("classical2d", images, tmp_path)
    assert table == tmp_path / "objects.csv"
    for image, path in zip(images, written, strict=True):
        np.testing.assert_array_equal(tifffile.imread(path), classical(tifffile.imread(image)))
    with pytest.raises(UserError, match="no probabilities"):
        predict("classical2d", images, tmp_path / "other", probabilities=True)


def test_what_is_written_beside_the_labels(nuclei, tmp_path):
    said = []
    written = predict(
        "classical2d", nuclei / "images", tmp_path, rois=True, geojson=True, overlay=True, show=said.append
    )
    endings = (".tif", "_rois.zip", ".geojson", "_overlay.png")
    stems = [path.stem for path in sorted((nuclei / "images").iterdir())]
    assert [path.name for path in written] == [f"{stem}{ending}" for stem in stems for ending in endings] + [
        "objects.csv"
    ]
    with written[-1].open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for stem, line in zip(stems, said, strict=True):
        labels = tifffile.imread(tmp_path / f"{stem}.tif")
        regions = regionprops(labels)
        areas = [float(row["area"]) for row in rows if row["image"] == f"{stem}.tif"]
        assert areas == [region.area for region in regions]
        size = open_stack(nuclei / "images" / f"{stem}.tif").pixel_size
        median = np.median(areas)
        expected = (
            f"{len(areas)} objects, median area {median:g} pixels ({median * size[0] * size[1]:.4g} square micrometres)"
        )
        assert line == f"{stem}.tif: {expected}"
        for ending in endings[1:3]:
            read = read_objects(tmp_path / f"{stem}{ending}", "", labels.shape).labels
            np.testing.assert_array_equal(read, labels)


def test_arrays(nuclei):
    model = kerazoo.load("classical2d")
    image = tifffile.imread(sorted((nuclei / "images").iterdir())[0])
    labels = model.predict(image)
    np.testing.assert_array_equal(labels, classical(image))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(model.predict(image[..., None]), labels)
    planes = model.predict(np.stack([image, image[::-1]]), axes="zyx")
    np.testing.assert_array_equal(planes[0], labels)
    assert planes.shape == (2, *image.shape)
    series = model.predict(np.stack([image.T] * 6).reshape(2, 3, 1, *image.T.shape), axes="TZCXY")
    np.testing.assert_array_equal(series[1, 2], labels)
    for array, axes, message in (
        (np.stack([image] * 9), None, "may have its axes in several orders.*axes='ZYX'"),
        (image, "ZYX", "has 2 axes, but 'ZYX' names 3"),
        (image, "XX", "not understood"),
        (np.full((40, 40), np.nan), None, "NaN"),
        (image.astype(complex), None, "complex"),
    ):
        with pytest.raises(UserError, match=message):
            model.predict(array, axes)


def test_evaluate_objects_and_binary_masks(nuclei, tmp_path):
    result = evaluate("classical2d", nuclei / "images", nuclei / "masks")
    assert result["task"] == "instances"
    assert result["scores"]["ap_50"] > 0.5
    (tmp_path / "binary").mkdir()
    for path in (nuclei / "masks").iterdir():
        tifffile.imwrite(tmp_path / "binary" / path.name, (tifffile.imread(path) > 0).astype("uint8") * 255)
    binary = evaluate("classical2d", nuclei / "images", tmp_path / "binary")
    assert binary["scores"]["dice"] == pytest.approx(result["scores"]["dice"])
    assert "warnings" not in binary
    for path in (tmp_path / "binary").iterdir():
        tifffile.imwrite(path, 1 + (tifffile.imread(path) == 0).astype("uint8"))
    shifted = evaluate("classical2d", nuclei / "images", tmp_path / "binary")
    assert shifted["scores"] == binary["scores"]
    assert "--background 1" in remarks(shifted)[0]
