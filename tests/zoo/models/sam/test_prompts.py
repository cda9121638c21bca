"""Prompts: those of a training, those of a user, and what the network makes of them."""

import keras
import numpy as np
import pytest

from bmzpack.errors import UserError
from kerazoo.inference.network import compiled
from kerazoo.models.sam.feed import prompts_of
from kerazoo.models.sam.mask_decoder import mask_decoder
from kerazoo.models.sam.network import image_network, sam_tiny, sam_vit
from kerazoo.models.sam.prompted import Embedding, PromptedNetwork
from kerazoo.models.sam.training import prompted


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return sam_tiny(features=32, depth=1, hidden=32)


def squares():
    labels = np.zeros((64, 64), np.float32)
    labels[4:12, 6:20], labels[30:60, 30:40], labels[0:2, 40:43] = 1, 2, 3
    return labels


def test_prompts_of_a_training_lie_in_their_objects():
    labels = squares()
    seen = set()
    for seed in range(30):
        chosen, points, kinds, noise, weights = prompts_of(labels, np.random.default_rng(seed), 3, 2)
        assert set(chosen) <= {1, 2}  # the third is too small
        assert (weights == 1).all()
        assert noise.shape == (3, 2, 2)
        for label, point, kind in zip(chosen, points, kinds, strict=True):
            seen.add((label, tuple(kind)))
            if tuple(kind) == (1, -1):
                x, y = point[0].astype(int)
                assert labels[y, x] == label
            else:
                assert tuple(kind) == (2, 3)
                y, x = np.nonzero(labels == label)
                corners = np.array([[x.min(), y.min()], [x.max(), y.max()]])
                assert (np.abs(point - corners) <= 0.025 * (np.ptp([x, y], axis=1) + 1) + 1e-4).all()
    assert len(seen) == 4


def test_a_patch_without_objects_counts_nothing():
    chosen, _, kinds, _, weights = prompts_of(np.zeros((16, 16), np.float32), np.random.default_rng(0), 4, 1)
    assert (chosen == -1).all()
    assert (kinds == -1).all()
    assert not weights.any()


@pytest.mark.slow
def test_the_loss_falls_for_points_and_boxes(network):
    """Also without any mask as a prompt."""
    model = prompted(network, 256, 2, 1)
    random = np.random.default_rng(0)
    labels = np.zeros((1, 256, 256), np.float32)
    labels[0, 40:120, 60:150], labels[0, 180:230, 20:90] = 1, 2
    inputs = {
        "raw": (labels > 0)[..., None] + random.normal(0, 0.1, (1, 256, 256, 1)).astype(np.float32),
        "label_image": labels,
        "objects": np.array([[1, 2]], np.float32),
        "noise": random.random((1, 2, 1, 2), np.float32),
    }
    point = np.array([[[[100, 80], [0, 0]], [[50, 200], [0, 0]]]], np.float32)
    box = np.array([[[[60, 40], [149, 119]], [[20, 180], [89, 229]]]], np.float32)
    mixes = {
        "points": {"points": point, "labels": np.array([[[1, -1], [1, -1]]], np.int32)},
        "boxes": {"points": box, "labels": np.array([[[2, 3], [2, 3]]], np.int32)},
    }
    optimiser = keras.optimizers.Adam(0.003)
    optimiser.build(model.trainable_variables)
    import tensorflow as tf

    @tf.function
    def step(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(inputs, training=True)[1])
        optimiser.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    for name, prompts in mixes.items():
        for has_mask in (0.0, 1.0):
            inputs["noise"][..., 1] = 1 - has_mask
            batch = {key: tf.constant(value) for key, value in (inputs | prompts).items()}
            losses = [float(step(batch)) for _ in range(8)]
            assert min(losses[-2:]) < losses[0], (name, has_mask, losses)


