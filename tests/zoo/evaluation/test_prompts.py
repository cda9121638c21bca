"""Scores of prompts: what a perfect and a stubborn network get."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from skimage.draw import disk

from kerazoo.config import DataConfig
from kerazoo.evaluation.prompts import score_prompts
from kerazoo.files.pairs import pairs_of


def mask_of(inside, score):
    """A mask as `kerazoo.models.sam.prompted` gives it, for the whole image."""
    return SimpleNamespace(inside=inside, score=score, rows=slice(0, 60), columns=slice(0, 80))


@pytest.fixture
def data(tmp_path):
    labels = np.zeros((60, 80), np.uint16)
    labels[disk((20, 20), 12)], labels[disk((40, 60), 15, shape=labels.shape)] = 4, 9
    for name, array in (("images", labels * 5), ("masks", labels)):
        (tmp_path / name).mkdir()
        tifffile.imwrite(tmp_path / name / "a.tif", array)
    return labels, DataConfig(images=tmp_path / "images", masks=tmp_path / "masks")


def network(answer):
    """What answers every prompt of an image by a function of the object's number and the number of points."""

    def masks(embedding, prompts, *, several=False):
        points = 0 if prompts.points is None else prompts.points.shape[1]
        found = [answer(number, points, prompts) for number in range(prompts.count)]
        worse = mask_of(np.zeros((60, 80), bool), -1.0)
        return [[worse, one, worse] if several else [one] for one in found]

    return SimpleNamespace(embed=lambda image: image, masks=masks)


def test_a_perfect_network(data):
    labels, config = data
    truth = [labels == 4, labels == 9]
    seen = []

    def answer(number, points, prompts):
        if prompts.boxes is not None:
            x, y = np.nonzero(truth[number].any(axis=0))[0], np.nonzero(truth[number].any(axis=1))[0]
            np.testing.assert_array_equal(prompts.boxes[number], [x[0], y[0], x[-1], y[-1]])
        else:
            x, y = prompts.points[number, 0].astype(int)
            assert truth[number][y, x]
            seen.append(prompts.labels[number].tolist())
        return mask_of(truth[number], 0.9)

    scores = score_prompts(network(answer), pairs_of(config), config)
    assert scores == {"box": 1.0, "point": 1.0, "corrected": [1.0, 1.0, 1.0], "objects": 2}
    assert seen[0] == [1]
    assert seen[-1] == [1, -1, -1, -1]  # nothing is left to correct


def test_corrections_point_where_it_is_wrong(data):
    labels, config = data
    points = []

    def answer(number, count, prompts):
        if prompts.points is not None and number == 0 and count > 1:
            points.append((prompts.points[0, -1], prompts.labels[0, -1]))
        return mask_of(labels > 0, 0.5)  # both objects, whatever is asked

    scores = score_prompts(network(answer), pairs_of(config), config)
    areas = [np.count_nonzero(labels == label) for label in (4, 9)]
    assert scores["point"] == pytest.approx(np.mean([area / sum(areas) for area in areas]))
    for (x, y), kind in points:
        assert kind == 0
        assert labels[int(y), int(x)] == 9
