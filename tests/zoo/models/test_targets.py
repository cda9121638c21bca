"""Targets of patches are those of the image at the same place, turned with the patch."""

import itertools

import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.data.augment import Map
from kerazoo.models.cellpose.targets import FlowTarget
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.omnipose.targets import FieldTarget
from kerazoo.models.pixels.targets import PixelTarget
from kerazoo.models.registry import family_of_model
from kerazoo.models.shared.label_image import label_image
from kerazoo.models.stardist.targets import StarTarget

TURNS = [((a, 0), (0, d)) for a, d in itertools.product((1, -1), repeat=2)] + [
    ((0, b), (c, 0)) for b, c in itertools.product((1, -1), repeat=2)
]


def test_a_family_says_what_several_outputs_are_compared_with():
    family = family_of_model("stardist2d")
    assert family.targets(1, ["stars"]) == {"stars": 1}
    with pytest.raises(NotImplementedError, match="which of the outputs stars, classes"):
        family.targets(1, ["stars", "classes"])


def ellipses(size=65):
    """Three ellipses, odd and symmetric about their centre pixels, so that turning them changes nothing else."""
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.int32)
    for number, (row, column, height, width) in enumerate(((14, 16, 7, 11), (40, 20, 12, 5), (36, 48, 9, 9)), start=1):
        labels[((y - row) / height) ** 2 + ((x - column) / width) ** 2 <= 1] = number
    return labels


@pytest.mark.parametrize("matrix", TURNS)
@pytest.mark.parametrize("target", [FlowTarget(), StarTarget(32, 1), FieldTarget()], ids=["flows", "stars", "fields"])
def test_a_turned_patch_has_the_targets_of_turned_labels(target, matrix):
    labels = ellipses()
    place = Map(matrix, centre=(32, 32), size=65)
    image = np.zeros((65, 65, 1), np.float32)
    _, turned = place.resample(image, labels.astype(np.uint16))
    expected = target.of_patch(target.of_image(turned.astype(np.int32)), ((1, 0), (0, 1)))
    _, kept = place.resample(image, target.of_image(labels))
    found = target.of_patch(kept, matrix)
    assert found.dtype == target.dtype
    assert found.shape == (65, 65, target.channels)
    differ = np.abs(found - expected).max(axis=-1) > 2e-3
    # At the centre of each ellipse rounding decides where the flow goes.
    assert differ.sum() <= (3 if isinstance(target, FlowTarget) else 0)


def test_flows_keep_their_length_when_the_patch_is_enlarged():
    target, labels = FlowTarget(), ellipses()
    scale, angle = 1.3, np.radians(20)
    matrix = ((np.cos(angle) / scale, -np.sin(angle) / scale), (np.sin(angle) / scale, np.cos(angle) / scale))
    kept = target.of_image(labels)
    lengths = [np.hypot(flows[..., 0], flows[..., 1]) for flows in (kept, target.of_patch(kept, matrix))]
    np.testing.assert_allclose(lengths[1], lengths[0], atol=1e-5)


def test_ignored_pixels():
    labels = ellipses()
    labels[:20, 40:] = 99
    for target, channel in ((FlowTarget(99), 2), (StarTarget(32, 1, 99), 0), (FieldTarget(99), 4)):
        made = target.of_patch(target.of_image(labels), ((1, 0), (0, 1)))
        np.testing.assert_array_equal(made[..., channel] == -1, labels == 99)
        target.ignore(made, 4, 6)
        assert (made[:4, :, channel] == -1).all()
        assert (made[:, :6, channel] == -1).all()


def test_flows_of_a_mirrored_edge_are_not_learned():
    labels = ellipses()
    image = np.zeros((65, 65, 1), np.float32)
    for matrix, beyond in ((((1, 0), (0, 1)), np.s_[:12]), (((-1, 0), (0, -1)), np.s_[-12:])):
        _, kept = Map(matrix, centre=(32, 20), size=65).resample(image, FlowTarget().of_image(labels))
        found = FlowTarget().of_patch(kept, matrix)
        assert (found[beyond] == np.float32([0, 0, -1])).all()
        assert (found[..., 2] == -1).sum() == 12 * 65


def test_a_patch_within_one_object_teaches_no_distance():
    target = FieldTarget().of_patch(np.full((192, 192), 3, np.uint16), ((1, 0), (0, 1)))
    assert (target[..., 4] == -1).all()
    assert target[..., 2].max() == pytest.approx(94, abs=3)


def test_stars_on_a_grid():
    labels = ellipses(64)
    fine, coarse = (StarTarget(32, grid).of_patch(label_image(labels), ((1, 0), (0, 1))) for grid in (1, 2))
    assert coarse.shape == (32, 32, 33)
    # The probability is that of the labels on the grid.
    np.testing.assert_allclose(coarse[..., 1:], fine[::2, ::2, 1:], atol=1e-4)
    np.testing.assert_array_equal(coarse[..., 0] > 0, fine[::2, ::2, 0] > 0)


def test_labels_are_numbered_anew():
    mask = np.array([[0, 70_000, 7], [-3, 7, 0]])
    np.testing.assert_array_equal(label_image(mask, ignored=-3), [[0, 2, 1], [65535, 1, 0]])
    with pytest.raises(UserError, match="65,536 objects"):
        label_image(np.arange(65537).reshape(1, -1))


def test_the_target_follows_from_the_network():
    def of(model, **arguments):
        config = make_config({"model": {"name": model, "arguments": arguments}, "data": {}})
        return family_of(config).target(config)

    assert isinstance(of("unet2d"), PixelTarget)
    assert isinstance(of("cellpose2d"), FlowTarget)
    assert isinstance(of("omnipose2d"), FieldTarget)
    stars = of("stardist2d", rays=16, grid=[4, 4])
    assert (stars.channels, stars.grid) == (17, 4)
    with pytest.raises(UserError, match="same number"):
        of("stardist2d", grid=[1, 2])
