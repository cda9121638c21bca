"""Reading: what comes back is (y, x, channel) whatever the file's dialect, and what cannot be known is asked for."""

import numpy as np
import PIL.Image
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.files.masks import read_mask
from kerazoo.files.read import open_stack, read_image

RANDOM = np.random.default_rng(0)
PLANE = RANDOM.integers(0, 60000, (3, 40, 52)).astype("uint16")


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_any_type_of_tiff(tmp_path, dtype, compression):
    values = (PLANE[0] % 100).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, compression=compression)
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == values.dtype
    np.testing.assert_array_equal(image[..., 0], values)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("YX", (40, 52)),
        ("CYX", (3, 40, 52)),
        ("ZCYX", (4, 3, 40, 52)),
        ("TZYX", (2, 4, 40, 52)),
        ("TZCYX", (2, 4, 3, 40, 52)),
        ("YXS", (40, 52, 3)),
        ("ZYXS", (4, 40, 52, 3)),
    ],
)
def test_imagej_hyperstacks(tmp_path, axes, shape, compression, byteorder):
    values = RANDOM.integers(0, 255, shape).astype("uint8" if "S" in axes else "uint16")
    tifffile.imwrite(
        tmp_path / "a.tif", values, imagej=True, metadata={"axes": axes}, compression=compression, byteorder=byteorder
    )
    stack = open_stack(tmp_path / "a.tif")
    channel = axes.replace("S", "C").find("C")
    expected = np.moveaxis(values, channel, -1) if channel >= 0 else values[..., None]
    assert stack.axes == axes.replace("S", "").replace("C", "") + "C"
    assert stack.leading_shape == expected.shape[:-3]
    assert stack.plane_shape == expected.shape[-3:]
    assert stack.dtype == values.dtype
    planes = list(stack.planes())
    np.testing.assert_array_equal(np.stack(planes).reshape(expected.shape), expected)
    assert planes[0].dtype.isnative


def test_channels_in_either_order(tmp_path):
    tifffile.imwrite(tmp_path / "cyx.tif", PLANE, metadata={"axes": "CYX"}, photometric="minisblack")
    tifffile.imwrite(
        tmp_path / "yxc.tif", np.moveaxis(PLANE, 0, -1), metadata={"axes": "YXC"}, photometric="minisblack"
    )
    tifffile.imwrite(tmp_path / "ome.tif", PLANE, ome=True, metadata={"axes": "CYX"}, photometric="minisblack")
    for name in ("cyx.tif", "yxc.tif", "ome.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name, channels=3), np.moveaxis(PLANE, 0, -1))


@pytest.mark.parametrize("planar", [False, True])
def test_rgb(tmp_path, planar):
    picture = (PLANE % 255).astype("uint8")
    tifffile.imwrite(
        tmp_path / "a.tif",
        picture if planar else np.moveaxis(picture, 0, -1),
        photometric="rgb",
        planarconfig="separate" if planar else "contig",
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.moveaxis(picture, 0, -1))


def test_ambiguous_axes_are_asked_for(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PLANE, photometric="minisblack")
    with pytest.raises(UserError, match=r"a\.tif.*data\.axes.*--axes.*CYX, ZYX, TYX"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, axes="CYX"), np.moveaxis(PLANE, 0, -1))
    assert [plane.shape for plane in open_stack(path, axes="ZYX").planes()] == [(40, 52, 1)] * 3
    with pytest.raises(UserError, match="stack of planes"):
        read_image(path, axes="ZYX")
    with pytest.raises(UserError, match="names 4"):
        read_image(path, axes="TCYX")
    for wrong in ("QQ", "CXX", "YC"):
        with pytest.raises(UserError, match=wrong):
            read_image(path, axes=wrong)


def test_ambiguous_proposals_are_plausible(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 52, 2), "float32"))
    with pytest.raises(UserError, match="one of YXC, ZYX, TYX"):
        read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((30, 40, 52), "float32"))
    with pytest.raises(UserError, match="one of ZYX, TYX"):
        read_image(tmp_path / "b.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", axes="YXC").shape, (40, 52, 2))


def test_axes_of_length_one_are_not_ambiguous(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PLANE[:1])
    assert read_image(tmp_path / "a.tif").shape == (40, 52, 1)
    assert read_image(tmp_path / "a.tif", axes="CYX").shape == (40, 52, 1)


def test_png_of_every_mode(tmp_path):
    grey, colour = (PLANE[0] % 255).astype("uint8"), np.moveaxis(PLANE % 255, 0, -1).astype("uint8")
    PIL.Image.fromarray(grey).save(tmp_path / "grey.png")
    PIL.Image.fromarray(PLANE[0]).save(tmp_path / "grey16.png")
    PIL.Image.fromarray(colour).save(tmp_path / "colour.png")
    PIL.Image.fromarray(grey > 100).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[..., 0], grey)
    np.testing.assert_array_equal(read_image(tmp_path / "grey16.png")[..., 0], PLANE[0])
    np.testing.assert_array_equal(read_image(tmp_path / "colour.png"), colour)
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png")[..., 0], grey > 100)


def test_16_bit_colour_png_keeps_its_depth(tmp_path):
    import imagecodecs

    picture = np.ascontiguousarray(np.moveaxis(PLANE, 0, -1))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(picture))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), picture)


