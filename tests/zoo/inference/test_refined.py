"""Objects with the masks of prompts: of another network's boxes, and of points; and what cannot be refined."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from skimage.draw import disk

import kerazoo
from bmzpack.errors import UserError
from kerazoo.inference import refined as refined_module
from kerazoo.inference.refined import refined
from kerazoo.models.sam.prompted import Mask
from sam_run import sam_run


def discs(shape=(260, 300)):
    labels = np.zeros(shape, np.int32)
    for label, (y, x, radius) in enumerate([(40, 40, 20), (120, 130, 25), (200, 240, 15)], start=1):
        labels[disk((y, x), radius, shape=shape)] = 3 * label
    return labels


def answering(answer, window=None):
    """Gives `answer(number, box)`, a mask (y, x) and a score, for every box."""

    def masks(embedding, prompts):
        for number, box in enumerate(prompts.boxes):
            inside, score = answer(number, box)
            whole = slice(0, inside.shape[0]), slice(0, inside.shape[1])
            yield [Mask(*whole, np.where(inside, 1, -1).astype(np.float32), score, np.zeros((1, 1), np.float32))]

    def embed(image, rows, columns):
        return image[rows, columns]

    return SimpleNamespace(embed=embed, masks=masks, window=window)


def box_filled(shape):
    def answer(number, box):
        inside = np.zeros(shape, bool)
        x0, y0, x1, y1 = box.astype(int)
        inside[y0 : y1 + 1, x0 : x1 + 1] = True
        return inside, [0.5, 0.9, 0.7][number % 3]

    return answer


def test_objects_keep_their_numbers():
    labels = discs()
    found = refined(labels, answering(box_filled(labels.shape)), np.zeros((*labels.shape, 1)))
    assert set(np.unique(found)) == {0, 3, 6, 9}
    for label in (3, 6, 9):
        y, x = np.nonzero(labels == label)
        expected = np.zeros(labels.shape, bool)
        expected[y.min() : y.max() + 1, x.min() : x.max() + 1] = True
        assert np.array_equal(found == label, expected)


def test_the_better_mask_is_seen_and_what_is_not_found_stays():
    labels = discs()
    left, right = np.zeros(labels.shape, bool), np.zeros(labels.shape, bool)
    left[100:140, 20:150], right[100:140, 110:250] = True, True
    answers = [(left, 0.6), (right, 0.8), (np.zeros(labels.shape, bool), 0.9)]
    found = refined(labels, answering(lambda number, box: answers[number]), np.zeros((*labels.shape, 1)))
    assert np.array_equal(found == 6, right)
    assert np.array_equal(found == 3, left & ~right)
    assert np.array_equal(found == 9, labels == 9)
    too_large = refined(labels, answering(lambda number, box: answers[number], 45), np.zeros((*labels.shape, 1)))
    assert np.array_equal(too_large == 6, (labels == 6) & ~left & ~right)  # 49 pixels wide: not asked for


def test_large_images_are_refined_block_by_block(monkeypatch):
    labels = discs()
    expected = refined(labels, answering(box_filled(labels.shape)), np.zeros((*labels.shape, 1)))
    seen = []

    def embed(image, rows, columns):
        seen.append(image[rows, columns].shape[:2])
        return image[rows, columns]

    def masks(embedding, prompts):
        return answering(box_filled(embedding.shape[:2])).masks(embedding, prompts)

    monkeypatch.setattr(refined_module, "PROMPT_BLOCK", 100)
    monkeypatch.setattr(refined_module, "CONTEXT", 40)
    found = refined(labels, SimpleNamespace(embed=embed, masks=masks, window=None), np.zeros((*labels.shape, 1)))
    assert len(seen) == 3
    assert max(max(shape) for shape in seen) <= 180
    assert np.array_equal(found, expected)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return sam_run(tmp_path_factory.mktemp("sam") / "run", discs())


def test_files_by_points_and_refined(run, tmp_path):
    image = run.path / "image.tif"
    plain, _ = kerazoo.predict(run, image, tmp_path / "plain")
    assert np.array_equal(tifffile.imread(plain) > 0, discs() > 0)
    by_points, _ = kerazoo.predict(run, image, tmp_path / "points", mode="points")
    assert tifffile.imread(by_points).shape == discs().shape
    better, _ = kerazoo.predict(run, image, tmp_path / "refined", refine_with=run)
    assert set(np.unique(tifffile.imread(better))) <= {0, 1, 2, 3}


def test_what_cannot_be_refined(run, tmp_path):
    image, gray = run.path / "image.tif", tmp_path / "gray.tif"
    tifffile.imwrite(gray, np.zeros((64, 64), np.uint8))
    (tmp_path / "points.csv").write_text("x,y\n1,1\n")
    for source, options, message in (
        (run, {"mode": "grid"}, "There is no mode 'grid'"),
        ("classical2d", {"mode": "points"}, "classical2d does not answer prompts: leave --mode points out"),
        ("classical2d", {"refine_with": tmp_path / "absent"}, "There is no run and no bundle"),
        (run, {"mode": "points", "points": tmp_path / "points.csv"}, "leave --mode and --refine-with out"),
        (run, {"points": tmp_path / "points.csv", "rois": True}, "leave --rois out"),
    ):
        with pytest.raises(UserError, match=message):
            kerazoo.predict(source, image, tmp_path / "out", **options)
    with pytest.raises(UserError, match="has 1 channel instead of the expected 3"):
        kerazoo.predict("classical2d", gray, tmp_path / "out", refine_with=run)
    assert not (tmp_path / "out").exists()
