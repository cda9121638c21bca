"""Networks of bundles that answer prompts: the same answers as from Python."""

import keras
import numpy as np
import pytest

from kerazoo.inference.network import compiled
from kerazoo.models.sam.bundle import box_network, embedding_network
from kerazoo.models.sam.mask_decoder import mask_decoder
from kerazoo.models.sam.network import whole
from kerazoo.models.sam.prompted import PromptedNetwork
from sam_run import network_of_maps


def of_one_size():
    """An encoder that sees the whole image, of 128 pixels."""
    image = keras.Input((128, 128, 3), name="raw")
    embedding = keras.layers.Conv2D(16, 16, strides=16)(image)
    return whole(image, embedding, mask_decoder(8, 128, 16, depth=1, heads=2, hidden=16), None, "one_size")


@pytest.mark.parametrize(("make", "shape"), [(network_of_maps, (304, 408)), (of_one_size, (128, 128))])
def test_boxes_in_one_network(make, shape, tmp_path):
    network = make()
    box_network(network).save(tmp_path / "boxes.keras")
    boxes_of = keras.saving.load_model(tmp_path / "boxes.keras")
    image = np.random.default_rng(0).normal(size=(*shape, 3)).astype(np.float32)
    height, width = shape
    boxes = np.array([[5, 7, 60, 50], [10, 90, 70, 120], [0, 0, width - 1, height - 1]], np.float32)
    masks, scores = boxes_of([image.transpose(2, 0, 1)[None], boxes[None]])
    assert masks.shape == (1, 3, 1, *shape)
    assert scores.shape == (1, 3, 1)
    asked = PromptedNetwork(network, compiled)
    embedding = asked.embed(image)
    for number, (mask,) in enumerate(asked.masks(embedding, boxes=boxes)):
        expected = np.zeros(shape, np.float32)
        expected[mask.rows, mask.columns] = mask.logits
        np.testing.assert_allclose(masks[0, number, 0], expected, atol=1e-4 * np.ptp(expected))
        assert float(scores[0, number, 0]) == pytest.approx(mask.score, abs=1e-5)
    found = np.asarray(embedding_network(network)(image[None]))
    np.testing.assert_allclose(found[0], embedding.tokens[: found.shape[1], : found.shape[2]], atol=1e-5)
