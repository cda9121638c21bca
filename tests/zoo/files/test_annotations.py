"""Annotations of other programs: files of their form give the label image that was drawn, to the pixel."""

import base64
import io
import json
import pickle
import zipfile

import cv2
import numpy as np
import PIL.Image
import pytest
import roifile
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.files.annotations.convert import convert_annotations
from kerazoo.files.annotations.geojson import features_of, write_geojson
from kerazoo.files.annotations.imagej import rois_of, write_rois
from kerazoo.files.annotations.outlines import outlines
from kerazoo.files.annotations.read import read_annotation, read_objects
from kerazoo.files.annotations.regions import Region, drawn

SHAPE = (60, 80)


def scene():
    """Four objects: a disc, a ring with a speck in its hole, one in two pieces, and one at the border."""
    labels = np.zeros(SHAPE, np.int32)
    cv2.circle(labels, (14, 14), 9, 1, -1)
    cv2.circle(labels, (45, 22), 15, 2, -1)
    cv2.circle(labels, (45, 22), 8, 0, -1)
    labels[22, 45] = 2
    labels[45:50, 5:12], labels[52:55, 20:30] = 3, 3
    labels[50:, 60:] = 4
    return labels


def simple():
    """Three objects in one piece without holes, one of them a square."""
    labels = np.zeros(SHAPE, np.int32)
    cv2.circle(labels, (14, 14), 9, 1, -1)
    cv2.ellipse(labels, (45, 25), (20, 7), 30, 0, 360, 2, -1)
    labels[45:52, 50:60] = 3
    return labels


def contours(labels):
    """As OpenCV gives them, and Cellpose saves them: corners (x, y) through the outermost pixels."""
    for label in range(1, labels.max() + 1):
        found, _ = cv2.findContours((labels == label).astype("uint8"), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        yield found[0][:, 0]


def edges(labels):
    """As ImageJ and QuPath trace them, around the pixels."""
    for parts in outlines(labels).values():
        (ring,), *_ = parts
        yield ring


def iou(found, truth):
    return min(
        np.sum((found == n) & (truth == n)) / np.sum((found == n) | (truth == n)) for n in range(1, truth.max() + 1)
    )


def read(path, shape=SHAPE):
    return read_objects(path, "im.tif", shape).labels


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(0.1, 0.9))
def test_outlines_give_the_pixels_again(seed, labels, share):
    random = np.random.default_rng(seed)
    image = random.integers(1, labels + 1, (9, 13)) * (random.random((9, 13)) < share)
    regions = [Region(parts) for parts in outlines(image).values()]
    present = np.unique(image[image > 0])
    expected = np.where(image > 0, np.searchsorted(present, image) + 1, 0)
    found = drawn(regions, image.shape, None).labels if regions else np.zeros_like(image)
    np.testing.assert_array_equal(found, expected)


def test_rois_and_geojson_that_are_written_give_the_same_labels(tmp_path):
    labels = scene()
    write_rois(tmp_path / "im.zip", rois_of(outlines(labels)))
    np.testing.assert_array_equal(read(tmp_path / "im.zip"), labels)
    assert zipfile.ZipFile(tmp_path / "im.zip").namelist() == [f"{n:04d}.roi" for n in range(1, 5)]
    write_geojson(tmp_path / "im.geojson", features_of(outlines(labels)))
    np.testing.assert_array_equal(read(tmp_path / "im.geojson"), labels)
    ring = json.loads((tmp_path / "im.geojson").read_text())["features"][1]["geometry"]
    assert ring["type"] == "MultiPolygon", "the speck in the hole is a part of its own"
    assert [len(part) for part in ring["coordinates"]] == [2, 1]


@pytest.mark.parametrize("trace", [edges, contours])
def test_imagej(tmp_path, trace):
    labels = simple()
    for number, ring in enumerate(trace(labels)):
        roifile.roiwrite(tmp_path / "im.zip", roifile.ImagejRoi.frompoints(ring, name=f"{number}"))
    np.testing.assert_array_equal(read(tmp_path / "im.zip"), labels)


