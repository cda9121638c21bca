"""Training with prompts: an encoder that is fixed and adapted, and trainings that go on as if never interrupted."""

from pathlib import Path

import keras
import numpy as np
import pytest

from bmzpack.bundle.archive import unpacked
from bmzpack.errors import UserError
from histories import history, stop_at
from kerazoo.commands import train
from kerazoo.exporting.export import export
from kerazoo.inference.load import load_predictor
from kerazoo.inference.network import load_model
from kerazoo.inference.prompted import PromptedPredictor
from kerazoo.models.registry import create_model
from kerazoo.models.sam.network import image_network, sam_vit
from kerazoo.training.fit import fit
from kerazoo.training.transfer import choose_trainable

SMALL = {
    "image_size": 64,
    "patch": 8,
    "width": 32,
    "depth": 2,
    "heads": 2,
    "window": 3,
    "features": 32,
    "hidden": 32,
    "global_blocks": [1],
    "instances": 8,
}
pytestmark = pytest.mark.usefixtures("without_validation")


@pytest.fixture(scope="module")
def config(make, tmp_path_factory):
    """A network that is adapted, from weights without a decoder of all objects."""
    weights = tmp_path_factory.mktemp("weights") / "start.keras"
    keras.utils.set_random_seed(1)
    sam_vit("vit_b", (None, None, 3), **SMALL | {"instances": 0}).save(weights)
    model = {"name": "sam_vit_b", "weights": str(weights), "arguments": SMALL | {"low_rank": 1}}
    changes = {"learning_rate": 0.001, "warmup_epochs": 0, "steps_per_epoch": 6, "epochs": 3}
    return make({"model": model}, transfer="freeze", **changes)


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return fit(config, tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.mark.slow
def test_an_adapted_encoder_learns_little_of_itself(config, run):
    network = create_model("sam_vit_b", input_shape=(None, None, 1), **SMALL, low_rank=1)
    choose_trainable(network, config, "whole")
    encoder = image_network(network, "image_embedding")
    assert {weight.name for weight in encoder.trainable_weights} == {"lora_kernel_a", "lora_kernel_b"}
    counts = [sum(np.prod(w.shape) for w in weights) for weights in (encoder.trainable_weights, encoder.weights)]
    assert 0 < counts[0] < 0.05 * counts[1]
    losses = [row["loss"] for row in history(run)]
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_the_adaptation_is_in_the_kernels(config, run, tmp_path):
    """And so in every network that starts from this one, and in the bundle, which is an ordinary one."""
    before, after = load_model(Path(config.model.weights)), load_model(run.model_path)
    changed = set()
    for layer in image_network(before, "image_embedding").layers:
        weights = zip(layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=False)
        if any(not np.array_equal(one, other) for one, other in weights):
            changed.add(layer.name)
    parts = {f"block{number}_attention_{part}" for number in range(2) for part in ("query", "value")}
    assert changed - {"patch_embedding"} == parts  # that is for one channel now
    export(run, tmp_path / "bundle.zip", formats=["keras_v3"])
    with unpacked(tmp_path / "bundle.zip") as folder:
        packed = load_model(folder / "weights.keras")
    assert not [weight for weight in packed.weights if "lora" in weight.name]
    image = np.random.default_rng(0).normal(size=(1, 64, 64, 1)).astype(np.float32)
    np.testing.assert_allclose(packed(image), image_network(after, "maps")(image), atol=1e-6)


@pytest.mark.slow
def test_whole_images_are_predicted(run):
    image = np.random.default_rng(0).integers(0, 255, (33, 80, 1)).astype(np.uint8)
    assert load_predictor(run).result(image).shape == (33, 80)
    asked = PromptedPredictor(run)
    assert asked.embed(image).shape == (33, 80)


def resumes_alike(config, expected, folder, monkeypatch):
    """Whether a training that is stopped in its last epoch goes on to the history of a whole one."""
    last = config.training.epochs - 1
    with monkeypatch.context() as patch:
        stop_at(patch, epoch=last, batch=1, error=KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt, match=f"{last} of {last + 1} epochs"):
            train(config, folder, progress=False)
    resumed = train(config, folder, resume=True, progress=False)
    rows = zip(history(resumed), history(expected), strict=True)
    return all(row == pytest.approx(other, rel=1e-4) for row, other in rows)


@pytest.mark.slow
def test_resumed_training_has_the_same_history(config, run, monkeypatch, tmp_path):
    assert resumes_alike(config, run, tmp_path / "run", monkeypatch)


@pytest.mark.slow
def test_a_small_network_resumes_alike(make, monkeypatch, tmp_path):
    model = {"name": "sam_tiny", "arguments": {"features": 16, "depth": 1, "hidden": 16}}
    config = make({"model": model}, patch_size=256, batch_size=1, steps_per_epoch=2, epochs=2)
    expected = train(config, tmp_path / "whole", progress=False)
    assert resumes_alike(config, expected, tmp_path / "run", monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "training", "reason"),
    [
        ({"low_rank": 0}, {"transfer": "freeze"}, "from 1 on"),
        ({"low_rank": 4}, {}, "set that to freeze"),
        ({}, {"patch_size": 48}, "multiple of 32"),
    ],
)
def test_wrong_settings(make, tmp_path, arguments, training, reason):
    with pytest.raises(UserError, match=reason):
        train(make({"model": {"name": "sam_vit_b", "arguments": SMALL | arguments}}, **training), tmp_path / "run")
