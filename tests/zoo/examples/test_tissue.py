"""Synthetic tissue and digits: repeatable, pure where they say so, and not told apart by colour or place alone."""

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.examples.glyphs import SIZE, digits, write_digits
from kerazoo.examples.tissue import CLASSES, tissue, write_tissue, write_tissue_patches


def test_tissue_is_seeded():
    for first, second in zip(tissue(5, 128), tissue(5, 128), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(tissue(5, 128)[0], tissue(6, 128)[0])


@pytest.mark.parametrize("size", [96, 256, 300])
def test_image_and_mask(size):
    pairs = [tissue(seed, size) for seed in range(4)]
    for image, mask in pairs:
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape == (size, size, 3)
        assert mask.shape == (size, size)
        glass = image[mask == 0].mean()
        assert all(glass > image[mask == label].mean() + 20 for label in (1, 2) if (mask == label).any())
    assert {label for _, mask in pairs for label in np.unique(mask)} == {0, 1, 2}


def test_every_class_has_its_share():
    share = np.mean([np.bincount(tissue(seed, 256)[1].ravel(), minlength=3) / 256**2 for seed in range(12)], axis=0)
    assert (share > 0.15).all()


def test_an_image_takes_less_than_a_fifth_of_a_second():
    def seconds() -> float:
        start = time.perf_counter()
        tissue(1, 256)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(5)) < 0.2


def test_epithelium_and_stroma_differ_in_more_than_their_colour(tmp_path):
    """A quadratic boundary between mean colours errs on patches that crowded or fibrous texture tells apart."""
    write_tissue_patches(tmp_path, patches=180)
    patches = {name: _read(tmp_path / name) for name in CLASSES}
    assert {name: len(found) for name, found in patches.items()} == dict.fromkeys(CLASSES, 60)
    colour = np.concatenate([patches[name].mean(axis=(1, 2)) / 255 for name in CLASSES[1:]])
    truth = np.repeat([1.0, -1.0], 60)
    r, g, b = colour.T
    terms = np.stack([np.ones_like(r), r, g, b, r * r, g * g, b * b, r * g, r * b, g * b], axis=1)
    fitted, held_out = np.arange(120) % 2 == 0, np.arange(120) % 2 == 1
    weights = np.linalg.lstsq(terms[fitted], truth[fitted], rcond=None)[0]
    right = np.mean(np.sign(terms[held_out] @ weights) == truth[held_out])
    assert 0.6 < right < 0.93


def test_written_tissue(tmp_path):
    write_tissue(tmp_path, images=3, seed=4, size=96)
    write_tissue(tmp_path / "other", images=3, seed=5, size=96)
    names = [path.name for path in sorted((tmp_path / "images").iterdir())]
    assert names == [path.name for path in sorted((tmp_path / "masks").iterdir())]
    assert len({path.read_bytes() for path in tmp_path.rglob("images/*.png")}) == 6
    mask = cv2.imread(str(tmp_path / "masks" / names[0]), cv2.IMREAD_UNCHANGED)
    assert mask is not None
    assert mask.shape == (96, 96)
    assert mask.max() <= 2


def test_digits():
    images, labels = digits(3, 105)
    again, same = digits(3, 105)
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, same)
    assert images.shape == (105, SIZE, SIZE)
    assert images.dtype == labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == [11] * 5 + [10] * 5
    for image in images:
        _, _, width, height = cv2.boundingRect(image)
        assert max(width, height) == 16
        assert not image[:6].any()
        assert not image[:, :6].any()


def test_digits_are_legible():
    """The nearest of 500 others has the same digit nearly always."""
    known, truth = digits(1, 500)
    images, labels = digits(2, 200)
    images, known = (each.reshape(len(each), -1).astype("float32") for each in (images, known))
    distance = (known**2).sum(axis=1) - 2 * images @ known.T
    assert np.mean(truth[distance.argmin(axis=1)] == labels) > 0.95


def test_written_digits(tmp_path):
    write_digits(tmp_path, count=30)
    assert [len(list((tmp_path / str(digit)).iterdir())) for digit in range(10)] == [3] * 10


@pytest.mark.parametrize("write", [write_tissue, write_tissue_patches, write_digits])
def test_closed_folder(write, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another folder"):
        write(tmp_path / "file")


def _read(folder: Path) -> np.ndarray:
    return np.array([cv2.imread(str(path)) for path in sorted(folder.iterdir())])
