"""Results keep axes and pixel size, and go to disk part by part."""

import numpy as np
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.data.read import open_stack
from kerazoo.data.write import create_tiff, fill, write_labels, write_probabilities


def test_plane(tmp_path):
    labels = np.arange(30 * 40).reshape(30, 40).astype(np.int32)
    write_labels(tmp_path / "a.tif", labels)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_imagej
        assert file.asarray().dtype == np.uint16
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), labels)
    with pytest.raises(UserError, match="--overwrite"):
        write_labels(tmp_path / "a.tif", labels)
    write_labels(tmp_path / "a.tif", labels + 70_000, overwrite=True)
    many = tifffile.imread(tmp_path / "a.tif")
    assert many.dtype == np.float32
    np.testing.assert_array_equal(many, labels + 70_000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize("axes", ["TZCYX", "ZYX", "YX", "CYX"])
def test_axes_and_pixel_size_are_kept(tmp_path, axes):
    shape = tuple({"T": 2, "Z": 3, "C": 2, "Y": 20, "X": 31}[axis] for axis in axes)
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros(shape, "uint16"), imagej=True, resolution=(2, 4),
        metadata={"axes": axes, "unit": "um", "spacing": 1.5, "finterval": 7.0},
    )  # fmt: skip
    source = open_stack(tmp_path / "a.tif")
    labels = np.random.default_rng(0).integers(0, 99, (*source.leading_shape, 20, 31))
    write_labels(tmp_path / "labels.tif", labels, source)
    probabilities = np.random.default_rng(0).random((*source.leading_shape, 20, 31, 3), dtype="float32")
    write_probabilities(tmp_path / "probabilities.tif", probabilities, source)
    for name, values in (("labels.tif", labels[..., None]), ("probabilities.tif", probabilities)):
        written = open_stack(tmp_path / name)
        assert written.axes == source.axes
        assert written.pixel_size == pytest.approx((0.25, 0.5))
        assert written.metadata == source.metadata
        np.testing.assert_array_equal(np.stack(list(written.planes())).reshape(values.shape), values)


def test_axes_in_the_callers_order(tmp_path):
    array = create_tiff(tmp_path / "a.tif", "ZTYXC", (2, 3, 20, 31, 4), np.float32)
    values = np.random.default_rng(0).random(array.shape, dtype="float32")
    for place in np.ndindex(2, 3):
        array[place] = values[place]
    del array
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.series[0].axes == "TZCYX"
        np.testing.assert_array_equal(file.asarray(), values.transpose(1, 0, 4, 2, 3))


def test_filled_row_by_row(tmp_path):
    array = create_tiff(tmp_path / "a.tif", "CYX", (2, 1100, 31), np.uint16)
    values = np.random.default_rng(0).integers(0, 65536, array.shape)
    for place in range(2):
        fill(array[place], values[place])
    np.testing.assert_array_equal(array, values)
    del array
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), values)


def test_what_imagej_has_not(tmp_path):
    with pytest.raises(UserError, match="int32"):
        create_tiff(tmp_path / "a.tif", "YX", (4, 4), np.int32)
    with pytest.raises(UserError, match="QYX"):
        create_tiff(tmp_path / "a.tif", "QYX", (4, 4, 4), np.uint8)
    assert not list(tmp_path.iterdir())
