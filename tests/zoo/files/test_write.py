"""Results keep axes and pixel size, and go to disk part by part."""

import numpy as np
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.files.read import open_stack
from kerazoo.files.write import create_tiff, fill


@pytest.mark.parametrize("axes", ["TZCYX", "ZYX", "YX", "CYX"])
def test_axes_and_pixel_size_are_kept(tmp_path, axes):
    shape = tuple({"T": 2, "Z": 3, "C": 2, "Y": 20, "X": 31}[axis] for axis in axes)
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros(shape, "uint16"), imagej=True, resolution=(2, 4),
        metadata={"axes": axes, "unit": "um", "spacing": 1.5, "finterval": 7.0},
    )  # fmt: skip
    source = open_stack(tmp_path / "a.tif")
    random = np.random.default_rng(0)
    for name, inner, values in (
        ("labels.tif", "YX", random.integers(0, 99, (*source.leading_shape, 20, 31)).astype(np.uint16)),
        ("probabilities.tif", "YXC", random.random((*source.leading_shape, 20, 31, 3), dtype="float32")),
    ):
        created = create_tiff(
            tmp_path / name, source.axes[:-3] + inner, values.shape, values.dtype, source.pixel_size, source.metadata
        )
        created[...] = values
        del created
        written = open_stack(tmp_path / name)
        assert written.axes == source.axes
        assert written.pixel_size == pytest.approx((0.25, 0.5))
        assert written.metadata == source.metadata
        expected = values.reshape(*source.leading_shape, 20, 31, -1)
        np.testing.assert_array_equal(np.stack(list(written.planes())).reshape(expected.shape), expected)


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
