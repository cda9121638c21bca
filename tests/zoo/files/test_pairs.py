"""Pairing by stem and by table, and every check of a loaded pair."""

import numpy as np
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.files.folders import find_pairs
from kerazoo.files.pairs import Pair, load_pair, pairs_of
from kerazoo.files.table import annotation_of

IMAGE = np.arange(30 * 40, dtype="uint16").reshape(30, 40)
MASK = (IMAGE % 7 == 0).astype("uint8")


def write(path, content=MASK):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, content)
    return path


@pytest.fixture
def folders(tmp_path):
    for name in ("b", "a"):
        write(tmp_path / "images" / f"{name}.tif", IMAGE)
        write(tmp_path / "masks" / f"{name}.tif")
    return tmp_path / "images", tmp_path / "masks"


def test_by_stem(folders):
    pairs = find_pairs(*folders)
    assert [pair.id for pair in pairs] == ["a", "b"]
    assert [(pair.image.name, pair.mask.name) for pair in pairs] == [("a.tif", "a.tif"), ("b.tif", "b.tif")]


def test_other_suffixes_and_endings(tmp_path):
    names = {"a.ome.tif": "a.tif", "b.tiff": "b_cp_masks.tif", "c.tif": "c_label.tif", "c_2.tif": "c_2.tif"}
    for image, mask in names.items():
        write(tmp_path / "images" / image, IMAGE)
        write(tmp_path / "masks" / mask)
    (tmp_path / "images" / "notes.txt").write_text("")
    (tmp_path / "images" / ".hidden.tif").write_text("")
    pairs = find_pairs(tmp_path / "images", tmp_path / "masks")
    assert {pair.image.name: pair.mask.name for pair in pairs} == names
    assert [pair.id for pair in pairs] == ["a", "b", "c", "c_2"]


def test_one_folder_for_both(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tif", IMAGE)
        write(tmp_path / f"{name}_masks.tif")
    assert [(p.id, p.mask.name) for p in find_pairs(tmp_path, tmp_path)] == [("a", "a_masks.tif"), ("b", "b_masks.tif")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, masks: (masks / "a.tif").unlink(), r"images.a\.tif has no mask in .*masks: give"),
        (lambda images, masks: (images / "a.tif").unlink(), r"masks.a\.tif has no image in .*images: give"),
        (lambda images, masks: write(images / "a.tiff", IMAGE), r"a\.tiff and a\.tif have the same stem"),
        (lambda images, masks: write(masks / "a_mask.tif"), r"a\.tif has 2 masks .*a\.tif and a_mask\.tif"),
        (lambda images, masks: [path.unlink() for path in masks.iterdir()], "masks holds no masks"),
        (lambda images, masks: images.rename(images.parent / "gone"), "no folder .*images"),
    ],
)
def test_unpaired(folders, change, message):
    change(*folders)
    with pytest.raises(UserError, match=message):
        find_pairs(*folders)


def test_by_table(folders):
    table = folders[0].parent / "pairs.csv"
    table.write_text("image,mask,group,plate\nimages/a.tif,masks/a.tif,mouse1,p1\nimages/b.tif,masks/b.tif,mouse2,p1\n")
    pairs = pairs_of(DataConfig(table=table))
    assert [(pair.id, pair.group, pair.columns["plate"]) for pair in pairs] == [
        ("a", "mouse1", "p1"),
        ("b", "mouse2", "p1"),
    ]
    assert pairs[0].image == folders[0] / "a.tif"


@pytest.mark.parametrize(
    "text",
    [
        "image;mask;group\nimages/a.tif;masks/a.tif;mouse 1, left\nimages/b.tif;masks/b.tif;mouse2\n",
        '"image","mask","group"\n"images/a.tif","masks/a.tif","mouse 1, left"\nimages/b.tif,masks/b.tif,mouse2\n',
        "image\tmask\tgroup\nimages/a.tif\tmasks/a.tif\tmouse 1, left\nimages/b.tif\tmasks/b.tif\tmouse2\n",
        ' image , mask,group \n\nimages/a.tif ,masks/a.tif, "mouse 1, left"\nimages/b.tif , masks/b.tif,mouse2 \n,,\n',
        "\ufeffimage;mask;group\r\nimages/a.tif;masks/a.tif;mouse 1, left\r\nimages/b.tif;masks/b.tif;mouse2\r\n;;\r\n",
    ],
    ids=["semicolons", "quotes", "tabs", "spaces", "Excel"],
)
def test_tables_of_every_origin(folders, text):
    path = folders[0].parent / "pairs.csv"
    path.write_bytes(text.encode())
    pairs = pairs_of(DataConfig(table=path))
    assert [(pair.id, pair.group) for pair in pairs] == [("a", "mouse 1, left"), ("b", "mouse2")]
    assert pairs[0].columns == {"image": "images/a.tif", "mask": "masks/a.tif", "group": "mouse 1, left"}


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("file,class", "image"),
        ('"file";"class"', "image"),
        ("file ; class ", "image"),
        ("file,label", "image"),
        ("image,mask", "classes"),
        ("image;mask;file", "classes"),
        ("", "classes"),
    ],
)
def test_what_a_table_annotates(tmp_path, heading, kind):
    (tmp_path / "table.csv").write_text(f"{heading}\n")
    assert annotation_of({"table": tmp_path / "table.csv"}) == kind


def test_a_table_without_classes_is_asked_for_them(tmp_path):
    (tmp_path / "table.csv").write_text("file,label\na.png,tumour\n")
    with pytest.raises(UserError, match=r"no column 'class' \(it has file, label\).*file, class"):
        pairs_of(DataConfig(table=tmp_path / "table.csv", annotation="image"))


