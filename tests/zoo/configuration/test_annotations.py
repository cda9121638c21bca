"""Annotations as people have them: `init` reads them as they were drawn, says what it takes for granted, or refuses."""

import re

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.configuration.shown import show
from kerazoo.configuration.write import write_config
from kerazoo.files.pairs import load_pair, pairs_of
from kerazoo.models.configure import read_config

SIDE = 96
RANDOM = np.random.default_rng(0)


def scene(number):
    """Nine discs that do not touch, the fourth at the border, and their image."""
    labels = np.zeros((SIDE, SIDE), np.int32)
    for label in range(9):
        row, column = divmod(label, 3)
        centre = (16 + 31 * column - 16 * (label == 3), 16 + 31 * row + number)
        cv2.circle(labels, centre, 6 + (label + number) % 4, label + 1, -1)
    image = cv2.GaussianBlur(np.where(labels > 0, 120, 20).astype("uint8"), (0, 0), 1) + RANDOM.integers(
        0, 20, labels.shape
    )
    return labels, image.astype("uint8")


SCENES = [scene(number) for number in range(3)]
TRUTH = [labels for labels, _ in SCENES]


def jpeg(labels):
    white = np.where(labels > 0, 255, 0).astype("uint8")
    return cv2.imdecode(cv2.imencode(".jpg", white, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], cv2.IMREAD_UNCHANGED)


def smooth(labels):
    half = cv2.resize(np.where(labels > 0, 255, 0).astype("uint8"), (67, 67), interpolation=cv2.INTER_AREA)
    return cv2.resize(half, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


def stray(labels):
    labels = labels.copy()
    for label in range(1, 10):
        labels[31, 8 * label] = label
    return labels.astype("uint16")


def wrapped():
    """330 cells in 8 bits; the one of number 256 is lost."""
    labels = np.kron(np.arange(1, 331).reshape(15, 22), np.pad(np.ones((5, 5), int), (0, 1)))
    return labels.astype("uint8"), np.where(labels == 256, 0, labels)


def palette(values, colours):
    picture = PIL.Image.fromarray(values.astype("uint8"))
    picture.putpalette(colours)
    return picture


def write(folder, masks, images=None, suffix=".tif", **options):
    for place in ("images", "masks"):
        (folder / place).mkdir()
    for number, mask in enumerate(masks):
        image = images[number] if images else SCENES[number][1]
        tifffile.imwrite(folder / "images" / f"im{number}.tif", image)
        path = folder / "masks" / f"im{number}{suffix}"
        if isinstance(mask, PIL.Image.Image):
            mask.save(path)
        elif suffix == ".png":
            PIL.Image.fromarray(mask).save(path)
        else:
            tifffile.imwrite(path, mask, **options)
    return folder


def init(folder, model="unet2d", **options):
    places = {"images": folder / "images", "masks": folder / "masks"} | options
    path = write_config(model, output=folder / "c.yaml", show=show, **places)
    return read_config(path).data


def same_objects(found, truth):
    """Whether two label images have the same objects, whatever their numbers."""
    pairs = np.unique(np.stack([found.ravel(), truth.ravel()]), axis=1)
    return bool(
        (len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]) and ((found > 0) == (truth > 0)).all()
    )


def assert_said(capsys, warning):
    """Nothing on standard error, or this warning."""
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(warning, said) if warning else said == ""


def loaded(data):
    return [load_pair(pair, data) for pair in pairs_of(data)]


