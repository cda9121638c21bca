"""The table of objects has scikit-image's numbers, and what goes to ImageJ and QuPath comes back as the same labels."""

import contextlib
import csv

import numpy as np
import PIL.Image
import pytest
import tifffile
from skimage.measure import regionprops

from bmzpack.errors import UserError
from kerazoo.files.annotations.read import read_objects
from kerazoo.files.read import open_stack
from kerazoo.inference.image_files import image_files
from kerazoo.inference.object_files import ObjectFiles, ObjectTable
from kerazoo.inference.overlay import overlay

RANDOM = np.random.default_rng(0)
LABELS = np.kron(RANDOM.integers(0, 5, (6, 7)), np.ones((5, 5), int)).astype(np.int32)
PIXELS = RANDOM.integers(0, 999, (*LABELS.shape, 2)).astype("uint16")


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("size", [None, (0.5, 0.5), (0.5, 0.25)])
def test_table(tmp_path, size):
    with contextlib.ExitStack() as files:
        table = ObjectTable(tmp_path / "t.csv", ["dapi", "gfp"], files)
        table.add("a.tif", 0, PIXELS, LABELS, size)
        table.add("a.tif", 1, PIXELS, 0 * LABELS, size)
    rows = rows_of(tmp_path / "t.csv")
    expected = regionprops(LABELS, PIXELS)
    assert len(rows) == len(expected) == 4
    for row, region in zip(rows, expected, strict=True):
        assert (row["image"], row["plane"], row["label"]) == ("a.tif", "0", str(region.label))
        for name in ("area", "axis_major_length", "axis_minor_length", "perimeter", "eccentricity", "orientation"):
            assert float(row[name]) == pytest.approx(region[name], rel=1e-5)
        assert float(row["centroid_y"]) == pytest.approx(region.centroid[0], rel=1e-5)
        assert float(row["intensity_mean_gfp"]) == pytest.approx(region.intensity_mean[1], rel=1e-5)
        assert float(row["intensity_max_dapi"]) == region.intensity_max[0]
        edge = region.bbox[0] == 0 or region.bbox[1] == 0 or region.bbox[2] == 30 or region.bbox[3] == 35
        assert row["touches_border"] == str(int(edge))
        if size is None:
            assert row["area_um2"] == row["perimeter_um"] == ""
            continue
        scaled = regionprops(LABELS, spacing=size)[region.label - 1]
        assert float(row["area_um2"]) == pytest.approx(scaled.area, rel=1e-5)
        assert float(row["centroid_x_um"]) == pytest.approx(scaled.centroid[1], rel=1e-5)
        assert float(row["axis_major_length_um"]) == pytest.approx(scaled.axis_major_length, rel=2e-3)
        assert (row["perimeter_um"] == "") == (size[0] != size[1])


def test_files_for_other_programs(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS[..., 0])
    stack = open_stack(tmp_path / "a.tif")
    paths = [tmp_path / name for name in ("a_rois.zip", "a.geojson", "a_overlay.png")]
    files = ObjectFiles(*paths, overwrite=False)
    files.add(stack, 0, PIXELS[..., :1], LABELS)
    files.write()
    for path in paths[:2]:
        np.testing.assert_array_equal(read_objects(path, "a.tif", LABELS.shape).labels, LABELS)
    assert np.asarray(PIL.Image.open(paths[2])).shape == (*LABELS.shape, 3)
    with pytest.raises(UserError, match="exists already"):
        files.write()


def test_overlay_shows_outlines_and_classes():
    grey = np.full((20, 20, 1), 100, "uint8")
    grey[0, 0] = 0
    labels = np.zeros((20, 20), np.int32)
    labels[5:15, 5:15] = 1
    picture = overlay(grey, labels)
    coloured = picture.max(axis=2) != picture.min(axis=2)
    expected = labels > 0
    expected[6:14, 6:14] = False
    np.testing.assert_array_equal(coloured, expected)
    assert len(np.unique(overlay(grey, labels, classes=2)[1:].reshape(-1, 3), axis=0)) == 2


def test_which_images_are_meant(tmp_path):
    for name in ("a.tif", "b.png", "notes.txt", "day1/a.tif", "day1/deep/c.tif", "out/old.tif", "x [1].tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")

    def names(*given, output="results", recursive=False):
        return [image.name.as_posix() for image in image_files(given, tmp_path / output, recursive=recursive)]

    assert names(tmp_path) == ["a", "b", "x [1]"]
    assert names(tmp_path, output="out", recursive=True) == ["a", "b", "day1/a", "day1/deep/c", "x [1]"]
    assert names(f"{tmp_path}/*/*.tif") == ["a", "old"]
    assert names(f"{tmp_path}/**/c.tif") == ["c"]
    assert names(tmp_path / "x [1].tif", f"{tmp_path}/a.t?f") == ["x [1]", "a"]
    with pytest.raises(UserError, match=r"No file fits the pattern .*\*\.gif"):
        names(f"{tmp_path}/*.gif")
    with pytest.raises(UserError, match=r"the folder of a\.tif: the results would lie among the images.*-o"):
        names(tmp_path / "a.tif", output=".")
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    with pytest.raises(UserError, match="empty holds no images"):
        names(tmp_path / "empty")
    (tmp_path / "empty" / "inner" / "a.png").write_text("")
    with pytest.raises(UserError, match="its folders do: add --recursive"):
        names(tmp_path / "empty")
    (tmp_path / "empty" / "a.czi").write_text("")
    (tmp_path / "empty" / "inner" / "a.png").unlink()
    with pytest.raises(UserError, match=r"1 \.czi, which cannot be read"):
        names(tmp_path / "empty")