def test_spaces_make_no_classes(folders):
    table = folders[0].parent / "classes.csv"
    table.write_text("file, class\nimages/a.tif, tumour \nimages/b.tif,tumour\n")
    assert {pair.category for pair in pairs_of(DataConfig(table=table, annotation="image"))} == {"tumour"}


def test_same_names_in_several_folders(tmp_path):
    rows = ["image,mask"]
    for day in ("day1", "day2"):
        write(tmp_path / day / "a.tif", IMAGE)
        write(tmp_path / day / "m.tif")
        rows.append(f"{day}/a.tif,{day}/m.tif")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    assert [pair.id for pair in pairs_of(DataConfig(table=tmp_path / "pairs.csv"))] == ["day1/a.tif", "day2/a.tif"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image\nimages/a.tif\n", "no column 'mask'"),
        ("image,mask\n", "no rows"),
        ("image,mask\nimages/a.tif,\n", "line 2: the column 'mask' is empty"),
        ("image,mask\nimages/a.tif\n", "line 2: the column 'mask' is empty"),
        ("image,mask\nimages/a.tif,masks/z.tif\n", r"line 2: there is no file .*z\.tif"),
        ("image,mask\n" + "images/a.tif,masks/a.tif\n" * 2, "line 3: .*twice"),
        ("image,mask\n\nimages/a.tif,masks/z.tif\n", "line 3: there is no file"),
        ("image,mask\nimages/a,b.tif,masks/a.tif\n", "line 2: there are 3 cells, but the first line names 2"),
        ("image,mask,mask\nimages/a.tif,masks/a.tif,x\n", "has 2 columns 'mask'"),
        ("path,label\na,b\n", "no column 'image' .*path, label.* image, mask or, of images .*file, class"),
    ],
)
def test_bad_tables(folders, text, message):
    table = folders[0].parent / "pairs.csv"
    table.write_text(text)
    with pytest.raises(UserError, match=message):
        pairs_of(DataConfig(table=table))


def test_configuration_without_data(tmp_path):
    with pytest.raises(UserError, match=r"--images and --masks, --folder .* or --table"):
        pairs_of(DataConfig())
    with pytest.raises(UserError, match=r"The masks are missing: .*--masks \(data\.masks\)"):
        pairs_of(DataConfig(images=tmp_path))
    with pytest.raises(UserError, match="both"):
        pairs_of(DataConfig(images=tmp_path, table=tmp_path / "a.csv"))


def test_load(folders):
    pair = find_pairs(*folders)[0]
    sample = load_pair(pair, DataConfig())
    assert (sample.id, sample.image.shape, sample.image.dtype) == ("a", (30, 40, 1), np.uint16)
    assert (sample.mask.shape, sample.mask.dtype) == ((30, 40), np.int32)


@pytest.mark.parametrize(
    ("image", "mask", "data", "message"),
    [
        (np.full_like(IMAGE, 7), MASK, {}, r"image\.tif is constant"),
        (IMAGE, MASK[:-1], {}, r"mask\.tif is 40 x 29 pixels, but its image image\.tif is 40 x 30"),
        (IMAGE, 0 * MASK, {}, r"mask\.tif is empty"),
        (IMAGE, 0 * MASK, {"annotation": "binary"}, r"mask\.tif is empty"),
        (IMAGE, 0 * MASK + 9, {"ignore": 9}, r"mask\.tif is empty"),
        (IMAGE, MASK.astype("int16") - 1, {}, r"mask\.tif has negative values"),
        (IMAGE, 3 * MASK, {"annotation": "classes", "classes": ["a", "b", "c"]}, r"mask\.tif has the value 3"),
        (IMAGE, MASK / 2, {}, r"mask\.tif is a float mask.*0\.5.*--threshold"),
        (IMAGE, MASK, {"channels": 2}, r"image\.tif has 1 channel instead of the expected 2"),
    ],
)
def test_refused_pairs(tmp_path, image, mask, data, message):
    pair = Pair("a", write(tmp_path / "image.tif", image), write(tmp_path / "mask.tif", mask))
    with pytest.raises(UserError, match=message):
        load_pair(pair, DataConfig(**data))


def test_accepted_pairs(tmp_path):
    empty = Pair("a", write(tmp_path / "image.tif", IMAGE), write(tmp_path / "mask.tif", 0 * MASK))
    assert load_pair(empty, DataConfig(empty_masks=True)).mask.max() == 0
    classes = DataConfig(annotation="classes", classes=["a", "b"])
    assert load_pair(empty, classes).mask.max() == 0, "one class only is not an empty mask"
    ignored = Pair("a", empty.image, write(tmp_path / "ignored.tif", np.where(MASK, 255, 0).astype("uint8")))
    assert load_pair(ignored, DataConfig(annotation="classes", classes=["a"], ignore=255)).mask.max() == 255


def test_real_sets(data_folder):
    folder = data_folder("histology_wsss4luad") / "val"
    data = DataConfig(annotation="classes", classes=["tumour", "stroma", "normal", "background"], channels=3)
    pairs = find_pairs(folder / "images", folder / "masks")
    assert len(pairs) == 15
    masks = [load_pair(pair, data).mask for pair in pairs]
    assert set(np.unique(np.concatenate([mask.ravel() for mask in masks]))) <= {0, 1, 2, 3}
    folder = data_folder("bacteria_omnipose")
    pairs = find_pairs(folder / "images", folder / "masks")
    assert [pair.mask.name for pair in pairs] == [f"{pair.id}_cp_masks.tif" for pair in pairs]
    assert len(pairs) == 4