LABELS = {
    "float32": (lambda labels: labels.astype("float32"), ".tif", None),
    "beyond 32 bits": (
        lambda labels: np.where(labels > 0, labels + np.uint32(3_000_000_000), 0).astype("uint32"),
        ".tif",
        None,
    ),
    "background 1": (
        lambda labels: (labels + 1).astype("uint16"),
        ".tif",
        r"No pixel is 0, and 1 covers 8\d% of im0\.tif.*--background 0",
    ),
    "background -1": (
        lambda labels: labels - 1,
        ".tif",
        "-1 is taken for background, and 0 for an object.*--ignore -1",
    ),
    "stray pixels": (stray, ".tif", r"100% of the labels lie in several pieces.*--split-labels"),
    "palette PNG": (lambda labels: palette(labels, RANDOM.integers(0, 255, 30).tolist()), ".png", None),
    "colour, but grey": (lambda labels: np.dstack([labels.astype("uint8")] * 3), ".png", None),
}


@pytest.mark.parametrize("kind", LABELS)
def test_label_images(tmp_path, capsys, kind):
    stored, suffix, warning = LABELS[kind]
    data = init(write(tmp_path, [stored(labels) for labels in TRUTH], suffix=suffix), "stardist2d")
    assert data.annotation == "labels"
    for sample, truth in zip(loaded(data), TRUTH, strict=True):
        if kind == "stray pixels":
            truth = stray(truth)
        assert same_objects(sample.mask, truth)
    assert_said(capsys, warning)


BINARY = {
    "0 and 255": (lambda labels: np.where(labels > 0, 255, 0).astype("uint8"), ".png", {}, None),
    "palette PNG": (lambda labels: palette(255 * (labels > 0), [0, 0, 0] * 255 + [255] * 3), ".png", {}, None),
    "palette TIFF": (
        lambda labels: (labels > 0).astype("uint8"),
        ".tif",
        {"colormap": RANDOM.integers(0, 9, (3, 256)).astype("uint16")},
        None,
    ),
    "white is zero": (
        lambda labels: np.where(labels > 0, 0, 255).astype("uint8"),
        ".tif",
        {"photometric": "miniswhite"},
        None,
    ),
    "ilastik": (
        lambda labels: np.where(labels > 0, 1, 2).astype("uint8"),
        ".tif",
        {},
        "1 and 2: 2, which touches .*--background 1",
    ),
    "JPEG noise": (jpeg, ".png", {}, r"grey values between, such as \d+ in im0\.png .*above 12\d.*--threshold"),
    "smoothed": (smooth, ".png", {}, r"grey values between.*--threshold"),
    "inverted": (
        lambda labels: np.where(labels > 0, 0, 255).astype("uint8"),
        ".png",
        {},
        "255 surrounds the zeros.*--background 255",
    ),
}


@pytest.mark.parametrize("kind", BINARY)
def test_black_and_white(tmp_path, capsys, kind):
    stored, suffix, options, warning = BINARY[kind]
    folder = write(tmp_path, [stored(labels) for labels in TRUTH], suffix=suffix, **options)
    data = init(folder)
    assert_said(capsys, warning)
    if kind == "inverted":
        data = init(folder, background=255, overwrite=True)
    assert data.annotation == "binary"
    for sample, truth in zip(loaded(data), TRUTH, strict=True):
        if kind == "smoothed":
            assert cv2.connectedComponents(sample.mask.astype("uint8"))[0] == 10
            assert (sample.mask != (truth > 0)).mean() < 0.02
        else:
            np.testing.assert_array_equal(sample.mask, truth > 0)


