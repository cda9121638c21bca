"""Pairing by names as people have them, and what is said where it does not succeed."""

import json
import unicodedata

import numpy as np
import PIL.Image
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.files.folders import find_classes, find_pairs
from kerazoo.files.pairs import load_pair, pairs_of


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return folder


def paired(folder, images="images", masks="masks"):
    found = find_pairs(folder / images, folder / masks)
    return {pair.image.name: pair.mask.name for pair in found}


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("000_img.tif", "000_masks.tif"),
        ("a_image.png", "a_mask.png"),
        ("img_7.tif", "mask_7.tif"),
        ("image1.png", "label1.png"),
        ("sl 1 [d=1,x=0,y=0].tif", "sl 1 [d=1,x=0,y=0]-labelled.tif"),
        ("a.tif", "a-labels.tif"),
        ("a.tif", "a_Mask.TIF"),
        ("a.tif", "A.png"),
        ("a.tif", "a.tif_mask.png"),
        ("a.ome.tif", "a.ome.tif.geojson"),
        ("a.tif", "a_Simple Segmentation.tiff"),
        ("a.tif", "a_seg.npy"),
        ("a.tif", "a_RoiSet.zip"),
        ("a.bmp", "a_cp_masks.png"),
        (unicodedata.normalize("NFC", "zélle.tif"), unicodedata.normalize("NFD", "zélle.tif")),
    ],
)
def test_names(tmp_path, image, mask):
    touch(tmp_path, f"images/{image}", f"masks/{mask}", "images/second.tif", "masks/second.tif")
    assert paired(tmp_path) == {image: mask, "second.tif": "second.tif"}
    both = touch(tmp_path / "both", image, "second.tif", "second_mask.tif")
    if mask not in ("A.png", unicodedata.normalize("NFD", "zélle.tif")):
        touch(both, mask)
        assert paired(both, "", "")[image] == mask


def test_names_that_are_images_of_their_own(tmp_path):
    touch(tmp_path, "images/c.tif", "images/c_2.tif", "images/c_img.tif")
    touch(tmp_path, "masks/c_mask.tif", "masks/c_2_mask.tif", "masks/c_img_mask.tif")
    assert paired(tmp_path) == {"c.tif": "c_mask.tif", "c_2.tif": "c_2_mask.tif", "c_img.tif": "c_img_mask.tif"}


def test_folders_within_folders(tmp_path):
    touch(
        tmp_path, "images/p1/a.tif", "images/p2/a.tif", "masks/p1/a.tif", "masks/p2/a_mask.tif", "images/__MACOSX/a.tif"
    )
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert [(pair.id, pair.mask.parent.name) for pair in pairs] == [("p1/a", "p1"), ("p2/a", "p2")]


def test_a_folder_for_each_image(tmp_path):
    touch(tmp_path, "id0/images/id0.png", "id0/masks/o1.png", "id0/masks/o2.png", "id1/images/x.png", "id1/masks/x.png")
    first, second = find_pairs(tmp_path, tmp_path)
    assert (first.id, first.image.name, first.mask) == ("id0", "id0.png", tmp_path / "id0" / "masks")
    assert (second.id, second.mask.name) == ("id1", "x.png")
    touch(tmp_path / "flat", "images/a.png", "images/b.png", "masks/a/1.png", "masks/a/2.png", "masks/b_masks/1.png")
    assert paired(tmp_path / "flat") == {"a.png": "a", "b.png": "b_masks"}


def test_one_file_for_all_images(tmp_path):
    touch(tmp_path, "images/a.tif", "images/b.tif")
    content = {"images": [{"id": 1, "file_name": "A.tif"}, {"id": 2, "file_name": "x/b.tif"}], "annotations": []}
    (tmp_path / "masks").mkdir()
    path = tmp_path / "masks" / "coco.json"
    path.write_text(json.dumps(content))
    for masks in ("masks", "masks/coco.json"):
        assert paired(tmp_path, masks=masks) == {"a.tif": "coco.json", "b.tif": "coco.json"}
    touch(tmp_path, "images/b2.tif")
    with pytest.raises(UserError, match=r"b2\.tif has no annotations in .*coco\.json.* nearest name in it is .*b\.tif"):
        paired(tmp_path)
    touch(tmp_path, "masks.tif")
    with pytest.raises(UserError, match=r"one file for 3 images.*COCO"):
        paired(tmp_path, masks="masks.tif")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["images/cell_01.tif", "masks/cell_1.tif"], r"cell_01\.tif has no mask .* nearest name .* is cell_1\.tif"),
        (
            ["images/a.tif", "masks/a.czi", "masks/b.tif"],
            r"a\.czi has its name, but files ending in \.czi cannot be read",
        ),
        (["images/a.czi", "masks/a.tif"], r"images holds no images \(but 1 \.czi, which cannot be read here\)"),
        (["images/a.tif", "masks/a.docx"], r"masks holds no masks \(but 1 \.docx.*\.roi"),
        (["images/a.tif", "images/b.tif", "masks/a.tif", "masks/a.png"], "has 2 masks"),
    ],
)
def test_what_is_said(tmp_path, names, message):
    with pytest.raises(UserError, match=message):
        paired(touch(tmp_path, *names))


def test_one_folder_without_masks(tmp_path):
    with pytest.raises(UserError, match="given for the images and for the masks, and holds no masks"):
        paired(touch(tmp_path, "a.png", "b.png"), "", "")


def test_folders_of_classes(tmp_path):
    touch(tmp_path / "mac", "benign #1/a.png", "malign/a.png", "__MACOSX/x.png", ".DS_Store", "readme.txt")
    assert [pair.category for pair in find_classes(tmp_path / "mac")] == ["benign #1", "malign"]
    touch(tmp_path / "divided", "train/a/1.png", "val/a/2.png")
    with pytest.raises(UserError, match=r"divided into train and val.*--folder .*train"):
        find_classes(tmp_path / "divided")


def test_tables_of_windows(tmp_path):
    image = np.arange(64, dtype="uint8").reshape(8, 8)
    for name in ("images/a.tif", "masks/a.tif"):
        (tmp_path / name).parent.mkdir()
        tifffile.imwrite(tmp_path / name, image // (32 if "masks" in name else 1))
    (tmp_path / "t.csv").write_text("image;mask\nimages\\a.tif;masks\\a.tif\n")
    (pair,) = pairs_of(DataConfig(table=tmp_path / "t.csv"))
    assert load_pair(pair, DataConfig()).mask.max() == 1


def test_pictures_as_viewers_show_them(tmp_path):
    """See `tests/zoo/files/test_appearance.py`; here with a mask that was drawn on what is shown."""
    upright = np.random.default_rng(0).integers(0, 255, (24, 40)).astype("uint8")
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    exif = PIL.Image.Exif()
    exif[274] = 6
    PIL.Image.fromarray(np.rot90(upright)).save(tmp_path / "images" / "a.png", exif=exif)
    PIL.Image.fromarray((upright > 128).astype("uint8")).save(tmp_path / "masks" / "a.png")
    (pair,) = find_pairs(tmp_path / "images", tmp_path / "masks")
    sample = load_pair(pair, DataConfig(annotation="binary"))
    np.testing.assert_array_equal(sample.image[..., 0] > 128, sample.mask == 1)
