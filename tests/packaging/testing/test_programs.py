"""The parts into which programs cut images, put together: what the whole network gives, but for the image's edges."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

import bmzpack
from bmzpack.bundle.contents import opened
from bmzpack.errors import UserError
from bmzpack.testing.ilastik import block_sizes
from bmzpack.testing.parts import Span
from bmzpack.testing.programs import PROGRAMS
from bmzpack.testing.qupath import tile_sizes

SHAPES = [(256, 300), (700, 530)]


@pytest.fixture(scope="module")
def network():
    """Gives the same wherever a part begins, as ilastik and QuPath begin the last ones anywhere."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((None, None, 1), name="raw")
    x = layers.Conv2D(4, 5, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, layers.Conv2D(2, 3, padding="same", name="maps")(x))


@pytest.fixture(scope="module")
def bundle(network, tmp_path_factory):
    image = np.random.default_rng(1).normal(size=(128, 128)).astype(np.float32)
    content = {
        "name": "Maps of noise",
        "inputs": [{"test_image": image, "preprocessing": [{"id": "clip", "kwargs": {"min": -2, "max": 2}}]}],
        "outputs": [{"channel_names": ["a", "b"]}],
    }
    path = tmp_path_factory.mktemp("programs") / "maps.zip"
    return bmzpack.pack(network, content, path, formats=["torchscript", "keras_v3"]).path


@pytest.mark.parametrize("program", ["ilastik", "qupath", "core"])
def test_parts_are_put_together(program, bundle, network):
    random = np.random.default_rng(2)
    images = [random.normal(size=(1, *shape, 1)).astype(np.float32) for shape in SHAPES]
    with opened(bundle) as contents:
        results = PROGRAMS[program](contents, images)
    for image, result in zip(images, results, strict=True):
        expected = network(np.clip(image, -2, 2)).numpy()
        assert result["maps"].shape == expected.shape
        inner = (slice(None), slice(8, -8), slice(8, -8))
        np.testing.assert_allclose(result["maps"][inner], expected[inner], atol=1e-4)


def test_what_counts_of_a_part():
    assert Span(-3, 10, 0, 8).result == slice(3, 11)
    assert Span(5, 20, 8, 16, before=2, after=1).result == slice(5, 13)


def test_sizes_of_blocks_and_tiles():
    def entry(*sizes):
        return {"axes": [{"type": "space", "id": name, "size": size} for name, size in zip("yx", sizes, strict=True)]}

    assert block_sizes(entry({"min": 96, "step": 16}, {"min": 96, "step": 16})) == {"y": 512, "x": 512}
    assert block_sizes(entry({"min": 96, "step": 100}, 64)) == {"y": 596, "x": 64}
    assert block_sizes(entry({"min": 600, "step": 8}, {"min": 16, "step": 16})) == {"y": 600, "x": 16}
    assert tile_sizes(entry({"min": 96, "step": 16}, 64)) == {"y": 480, "x": 64}
    assert tile_sizes(entry({"min": 600, "step": 16}, {"min": 1, "step": 1})) == {"y": 600, "x": 512}


@pytest.mark.parametrize(
    ("program", "lacks"), [("ilastik", "no TorchScript"), ("qupath", "no weights that QuPath runs")]
)
def test_bundles_that_a_program_cannot_apply(program, lacks):
    with pytest.raises(UserError, match=lacks):
        PROGRAMS[program](SimpleNamespace(weights={"keras_v3": {}}), [])