def test_jpeg(tmp_path):
    smooth = np.add.outer(np.arange(64), np.arange(80)).astype("uint8")
    PIL.Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg")[..., 0].astype(int) - smooth).max() <= 3


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_transparency_is_dropped_only_where_uniform(tmp_path, suffix):
    picture = np.dstack([np.moveaxis(PLANE % 255, 0, -1), np.full((40, 52), 255)]).astype("uint8")
    path = tmp_path / f"a{suffix}"

    def write():
        if suffix == ".png":
            PIL.Image.fromarray(picture).save(path)
        else:
            tifffile.imwrite(path, picture, photometric="rgb", extrasamples=["unassalpha"])

    write()
    np.testing.assert_array_equal(read_image(path, channels=3), picture[..., :3])
    picture[3, 4, 3] = 17
    write()
    with pytest.raises(UserError, match="transparency"):
        read_image(path)
    np.testing.assert_array_equal(read_image(path, channels=4), picture)


def test_wrong_channel_count(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PLANE, imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(UserError, match=r"a\.tif has 3 channels instead of the expected 1.*data\.channels"):
        read_image(tmp_path / "a.tif", channels=1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(tmp_path, bad):
    values = PLANE[0].astype("float32")
    values[5, 6] = bad
    tifffile.imwrite(tmp_path / "a.tif", values)
    with pytest.raises(UserError, match=r"a\.tif has 1 NaN or infinite"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"imagej": True}, {"tile": (16, 16)}])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.02, 0.0])
def test_truncated_tiff(tmp_path, options, kept):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PLANE[0], **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    for read in (read_image, lambda path: read_mask(path, DataConfig())):
        with pytest.raises(UserError, match=r"a\.tif.*(truncated|damaged).*again"):
            read(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_picture(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    PIL.Image.fromarray((PLANE[0] % 255).astype("uint8")).save(path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(UserError, match="truncated"):
        read_image(path)


def test_no_image(tmp_path):
    (tmp_path / "text.tif").write_text("not an image")
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "notes.txt").write_text("not an image")
    for name in ("text.tif", "text.png", "notes.txt", "absent.tif"):
        with pytest.raises(UserError, match=name.replace(".", r"\.")):
            read_image(tmp_path / name)
    tifffile.imwrite(tmp_path / "complex.tif", PLANE[0].astype("complex64"))
    with pytest.raises(UserError, match="complex64"):
        read_image(tmp_path / "complex.tif")


def test_planes_are_read_one_by_one(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((5, 40, 52), "uint16"), imagej=True, metadata={"axes": "ZYX"}, compression="zlib")
    read = []
    original = tifffile.TiffPage.asarray
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda page, *a, **k: read.append(1) or original(page, *a, **k))
    planes = open_stack(path).planes()
    assert len(read) == 0
    next(planes)
    assert len(read) == 1
    next(planes)
    assert len(read) == 2


def test_uncompressed_planes_are_mapped(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((5, 2, 40, 52), "uint16"), imagej=True, metadata={"axes": "ZCYX"})
    base = next(open_stack(path).planes())
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_pixel_size(tmp_path):
    tifffile.imwrite(
        tmp_path / "ij.tif", PLANE[:, None], imagej=True, resolution=(4, 2),
        metadata={"axes": "ZCYX", "unit": "nm", "spacing": 300.0, "finterval": 2.5},
    )  # fmt: skip
    stack = open_stack(tmp_path / "ij.tif")
    assert stack.pixel_size == pytest.approx((0.0005, 0.00025))
    assert stack.metadata == pytest.approx({"spacing": 0.3, "finterval": 2.5})
    tifffile.imwrite(
        tmp_path / "ome.tif",
        PLANE,
        ome=True,
        photometric="minisblack",
        metadata={
            "axes": "ZYX",
            "PhysicalSizeX": 0.5,
            "PhysicalSizeY": 700.0,
            "PhysicalSizeYUnit": "nm",
            "PhysicalSizeZ": 2.0,
        },
    )
    stack = open_stack(tmp_path / "ome.tif")
    assert stack.pixel_size == pytest.approx((0.7, 0.5))
    assert stack.metadata == {"spacing": 2.0}
    tifffile.imwrite(tmp_path / "dpi.tif", PLANE[0], resolution=(72, 72))
    assert open_stack(tmp_path / "dpi.tif").pixel_size is None


def test_real_files(data_folder):
    folder = data_folder("bacteria_omnipose")
    assert read_image(folder / "images" / "Sample000033.png").shape == (287, 377, 3)
    assert read_image(folder / "images" / "Sample000306.tiff").shape == (396, 390, 3)
    assert read_image(folder / "images" / "caulo_15.tif", channels=1).dtype == np.uint16
    folder = data_folder("cells_usiigaci") / "train"
    assert read_image(folder / "images" / "set21.tif").shape == (1022, 1024, 1)
    assert 38 <= len(np.unique(read_mask(folder / "masks" / "set21.png", DataConfig()))) - 1 <= 114


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
def test_header_of_a_picture_tells_what_is_read(tmp_path, mode):
    picture = PIL.Image.new(mode, (40, 30), 1 if mode in ("1", "L", "P", "I;16") else None)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    picture.save(path)
    stack = open_stack(path)
    plane = next(stack.planes())
    assert plane.shape == stack.plane_shape == (30, 40, {"1": 1, "L": 1, "LA": 1, "I;16": 1}.get(mode, 3))
    assert plane.dtype == stack.dtype
