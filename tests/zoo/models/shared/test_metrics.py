"""Metrics against NumPy, over several batches."""

import numpy as np
import pytest

from kerazoo.models.shared.metrics import ConfusionMetrics


def test_against_numpy_over_an_epoch():
    random = np.random.default_rng(1)
    metric = ConfusionMetrics(4, foreground=True)
    truths, predictions = [], []
    for size in (7, 5):
        y = random.choice([0, 1, 2, 255], size=(2, size, 6, 1)).astype("uint8")
        p = random.random((2, size, 6, 4)).astype("float32")
        p[..., 3] = 0
        metric.update_state(y, p)
        truths.append(y.ravel())
        predictions.append(p.argmax(-1).ravel())
    truth, predicted = np.concatenate(truths), np.concatenate(predictions)
    truth, predicted = truth[truth != 255], predicted[truth != 255]
    ious = [((truth == c) & (predicted == c)).sum() / ((truth == c) | (predicted == c)).sum() for c in range(3)]
    both = ((truth > 0) & (predicted > 0)).sum()
    result = {name: float(value) for name, value in metric.result().items()}
    assert result == pytest.approx(
        {
            "accuracy": (truth == predicted).mean(),
            "mean_iou": np.mean(ious),
            "foreground_dice": 2 * both / ((truth > 0).sum() + (predicted > 0).sum()),
        }
    )
    metric.reset_state()
    assert float(metric.result()["accuracy"]) == 0
    assert "foreground_dice" not in ConfusionMetrics(4, foreground=False).result()


def test_many_pixels_are_counted_exactly():
    metric = ConfusionMetrics(2, foreground=False)
    metric.matrix.assign([[2**40, 0], [0, 0]])
    metric.update_state(np.zeros((1, 1, 3, 1), "uint8"), np.ones((1, 1, 3, 2), "float32"))
    assert int(metric.matrix[0, 0]) == 2**40 + 3
