"""Masks: what is stored, and what it means by the configuration."""

import numpy as np
import PIL.Image
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.files.masks import read_mask

RANDOM = np.random.default_rng(0)
LABELS, BINARY, CLASSES = (DataConfig(annotation=kind) for kind in ("labels", "binary", "classes"))


def test_palette_masks_are_indices(tmp_path):
    indices = RANDOM.integers(0, 4, (30, 41)).astype("uint8")
    picture = PIL.Image.fromarray(indices).convert("P")
    picture.putpalette([0, 64, 128, 64, 128, 0, 243, 152, 0, 255, 255, 255])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", CLASSES), indices)
    assert read_mask(tmp_path / "a.png", CLASSES).dtype == np.int32


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "bool"])
def test_masks(tmp_path, dtype):
    labels = RANDOM.integers(0, 200, (30, 41)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", labels, compression="zlib")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif", LABELS), labels)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif", BINARY), labels != 0)


def test_ignored_pixels_of_binary_masks_are_kept(tmp_path):
    PIL.Image.fromarray(np.array([[0, 255, 128]], "uint8")).save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        read_mask(tmp_path / "a.png", DataConfig(annotation="binary", ignore=128)), [[0, 1, 128]]
    )


def test_grey_masks_saved_as_colour_are_read(tmp_path):
    grey = RANDOM.integers(0, 4, (30, 41)).astype("uint8")
    PIL.Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", CLASSES), grey)


def tiff(folder, values, **options):
    tifffile.imwrite(folder / "a.tif", values, **options)
    return folder / "a.tif"


@pytest.mark.parametrize(
    ("values", "data", "expected"),
    [
        (np.array([[0.0, 3.0]], "float32"), LABELS, [[0, 3]]),
        (np.array([[0, 3_000_000_000, 7]], "uint32"), LABELS, [[0, 2, 1]]),
        (np.array([[-1, 0, 5]], "int16"), DataConfig(background=-1), [[0, 6, 5]]),
        (np.array([[-1, 0, 5]], "int16"), DataConfig(ignore=-1), [[-1, 0, 5]]),
        (np.array([[1, 2, 0]], "uint8"), DataConfig(background=1), [[0, 2, 0]]),
        (np.array([[1, 2, 0]], "uint8"), DataConfig(background=2, ignore=0), [[1, 0, -1]]),
        (np.array([[4, 0, 4, 4]], "uint8"), DataConfig(split_labels=True), [[1, 0, 2, 2]]),
        (np.array([[4, 0, 1, 4]], "uint8"), DataConfig(split_labels=True, ignore=1), [[2, 0, 1, 3]]),
        (np.array([[1, 2, 2]], "uint8"), DataConfig(annotation="binary", background=2), [[1, 0, 0]]),
        (np.array([[0.2, 0.7]], "float32"), DataConfig(annotation="binary", threshold=0.5), [[0, 1]]),
        (
            np.array([[0, 128, 255, 9]], "uint8"),
            DataConfig(annotation="classes", classes=["a", "b", "c"], class_values=[255, 0, 128], ignore=9),
            [[1, 2, 0, 9]],
        ),
        (
            np.array([[0, 1, 2]], "uint8"),
            DataConfig(annotation="classes", classes=["a", "b"], class_values=[1, 2], ignore=0),
            [[255, 0, 1]],
        ),
    ],
    ids=str,
)  # fmt: skip
def test_what_values_mean(tmp_path, values, data, expected):
    mask = read_mask(tiff(tmp_path, values), data)
    np.testing.assert_array_equal(mask, expected)
    assert mask.dtype == np.int32


@pytest.mark.parametrize("bits", [1, 8, 16])
def test_white_is_zero(tmp_path, bits):
    drawn = np.zeros((9, 16), bool)
    drawn[2:5, 3:9] = True
    stored = ~drawn if bits == 1 else np.where(drawn, 0, 2**bits - 1).astype(f"uint{bits}")
    np.testing.assert_array_equal(
        read_mask(tiff(tmp_path, stored, photometric="miniswhite", software="scanner"), BINARY), drawn
    )


def test_colours(tmp_path):
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], "uint8")
    classes = RANDOM.integers(0, 3, (20, 30))
    PIL.Image.fromarray(colours[classes]).save(tmp_path / "a.png")
    named = {"annotation": "classes", "classes": ["b", "t", "s"], "class_values": ["#000000", "#FF0000", "#00FF00"]}
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", DataConfig(**named)), classes)
    fewer = {name: value[:2] if name != "annotation" else value for name, value in named.items()}
    with pytest.raises(UserError, match=r"a\.png has the colour #00FF00 on \d+ pixels.*--class NAME=#00FF00"):
        read_mask(tmp_path / "a.png", DataConfig(**fewer))
    with pytest.raises(UserError, match=r"a\.png is a colour picture.*--class NAME=#0000"):
        read_mask(tmp_path / "a.png", LABELS)


def test_masks_that_are_refused(tmp_path):
    colour = RANDOM.integers(0, 255, (30, 41, 3)).astype("uint8")
    PIL.Image.fromarray(colour).save(tmp_path / "colour.png")
    PIL.Image.fromarray(colour[..., 0]).save(tmp_path / "lossy.jpg")
    tifffile.imwrite(tmp_path / "float.tif", colour[..., 0] / np.float32(255))
    tifffile.imwrite(tmp_path / "stack.tif", colour[:5], photometric="minisblack", metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "negative.tif", np.array([[-2, -1, 0]], "int16"))
    for name, problem in {
        "colour.png": "colours, as a photograph.*swapped",
        "lossy.jpg": "JPEG.*--threshold",
        "float.tif": "float mask.*--threshold",
        "stack.tif": "stack",
        "negative.tif": "down to -2.*--background.*--ignore",
        "absent.tif": "no file",
    }.items():
        with pytest.raises(UserError, match=problem) as error:
            read_mask(tmp_path / name, DataConfig(background=-1) if name == "negative.tif" else LABELS)
        assert name in str(error.value)
    assert set(np.unique(read_mask(tmp_path / "lossy.jpg", DataConfig(annotation="binary", threshold=128)))) == {0, 1}
