"""The network of 1989 is the published one: shapes, weights per layer, links, units; it learns to read."""

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.models.patches.lenet1989 import lenet1989


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return lenet1989()


@pytest.mark.parametrize(
    ("layers", "shape", "parameters"),
    [
        (["h1"], (24, 24, 4), 4 * 26),
        (["h2"], (12, 12, 4), 4 * 2),
        (["h3_of_one", "h3_of_two_first", "h3_of_two_last"], (8, 8, 12), 20 * 25 + 12),
        (["h4"], (4, 4, 12), 12 * 2),
        (["output"], (10,), 10 * 193),
    ],
)
def test_layers_are_those_of_the_paper(model, layers, shape, parameters):
    assert sum(model.get_layer(name).count_params() for name in layers) == parameters
    squashed = {"h3_of_one": "h3"}.get(layers[0], layers[0])
    assert model.get_layer(f"{squashed}_slope").output.shape == (None, *shape)


def test_links_between_maps(model):
    """Four maps of H3 see one map of H2 and eight see two, seen by changing one map of H2 after the other."""
    tail = keras.Model(model.get_layer("h2_scale").output, model.get_layer("h3").output)
    still = np.zeros((1, 12, 12, 4), "float32")
    links = np.zeros((4, 12), bool)
    for source in range(4):
        changed = still.copy()
        changed[..., source] = 1
        difference = np.abs(tail.predict_on_batch(changed) - tail.predict_on_batch(still))
        links[source] = difference.max(axis=(0, 1, 2)) > 0
    assert links.sum() == 20
    assert sorted(links.sum(axis=0)) == [1] * 4 + [2] * 8
    assert (links.sum(axis=1) == 5).all()


def test_first_weights_and_scaled_tanh(model):
    for name, fan_in in (("h1", 25), ("h2", 1), ("h3_of_one", 25), ("h3_of_two_first", 50), ("output", 192)):
        kernel = keras.ops.convert_to_numpy(model.get_layer(name).weights[0])
        assert np.abs(kernel).max() <= 2.4 / fan_in
        assert np.abs(kernel).max() > 1.2 / fan_in
    squash = keras.Model(model.get_layer("output").output, model.output)
    values = np.tile(np.linspace(-3, 3, 7, dtype="float32")[:, None], (1, 10))
    np.testing.assert_allclose(squash.predict_on_batch(values), 1.7159 * np.tanh(2 / 3 * values), rtol=1e-5)
    np.testing.assert_allclose(squash.predict_on_batch(np.ones((1, 10), "float32")), 1, atol=1e-4)


def test_other_images_are_refused():
    for shape in ((32, 32, 1), (28, 28, 3), (None, None, 1)):
        with pytest.raises(UserError, match=r"28, 28, 1.*patch_size"):
            lenet1989(shape)
    with pytest.raises(UserError, match="from 2 on"):
        lenet1989(classes=1)


def test_weights_file(model, tmp_path):
    model.save(tmp_path / "model.keras")
    image = np.random.default_rng(1).uniform(-1, 1, (2, 28, 28, 1)).astype("float32")
    same = lenet1989(weights=tmp_path / "model.keras")
    np.testing.assert_array_equal(same.predict_on_batch(image), model.predict_on_batch(image))


def test_it_learns_to_read(data_folder):
    """Three passes over 2,000 digits of zip codes, targets +1 and -1: at least five of six others are read."""
    digits = np.load(data_folder("digits_usps") / "usps_train7291_test1007.npz")
    images, others = (
        np.pad(2 * digits[name] - 1, ((0, 0), (6, 6), (6, 6)), constant_values=-1)[..., None]
        for name in ("x_train", "x_test")
    )
    targets = 2 * np.eye(10, dtype="float32")[digits["y_train"]] - 1
    keras.utils.set_random_seed(1)
    network = lenet1989()
    network.compile(keras.optimizers.Adam(0.01), "mean_squared_error", jit_compile=False)
    network.fit(images[:2000], targets[:2000], batch_size=32, epochs=3, verbose=0)
    wrong = network.predict(others, verbose=0).argmax(axis=1) != digits["y_test"]
    assert wrong.mean() < 1 / 6
