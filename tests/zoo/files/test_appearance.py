"""Images are read as viewers show them: orientation, white as zero, palettes, grey stored as colour, series."""

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.files.read import open_stack, read_image

RANDOM = np.random.default_rng(0)
PLANE = RANDOM.integers(0, 255, (20, 30)).astype("uint8")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation(tmp_path, orientation, suffix):
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        exif = PIL.Image.Exif()
        exif[274] = orientation
        PIL.Image.fromarray(PLANE).save(path, exif=exif)
    else:
        tifffile.imwrite(path, PLANE, extratags=[(274, 3, 1, orientation, True)])
    expected = PIL.Image.fromarray(PLANE)
    expected.getexif()[274] = orientation
    expected = np.asarray(PIL.ImageOps.exif_transpose(expected))
    assert open_stack(path).plane_shape == (*expected.shape, 1)
    np.testing.assert_array_equal(read_image(path)[..., 0], expected)


def test_pixel_size_is_turned_too(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", PLANE, imagej=True, resolution=(4, 2), metadata={"axes": "YX", "unit": "um"},
        extratags=[(274, 3, 1, 6, True)],
    )  # fmt: skip
    assert open_stack(tmp_path / "a.tif").pixel_size == pytest.approx((0.25, 0.5))


def test_white_is_zero(tmp_path):
    for dtype, top in (("uint8", 255), ("uint16", 65535)):
        tifffile.imwrite(tmp_path / "a.tif", top - PLANE.astype(dtype), photometric="miniswhite")
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], PLANE)


def test_palettes(tmp_path):
    colours = RANDOM.integers(0, 256, (3, 256)).astype("uint16")
    tifffile.imwrite(tmp_path / "a.tif", PLANE, colormap=colours * 257)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), colours.T.astype("uint8")[PLANE])
    assert open_stack(tmp_path / "a.tif").plane_shape == (20, 30, 3)
    green = np.zeros((3, 256), "uint16")
    green[1] = np.arange(256) * 257
    tifffile.imwrite(tmp_path / "tinted.tif", PLANE, colormap=green)
    np.testing.assert_array_equal(read_image(tmp_path / "tinted.tif")[..., 0], PLANE, "a lookup table of intensities")


def test_grey_that_is_stored_as_colour(tmp_path):
    grey = np.dstack([PLANE] * 3)
    tifffile.imwrite(tmp_path / "grey.tif", grey, photometric="rgb")
    PIL.Image.fromarray(np.dstack([grey, np.full_like(PLANE, 255)])).save(tmp_path / "grey.png")
    for name in ("grey.tif", "grey.png"):
        assert open_stack(tmp_path / name, channels=1).is_checked_by_reading
        np.testing.assert_array_equal(read_image(tmp_path / name, channels=1)[..., 0], PLANE)
        assert read_image(tmp_path / name).shape[2] == 3
    grey[3, 4] = 1, 2, 3
    tifffile.imwrite(tmp_path / "colour.tif", grey, photometric="rgb")
    with pytest.raises(UserError, match=r"colour\.tif has 3 channels instead of the expected 1: .*--channel"):
        read_image(tmp_path / "colour.tif", channels=1)


def test_channels_are_picked(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([PLANE, 255 - PLANE]), imagej=True, metadata={"axes": "CYX"})
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", channels=1, channel=[2])[..., 0], 255 - PLANE)
    assert read_image(tmp_path / "a.tif", channel=[2, 1]).shape == (20, 30, 2)
    with pytest.raises(UserError, match=r"a\.tif has 2 channels, none of the number 3: correct --channel"):
        read_image(tmp_path / "a.tif", channel=[3])
    with pytest.raises(UserError, match=r"2 channels instead of the expected 1.*--channel.*--axes.*ZYX"):
        read_image(tmp_path / "a.tif", channels=1)


def test_several_images_in_one_file(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PLANE[:9, :9])
        file.write(PLANE)
    with pytest.raises(
        UserError, match=r"2 images of different size \(1: 9 x 9, 2: 20 x 30\).*the largest is --series 2"
    ):
        open_stack(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", series=2)[..., 0], PLANE)
    with pytest.raises(UserError, match="2 series, none of the number 3"):
        open_stack(tmp_path / "a.tif", series=3)


def test_thumbnails_are_passed_over(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PLANE[::4, ::4], subfiletype=1)
        file.write(PLANE)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], PLANE)


def test_what_is_missing_is_filled(tmp_path):
    values = PLANE.astype("float32")
    values[0] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(UserError, match=r"30 NaN or infinite pixels.*--fill"):
        read_image(tmp_path / "a.tif")
    filled = read_image(tmp_path / "a.tif", fill=7)[..., 0]
    assert (filled[0] == 7).all()
    np.testing.assert_array_equal(filled[1:], PLANE[1:])


@pytest.mark.parametrize("axes", ["ZZZ", "QQ", "Y"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_axes_that_are_none(tmp_path, axes, suffix):
    path = tmp_path / f"a{suffix}"
    PIL.Image.fromarray(PLANE).save(path)
    with pytest.raises(UserError, match=f"axes '{axes}' are not understood: use Y, X and each of T, Z, C"):
        open_stack(path, axes)