CLASSES = {
    "0, 128, 255": ([0, 128, 255], {}, ["class0", "class128", "class255"], None),
    "gap": ([0, 1, 3], {}, ["class0", "class1", "class3"], "No mask has the value 2.*--class"),
    "255 beside": ([0, 1, 255], {}, ["class0", "class1"], "255, beside .* not annotated.*--class"),
    "255 is one": (
        [0, 1, 255],
        {"classes": ["a", "b", "c"], "class_values": [0, 1, 255]},
        ["a", "b", "c"],
        None,
    ),
    "unlabelled 0": ([0, 1, 2], {"ignore": 0, "annotation": "classes"}, ["class1", "class2"], None),
    "absent": (
        [0, 1, 2],
        {"classes": ["a", "b", "c", "d"], "class_values": [0, 1, 2, 3]},
        ["a", "b", "c", "d"],
        r"No mask has a pixel of d \(3\)",
    ),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_class_masks(tmp_path, capsys, kind):
    values, options, names, warning = CLASSES[kind]
    classes = [(labels > 0).astype(int) + (labels > 5) for labels in TRUTH]
    data = init(write(tmp_path, [np.array(values, "uint8")[mask] for mask in classes]), **options)
    assert (data.annotation, data.classes) == ("classes", names)
    for sample, truth in zip(loaded(data), classes, strict=True):
        expected = (
            truth
            if data.ignore is None
            else np.where(truth == values.index(data.ignore), 255, truth - (data.ignore == 0))
        )
        np.testing.assert_array_equal(sample.mask, expected)
    assert_said(capsys, warning)


def test_class_colours(tmp_path):
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0)], "uint8")
    classes = [(labels > 0).astype(int) + (labels > 5) for labels in TRUTH]
    folder = write(tmp_path, [colours[mask] for mask in classes], suffix=".png")
    with pytest.raises(UserError, match="--class NAME=#000000 --class NAME=#FF0000 --class NAME=#00FF00"):
        init(folder)
    data = init(folder, classes=["back", "a", "b"], class_values=["#000000", "#FF0000", "#00FF00"])
    for sample, truth in zip(loaded(data), classes, strict=True):
        np.testing.assert_array_equal(sample.mask, truth)


def test_label_numbers_that_have_wrapped(tmp_path, capsys):
    stored, truth = wrapped()
    images = [RANDOM.integers(0, 255, stored.shape).astype("uint8") for _ in range(2)]
    data = init(write(tmp_path, [stored, stored], images), "stardist2d")
    assert data.split_labels
    assert same_objects(loaded(data)[0].mask, truth)
    assert_said(capsys, "begun anew .*--whole-labels")
    assert not init(tmp_path, "stardist2d", split_labels=False, overwrite=True).split_labels


def test_what_is_said_of_one_image(tmp_path, capsys):
    init(write(tmp_path, [TRUTH[0].astype("uint8")]))
    assert_said(capsys, "only one image, but training needs two")


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ([np.ones((SIDE, SIDE), "uint8")] * 3, "fills every image"),
        ([image for _, image in SCENES], "look like photographs.*swapped.*--annotation"),
        ([smooth(labels) // 2 + 128 * (labels > 5).astype("uint8") for labels in TRUTH], "--annotation"),
        (
            [np.where(labels > 0, 0.7, 0.1).astype("float32") for labels in TRUTH],
            r"im0\.tif is a float mask.*0\.1.*--threshold",
        ),
        ([labels - 2 for labels in TRUTH], "negative values, -2 and -1.*--background and --ignore"),
        ([np.zeros((SIDE, SIDE), "uint8")] * 3, "all other masks are empty"),
    ],
)
def test_what_is_refused(tmp_path, masks, message):
    with pytest.raises(UserError, match=message):
        init(write(tmp_path, masks))


def test_soft_masks_with_a_threshold(tmp_path):
    folder = write(tmp_path, [np.where(labels > 0, 0.7, 0.1).astype("float32") for labels in TRUTH])
    data = init(folder, threshold=0.5)
    np.testing.assert_array_equal(loaded(data)[1].mask, TRUTH[1] > 0)


IN_ORDER = (
    *("nuclei_dsb2018/val", "cells_usiigaci/val", "bacteria_omnipose", "histology_wsss4luad/val"),
    "nuclei_pecot_e2f/val",
)


@pytest.mark.parametrize("name", IN_ORDER)
def test_silent_about_data_in_order(tmp_path, data_folder, capsys, name):
    model = "unet2d" if "wsss" in name else "omnipose2d" if "omnipose" in name else "stardist2d"
    place = data_folder(name)
    write_config(model, place / "images", place / "masks", tmp_path / "c.yaml", show=show)
    assert_said(capsys, None)
