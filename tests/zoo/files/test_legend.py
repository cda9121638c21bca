"""Class maps say what their values mean, in the file and beside it."""

import csv

import numpy as np
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.files.legend import class_colours, lookup_table, write_legend
from kerazoo.files.write import create_tiff


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 40, 256])
def test_imagej_shows_every_class_in_its_colour(count):
    """ImageJ divides the display range into 256 entries, and rounds."""
    entries = np.minimum((np.arange(count) * 256 / count + 0.5).astype(int), 255)
    shown = ["#" + bytes(colour).hex().upper() for colour in (lookup_table(count)[:, entries].T >> 8).astype("uint8")]
    assert shown == class_colours(count)
    if count <= 40:
        assert len(set(shown)) == count


@pytest.mark.parametrize("axes", ["YX", "TYX", "ZYX"])
def test_a_map_holds_its_names(tmp_path, axes):
    shape = (3, 20, 31)[-len(axes) :]
    values = np.random.default_rng(1).integers(0, 3, shape)
    array = create_tiff(tmp_path / "a.tif", axes, shape, np.uint16, classes=["gut", "muscle", "bone"])
    array[...] = values
    del array
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        stated = file.imagej_metadata or {}
        assert stated["Info"].splitlines()[1:] == ["0: gut", "1: muscle", "2: bone"]
        assert (stated["min"], stated["max"]) == (0, 2)
        np.testing.assert_array_equal(file.asarray(), values)


def test_table(tmp_path):
    write_legend(tmp_path / "classes.csv", ["gut, upper", "bone"])
    with (tmp_path / "classes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows == [["value", "class", "colour"], ["0", "gut, upper", "#56B4E9"], ["1", "bone", "#E69F00"]]
    with pytest.raises(UserError, match="exists already"):
        write_legend(tmp_path / "classes.csv", ["gut"])