def test_shapes_of_imagej(tmp_path):
    box = {"left": 10, "top": 20, "right": 40, "bottom": 44}
    for kind in (roifile.ROI_TYPE.RECT, roifile.ROI_TYPE.OVAL):
        (tmp_path / "a.roi").write_bytes(roifile.ImagejRoi(roitype=kind, **box).tobytes())
        found = read(tmp_path / "a.roi")
        rows, columns = np.nonzero(found)
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 43, 10, 39)
        area = 30 * 24 * (1 if kind == roifile.ROI_TYPE.RECT else np.pi / 4)
        assert found.sum() == pytest.approx(area, rel=0.01)
    corners = np.array([(5.5, 5.5), (30.2, 9.0), (20.0, 40.7)], "float32")
    (tmp_path / "a.roi").write_bytes(roifile.ImagejRoi.frompoints(corners).tobytes())
    assert read(tmp_path / "a.roi").sum() == pytest.approx(
        abs(np.linalg.det([corners[1] - corners[0], corners[2] - corners[0]])) / 2, rel=0.02
    )
    (tmp_path / "a.roi").write_bytes(roifile.ImagejRoi(roitype=roifile.ROI_TYPE.POINT, n_coordinates=0).tobytes())
    with pytest.raises(UserError, match=r"a\.roi is a point, not an area"):
        read(tmp_path / "a.roi")


@pytest.mark.parametrize("trace", [edges, contours])
def test_qupath(tmp_path, trace):
    labels, names = simple(), ["Tumor", "Stroma", "Tumor"]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()]]},
            "properties": {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}},
        }
        for ring, name in zip(trace(labels), names, strict=True)
    ]
    for content in ({"type": "FeatureCollection", "features": features}, features):
        (tmp_path / "im.geojson").write_text(json.dumps(content))
        np.testing.assert_array_equal(read(tmp_path / "im.geojson"), labels)
    data = DataConfig(annotation="classes", classes=["background", "Stroma", "Tumor"])
    classes = read_annotation(tmp_path / "im.geojson", data, "im.tif", SHAPE)
    np.testing.assert_array_equal(classes, np.array([0, 2, 1, 2])[labels])
    with pytest.raises(UserError, match=r"an object of the class 'Stroma', but data\.classes are background, Tumor"):
        read_annotation(
            tmp_path / "im.geojson", DataConfig(annotation="classes", classes=["background", "Tumor"]), "", SHAPE
        )
    around = {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [80, 0], [80, 60], [0, 60], [0, 0]]]},
    }
    detected = [feature | {"properties": {"objectType": "detection"}} for feature in features]
    (tmp_path / "im.geojson").write_text(json.dumps([around, *detected]))
    np.testing.assert_array_equal(read(tmp_path / "im.geojson"), labels)


def compressed(pixels):
    """Run lengths as the COCO tools write them into a string."""
    flat = np.r_[0, pixels.T.ravel().astype(int), 0]
    changes = np.flatnonzero(np.diff(np.r_[0, pixels.T.ravel().astype(int)]))
    counts = np.diff(np.r_[0, changes, flat.size - 2]).tolist()
    text = ""
    for number, count in enumerate(counts):
        value, more = count - (counts[number - 2] if number > 2 else 0), True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text += chr((bits | 32 * more) + 48)
    return counts, text


@pytest.mark.parametrize("kind", ["contours", "edges", "counts", "string"])
def test_coco(tmp_path, kind):
    labels = simple() if kind in ("contours", "edges") else scene()
    shapes = []
    for label in range(1, labels.max() + 1):
        counts, text = compressed(labels == label)
        shapes.append({"counts": counts if kind == "counts" else text, "size": SHAPE})
    if kind in ("contours", "edges"):
        shapes = [[ring.ravel().tolist()] for ring in (contours if kind == "contours" else edges)(labels)]
    content = {
        "images": [{"id": 4, "file_name": "other.tif"}, {"id": 7, "file_name": "day 1\\im.tif"}],
        "annotations": [{"image_id": 7, "category_id": 2, "segmentation": shape} for shape in shapes],
        "categories": [{"id": 2, "name": "cell"}],
    }
    (tmp_path / "all.json").write_text(json.dumps(content))
    objects = read_objects(tmp_path / "all.json", "im.tif", SHAPE)
    np.testing.assert_array_equal(objects.labels, labels)
    assert set(objects.categories) == {"cell"}
    with pytest.raises(UserError, match=r"no image of the name none\.tif"):
        read_objects(tmp_path / "all.json", "none.tif", SHAPE)


