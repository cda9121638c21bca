"""Targets: the border lies inside every object, also where objects touch, and small objects keep an interior."""

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.files.masks import read_mask
from kerazoo.models.configure import make_config
from kerazoo.models.pixels.targets import border_target, make_target


def config(kind, annotation="labels", **data):
    content = {"model": {"name": "unet2d"}, "targets": {"kind": kind}, "data": {"annotation": annotation, **data}}
    return make_config(content)


def border_by_definition(labels, width):
    """Slow and plain: the distance of every object's pixel to the nearest pixel of another value."""
    target = np.zeros(labels.shape, np.uint8)
    for label in np.unique(labels[labels != 0]):
        inside = labels == label
        if inside.all():
            target[inside] = 1
            continue
        depth = scipy.ndimage.distance_transform_edt(inside)[inside]
        thinnest = width
        while thinnest and (depth <= thinnest).all():
            thinnest -= 1
        target[inside] = np.where(depth <= thinnest, 2, 1)
    return target


@settings(deadline=None)
@given(
    arrays.arrays(
        np.int32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.sampled_from([0, 1, 2, 70000])
    ),
    st.integers(1, 4),
    st.integers(1, 6),
)
def test_border_is_what_it_says(small, width, zoom):
    labels = small.repeat(zoom, axis=0).repeat(zoom, axis=1)
    np.testing.assert_array_equal(border_target(labels, width), border_by_definition(labels, width))


def test_touching_objects_have_two_borders():
    labels = np.zeros((12, 24), np.int32)
    labels[:, 4:12], labels[:, 12:20] = 1, 2
    target = border_target(labels, 2)
    assert "".join(map(str, target[6])) == "000022111122221111220000"
    assert (target == target[6]).all(), "the edge of the image is no boundary"


@settings(deadline=None)
@given(arrays.arrays(np.int32, (11, 13), elements=st.integers(0, 3)), st.integers(1, 3))
def test_every_object_keeps_an_interior(labels, width):
    target = border_target(labels, width)
    assert set(np.unique(labels[target == 1])) == set(np.unique(labels)) - {0}
    np.testing.assert_array_equal(target != 0, labels != 0)


def test_more_labels_than_16_bits():
    labels = np.arange(1, 90_001).reshape(300, 300).astype(np.int32).repeat(4, axis=0).repeat(4, axis=1)
    interior = labels[border_target(labels, 1) == 1]
    numbers, counts = np.unique(interior, return_counts=True)
    assert len(numbers) == 90_000
    assert np.median(counts) == 4


def test_ignored_pixels():
    mask = np.array([[0, 1, 1, 9]])
    np.testing.assert_array_equal(make_target(mask, config("foreground", ignore=9)), [[0, 1, 1, 255]])
    mask = np.array([[0, 1, 2, 255]])
    classes = config("classes", "classes", classes=["a", "b", "c"], ignore=255)
    target = make_target(mask, classes)
    np.testing.assert_array_equal(target, mask)
    assert target.dtype == np.uint8
    assert make_target(np.full((8, 8), -1), config("border", ignore=-1)).min() == 255


@pytest.mark.parametrize(
    ("kind", "annotation"),
    [("border", "classes"), ("foreground", "classes"), ("classes", "labels"), ("classes", "binary")],
)
def test_impossible_targets(kind, annotation):
    with pytest.raises(UserError, match=f"{kind} cannot be made .* {annotation}"):
        make_target(np.ones((4, 4), int), config(kind, annotation))


def test_real_nuclei(data_folder):
    path = sorted((data_folder("nuclei_dsb2018") / "train" / "masks").iterdir())[0]
    labels = read_mask(path, DataConfig())
    np.testing.assert_array_equal(border_target(labels, 2), border_by_definition(labels, 2))