def test_several_objects_at_once_are_as_one_by_one(network):
    asked = PromptedNetwork(network, compiled)
    image = np.random.default_rng(1).normal(size=(300, 411, 1)).astype(np.float32)
    embedding = asked.embed(image)
    assert embedding.shape == (300, 411)
    points = np.array([[[5, 7], [30, 40]], [[400, 290], [350, 200]], [[200, 100], [210, 90]]], np.float32)
    labels = np.array([[1, 0], [1, 1], [1, 0]], np.int32)
    together = list(asked.masks(embedding, points, labels, several=True))
    for number, masks in enumerate(together):
        (alone,) = asked.masks(embedding, points[number : number + 1], labels[number : number + 1], several=True)
        for one, other in zip(masks, alone, strict=True):
            assert (one.rows, one.columns) == (other.rows, other.columns)
            np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
            x, y = points[number, 0]
            assert one.rows.start <= y < one.rows.stop
            assert one.columns.start <= x < one.columns.stop
            assert one.rows.stop <= 300
            assert one.columns.stop <= 411


def test_an_embedding_is_kept_and_the_image_is_not_seen_again(network, tmp_path):
    asked = PromptedNetwork(network, compiled)
    embedding = asked.embed(np.random.default_rng(1).normal(size=(256, 256, 1)).astype(np.float32))
    embedding.save(tmp_path / "kept.npz")
    kept = Embedding.load(tmp_path / "kept.npz")
    asked._encode = None  # would fail if it ran
    boxes = np.array([[10, 20, 90, 120]], np.float32)
    ((first,),), ((second,),) = (list(asked.masks(one, boxes=boxes)) for one in (embedding, kept))
    np.testing.assert_array_equal(first.logits, second.logits)
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(UserError, match="holds no embedding"):
        Embedding.load(tmp_path / "text.npz")


def test_every_network_sees_images_of_any_size_and_is_saved(network, tmp_path):
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    image = np.random.default_rng(0).normal(size=(1, 72, 104, 1)).astype(np.float32)
    maps = np.asarray(image_network(loaded)(image))
    assert maps.shape == (1, 72, 104, 3)
    np.testing.assert_allclose(maps, np.asarray(image_network(network)(image)), atol=1e-6)


def test_the_mask_decoder_has_the_published_parameters():
    decoder = mask_decoder()
    count = sum(int(np.prod(weight.shape)) for weight in decoder.trainable_weights)
    assert count == 4_058_340 + 6_220
    assert sum(int(np.prod(weight.shape)) for weight in decoder.non_trainable_weights) == 256


@pytest.mark.slow
def test_a_training_in_less_memory_is_the_same(monkeypatch):
    """Losses, gradients and statistics, of the decoder of all objects and of prompts."""
    from kerazoo.models.sam import training

    small = {"width": 24, "depth": 1, "heads": 2, "global_blocks": (0,), "features": 16}
    random = np.random.default_rng(0)
    inputs = {
        "raw": random.random((1, 64, 64, 1), np.float32),
        "label_image": np.kron(random.integers(0, 9, (4, 4)), np.ones((16, 16)))[None].astype("float32"),
        "objects": np.array([[1, 2]], np.float32),
        "points": random.uniform(0, 64, (1, 2, 2, 2)).astype(np.float32),
        "labels": np.array([[[1, -1], [2, 3]]], np.int32),
        "noise": random.random((1, 2, 1, 2), np.float32),
    }

    def step():
        import tensorflow as tf

        keras.utils.set_random_seed(0)
        network = sam_vit("vit_b", (64, 64, 1), hidden=32, instances=8, **small)
        model = prompted(network, 64, 2, 1)

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                found = dict(zip(model.output_names, model(inputs, training=True), strict=True))
                loss = tf.reduce_mean(found["maps"] ** 2) + tf.reduce_mean(found["prompts"])
            return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])

        loss, values = gradients()
        by_name = {
            variable.path: tf.convert_to_tensor(value).numpy()
            for variable, value in zip(model.trainable_variables, values, strict=True)
            if value is not None
        }
        return float(loss), by_name, {weight.path: weight.numpy() for weight in network.non_trainable_variables}

    loss, gradients, statistics = step()
    monkeypatch.setattr(training.unetr, "trained_maps", lambda embedding, network: network.get_layer("maps").output)
    monkeypatch.setattr(training, "ComputedAgain", keras.Model)
    expected_loss, expected, expected_statistics = step()
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert gradients.keys() == expected.keys()
    largest = max(np.abs(value).max() for value in expected.values())
    for name, value in expected.items():
        np.testing.assert_allclose(gradients[name], value, rtol=1e-3, atol=1e-5 * largest, err_msg=name)
    for name, value in expected_statistics.items():
        np.testing.assert_allclose(statistics[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
