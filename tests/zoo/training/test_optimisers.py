"""Optimisers and learning rates of a configuration."""

import keras
import pytest

from kerazoo.config import TrainingConfig
from kerazoo.models.pixels.network import unet
from kerazoo.training.optimisers import learning_rate, make_optimiser


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adamw", keras.optimizers.AdamW),
        ("adam", keras.optimizers.Adam),
        ("rmsprop", keras.optimizers.RMSprop),
        ("sgd", keras.optimizers.SGD),
    ],
)
def test_optimisers(name, kind):
    optimiser = make_optimiser(TrainingConfig(optimizer=name, learning_rate=0.01, clip_norm=2.0))
    assert type(optimiser) is kind
    assert optimiser.global_clipnorm == 2.0
    assert float(optimiser.learning_rate) == pytest.approx(0.01)
    assert make_optimiser(TrainingConfig(optimizer=name, clip_norm=None)).global_clipnorm is None


def test_weight_decay_leaves_out_biases_and_normalisation():
    model = unet(filters=2, depth=1)
    optimiser = make_optimiser(TrainingConfig(weight_decay=0.1))
    optimiser.build(model.trainable_variables)
    decayed = [variable.path for variable in model.trainable_variables if optimiser._use_weight_decay(variable)]
    assert decayed
    assert all(path.endswith("/kernel") for path in decayed)
    assert len(decayed) == sum(variable.path.endswith("/kernel") for variable in model.trainable_variables)


def test_cosine():
    config = TrainingConfig(learning_rate=0.1, schedule="cosine")
    rates = [learning_rate(config, step, warmup_steps=4, total_steps=24) for step in range(24)]
    assert rates[:4] == pytest.approx([0.02, 0.04, 0.06, 0.08])
    assert rates[4] == 0.1
    assert rates[14] == pytest.approx(0.05)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_constant(schedule):
    config = TrainingConfig(learning_rate=0.1, schedule=schedule)
    assert [learning_rate(config, step, 1, 4) for step in range(4)] == [0.05, 0.1, 0.1, 0.1]
