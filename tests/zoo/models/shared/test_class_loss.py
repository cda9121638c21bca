"""Every loss against NumPy, and its gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from bmzpack.errors import UserError
from kerazoo.config import LossConfig
from kerazoo.models.shared.class_loss import ClassLoss, make_loss

NONE = {"cross_entropy": 0.0, "dice": 0.0, "focal": 0.0, "tversky": 0.0}
WEIGHTS = [0.5, 2.0, 1.0]


@pytest.fixture(scope="module")
def batch():
    """Targets with ignored pixels and without class 2 in the second image, and softmax probabilities."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(2, 6, 5, 3)) * 2
    y = random.integers(0, 3, (2, 6, 5, 1)).astype("uint8")
    y[1][y[1] == 2] = 255
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return y, p.astype("float32")


def pixels(y, p, weights):
    """Probability of the true class and weight of every pixel that counts."""
    flat, probabilities = y.ravel(), p.reshape(-1, p.shape[-1]).astype(np.float64)
    chosen = flat != 255
    true = flat[chosen].astype(int)
    return probabilities[chosen][np.arange(len(true)), true], np.asarray(weights)[true]


def cross_entropy(y, p, weights=(1, 1, 1)):
    of_true, weight = pixels(y, p, weights)
    return (weight * -np.log(of_true)).sum() / weight.sum()


def focal(y, p, weights=(1, 1, 1), gamma=2.0):
    of_true, weight = pixels(y, p, weights)
    return (weight * -np.log(of_true) * (1 - of_true) ** gamma).sum() / weight.sum()


def tversky(y, p, alpha):
    losses = []
    for index in range(p.shape[-1]):
        valid = y[..., 0] != 255
        true, probability = (y[..., 0] == index)[valid], p[..., index][valid].astype(np.float64)
        if true.any():
            hits, wrong, missed = probability[true].sum(), probability[~true].sum(), (1 - probability[true]).sum()
            losses.append(1 - hits / (hits + alpha * wrong + (1 - alpha) * missed))
    return np.mean(losses)


@pytest.mark.parametrize(
    ("terms", "reference"),
    [
        ({"cross_entropy": 1.0}, lambda y, p: cross_entropy(y, p)),
        ({"cross_entropy": 1.0, "class_weights": WEIGHTS}, lambda y, p: cross_entropy(y, p, WEIGHTS)),
        ({"focal": 1.0}, lambda y, p: focal(y, p)),
        ({"focal": 1.0, "focal_gamma": 0.5, "class_weights": WEIGHTS}, lambda y, p: focal(y, p, WEIGHTS, 0.5)),
        ({"focal": 1.0, "focal_gamma": 0.0}, lambda y, p: cross_entropy(y, p)),
        ({"dice": 1.0}, lambda y, p: tversky(y, p, 0.5)),
        ({"tversky": 1.0}, lambda y, p: tversky(y, p, 0.3)),
        ({"tversky": 1.0, "tversky_alpha": 0.8}, lambda y, p: tversky(y, p, 0.8)),
        (
            {"cross_entropy": 0.5, "dice": 2.0, "focal": 3.0, "tversky": 0.25},
            lambda y, p: 0.5 * cross_entropy(y, p) + 2 * tversky(y, p, 0.5) + 3 * focal(y, p) + tversky(y, p, 0.3) / 4,
        ),
    ],
)
def test_against_numpy(batch, terms, reference):
    y, p = batch
    loss = ClassLoss(**NONE | terms)
    assert float(loss(y, p)) == pytest.approx(reference(y, p), rel=1e-5)
    half = keras.ops.cast(p, "bfloat16")
    assert loss(y, half).dtype == "float32"
    assert float(loss(y, half)) == pytest.approx(reference(y, keras.ops.convert_to_numpy(half).astype("f8")), rel=1e-4)


@pytest.mark.parametrize("term", NONE)
def test_best_and_worst(batch, term):
    y, p = batch
    loss = ClassLoss(**NONE | {term: 1.0})
    perfect = (y == np.arange(3)).astype("float32")
    perfect[y[..., 0] == 255] = 1 / 3
    assert float(loss(y, perfect)) == pytest.approx(0, abs=1e-6)
    assert float(loss(y, p)) < float(loss(y, np.roll(perfect, 1, axis=-1)))
    assert float(loss(np.full_like(y, 255), p)) == 0


@pytest.mark.parametrize("term", NONE)
def test_ignored_pixels_count_nowhere(batch, term):
    y, p = batch
    loss = ClassLoss(**NONE | {term: 1.0})
    changed = p.copy()
    changed[y[..., 0] == 255] = [0.1, 0.1, 0.8]
    assert float(loss(y, p)) == float(loss(y, changed))
    with tf.GradientTape() as tape:
        x = tf.constant(p)
        tape.watch(x)
        value = loss(y, x)
    gradient = tape.gradient(value, x).numpy()
    assert np.abs(gradient[y[..., 0] == 255]).max() == 0
    assert np.abs(gradient[y[..., 0] != 255]).max() > 0


@pytest.mark.parametrize("term", NONE)
def test_gradient_is_the_slope(batch, term):
    y, p = batch
    loss = ClassLoss(**NONE | {term: 1.0})
    direction = np.random.default_rng(2).normal(size=p.shape).astype("float32")
    logits = tf.math.log(tf.constant(p))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(y, tf.nn.softmax(logits))
    slope = float(tf.reduce_sum(tape.gradient(value, logits) * direction))
    step = 1e-2
    ahead, behind = (float(loss(y, tf.nn.softmax(logits + sign * step * direction))) for sign in (1, -1))
    assert slope == pytest.approx((ahead - behind) / (2 * step), rel=2e-2, abs=1e-4)


def test_gradient_does_not_vanish_where_the_network_is_sure_and_wrong():
    logits = tf.constant([[[[60.0, 0.0]]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = ClassLoss(dice=0.0)(np.array([[[[1]]]], "uint8"), tf.nn.softmax(logits))
    assert float(loss) == pytest.approx(60, rel=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, logits), [[[[1, -1]]]], atol=1e-5)


def test_class_weights_of_a_configuration():
    pixels = np.array([900, 100, 0])
    assert make_loss(LossConfig(), pixels).class_weights is None
    balanced = make_loss(LossConfig(class_weights="balanced"), pixels).class_weights
    np.testing.assert_allclose(balanced, [1000 / 1800, 5, 0])
    assert make_loss(LossConfig(class_weights=[1, 2, 3]), pixels).class_weights == [1, 2, 3]
    for wrong in ([1, 2], [1, 2, -1], [0, 0, 0]):
        with pytest.raises(UserError, match="class_weights"):
            make_loss(LossConfig(class_weights=wrong), pixels)
    with pytest.raises(UserError, match="all terms"):
        make_loss(LossConfig(cross_entropy=0, dice=0), pixels)