def test_labelme(tmp_path):
    labels = simple()
    png = io.BytesIO()
    PIL.Image.fromarray((labels == 2)[10:41, 20:71]).save(png, "PNG")
    mask = base64.b64encode(png.getvalue()).decode()
    first, _, third = edges(labels)
    shapes = [
        {"label": "cell", "shape_type": "polygon", "points": first.tolist(), "group_id": None},
        {"label": "cell", "shape_type": "mask", "points": [[20, 10], [70, 40]], "mask": mask},
        {"label": "cell", "shape_type": "rectangle", "points": [[60, 45], [50, 52]], "group_id": 1},
        {"label": "cell", "shape_type": "circle", "points": [[70.0, 10.0], [74.0, 10.0]], "group_id": 1},
    ]  # fmt: skip
    (tmp_path / "im.json").write_text(json.dumps({"shapes": shapes, "imagePath": "im.tif"}))
    found = read(tmp_path / "im.json")
    np.testing.assert_array_equal(found[:, :60], labels[:, :60])
    assert np.sum(found[:, 60:] == 3) == pytest.approx(np.pi * 16, abs=2), "one object of two shapes"
    assert third.min() == 45
    shapes[0]["shape_type"] = "line"
    (tmp_path / "im.json").write_text(json.dumps({"shapes": shapes}))
    with pytest.raises(UserError, match="a shape that is a line, not an area"):
        read(tmp_path / "im.json")


class Harmful:
    def __reduce__(self):
        return (exec, ("raise SystemExit('run')",))


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint8", ">u2"])
def test_cellpose(tmp_path, dtype):
    labels = simple()
    content = {"outlines": labels > 0, "masks": labels.astype(dtype), "chan_choose": [0, 0], "filename": "im.tif"}
    content |= {"flows": [np.zeros((2, 3)), None], "est_diam": np.float32(3), "harm": Harmful()}
    np.save(tmp_path / "im_seg.npy", content)
    np.testing.assert_array_equal(read(tmp_path / "im_seg.npy"), labels)
    np.save(tmp_path / "im_seg.npy", labels)
    with pytest.raises(UserError, match="holds no masks"):
        read(tmp_path / "im_seg.npy")
    np.save(tmp_path / "im_seg.npy", content | {"masks": labels[:9].astype(dtype)})
    with pytest.raises(UserError, match=r"80 x 9 pixels, but its image im\.tif is 80 x 60"):
        read(tmp_path / "im_seg.npy")
    (tmp_path / "im_seg.npy").write_bytes(pickle.dumps(content)[:50])
    with pytest.raises(UserError, match="damaged"):
        read(tmp_path / "im_seg.npy")


def test_one_picture_for_each_object(tmp_path):
    labels = scene()
    for label in range(1, 5):
        PIL.Image.fromarray(255 * (labels == label).astype("uint8")).save(tmp_path / f"{label}.png")
    np.testing.assert_array_equal(read(tmp_path), labels)
    PIL.Image.fromarray(labels.astype("uint8")).save(tmp_path / "5.png")
    with pytest.raises(UserError, match=r"5\.png has the values 0, 1, 2, 3, 4"):
        read(tmp_path)


def test_later_objects_lie_on_top():
    squares = [np.array([(a, a), (a + 10, a), (a + 10, a + 10), (a, a + 10)], float) for a in (2, 7, 70)]
    objects = drawn([Region([[square]]) for square in squares], SHAPE, None)
    assert objects.hidden == 25
    assert objects.labels[8, 8] == 2
    assert objects.labels.max() == 2, "the third lies outside"
    assert iou(objects.labels[:7], np.pad(np.ones((5, 10), int), ((2, 0), (2, 68)))) == 1


def test_convert(tmp_path):
    labels = scene()
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", labels.astype("uint8"))
        write_rois(tmp_path / f"{name}_RoiSet.zip", rois_of(outlines(labels)))
    lines = list(convert_annotations(tmp_path, tmp_path / "masks"))
    assert lines == [f"{tmp_path / 'masks' / name}.tif: 4 objects" for name in ("a", "b")]
    for name in ("a", "b"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "masks" / f"{name}.tif"), labels)
    with pytest.raises(UserError, match="exists already"):
        list(convert_annotations(tmp_path, tmp_path / "masks"))
    with pytest.raises(UserError, match="objects without a class"):
        list(convert_annotations(tmp_path, tmp_path / "classes", classes=True))
