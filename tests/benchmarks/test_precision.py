"""Training in bfloat16 against float32: time of a step and error; on a GPU also what is learned.

With TensorFlow or JAX, where there is a GPU: `KERAS_BACKEND=jax pytest -m bench -s tests/benchmarks/test_precision.py`.
"""

import keras
import numpy as np
import pytest

from clock import Clock
from kerazoo.examples.synthetic import nuclei
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.registry import create_model
from kerazoo.training.precision import policy

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

NETWORKS = {"stardist2d": (4, 256), "cellpose2d": (8, 224), "omnipose2d": (8, 128)}
"""Patches of a step, and their side."""
POOL = 16
"""Steps after which the patches come again."""


def batches(name):
    """Patches of synthetic nuclei (patch, y, x, 1) and what is learned of them, as `kerazoo train` does."""
    batch, side = NETWORKS[name]
    config = make_config({"model": {"name": name}, "data": {"images": ".", "masks": "."}})
    target = family_of(config).target(config)
    x, y = [], []
    for seed in range((POOL + 1) * batch):
        image, labels = nuclei(seed, side)
        low, high = np.percentile(image, (1, 99.8))
        x.append((image[..., None].astype(np.float32) - low) / (high - low))
        kept = target.of_image(labels)
        y.append(target.of_patch(kept, ((1.0, 0.0), (0.0, 1.0))))
    return np.stack(x), np.stack(y), batch, family_of(config).loss(config, np.ones(2))


def trained(name, dtypes, steps, x, y, batch, loss):
    """The network after so many steps, and the median time of one."""
    keras.utils.set_random_seed(1)
    with policy(dtypes):
        model = create_model(name, input_shape=(None, None, 1))
    model.compile(keras.optimizers.Adam(3e-4), loss, jit_compile=keras.backend.backend() == "jax")
    clock = Clock()
    shown = min(steps, POOL) * batch
    model.fit(x[:shown], y[:shown], batch, steps * batch // shown, verbose=0, callbacks=[clock])
    gaps = np.diff(clock.ends)
    return model, float(np.median(gaps[len(gaps) // 2 :]))


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_against_float32(name):
    gpu = any(device.startswith("gpu") for device in keras.distribution.list_devices())
    steps = 40 * POOL if gpu else 5
    *data, batch, loss = batches(name)
    held_out = [array[-batch:] for array in data]
    models, seconds, losses = {}, {}, {}
    for dtypes in ("float32", "mixed_bfloat16"):
        models[dtypes], seconds[dtypes] = trained(name, dtypes, steps, *data, batch, loss)
        outputs = models[dtypes].predict(held_out[0], verbose=0)
        losses[dtypes] = float(loss(held_out[1], outputs.astype(np.float32)))
    exact, short = models.values()
    short.set_weights(exact.get_weights())
    outputs = [model.predict(held_out[0], verbose=0).astype(np.float32) for model in (exact, short)]
    error = np.sqrt(np.mean((outputs[1] - outputs[0]) ** 2) / np.mean(outputs[0] ** 2))
    print(f"\n{name}, {keras.backend.backend()}, {'GPU' if gpu else 'CPU'}, {steps} steps of {batch} patches")
    for dtypes in models:
        print(f"{dtypes:15} {seconds[dtypes] * 1e3:8.1f} ms a step, loss of held-out patches {losses[dtypes]:.4f}")
    print(f"{seconds['mixed_bfloat16'] / seconds['float32']:.2f}x; ", end="")
    print(f"outputs of the same weights differ by {error:.2%} (root mean square)")
    assert error < 0.05
    assert losses["mixed_bfloat16"] < 1.1 * losses["float32"]
