"""The networks and losses on the other Keras backends, each in a process of its own."""

import importlib.util
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from kerazoo.models.pixels.network import unet

PROGRAM = """
import sys
import keras
import numpy as np
from kerazoo.models.pixels.network import unet
from kerazoo.models.shared.class_loss import ClassLoss
from kerazoo.models.shared.metrics import ConfusionMetrics

folder = sys.argv[1]
data = np.load(folder + "/data.npz")
results = {}
for name in ("plain", "valid", "mobilenet_v2", "efficientnet_v2_b0", "resnet50_v2"):
    model = keras.saving.load_model(f"{folder}/{name}.keras", compile=False)
    results[name] = model.predict(data["x"], verbose=0)

keras.utils.set_random_seed(1)
model = unet((None, None, 3), classes=3, filters=4, depth=2, dropout=0.1)
loss = ClassLoss(cross_entropy=1, dice=1, focal=1, tversky=1, class_weights=[1.0, 2.0, 1.0])
model.compile(keras.optimizers.AdamW(1e-2), loss, metrics=[ConfusionMetrics(3, foreground=True)])
x, y = data["x"][:, :32, :32], data["y"][:, :32, :32]
history = model.fit(x, y, batch_size=2, epochs=25, verbose=0).history
assert {"loss", "accuracy", "mean_iou", "foreground_dice"} <= set(history), list(history)
results["losses"] = np.array(history["loss"])
results["value"] = np.asarray(keras.ops.convert_to_numpy(loss(data["y"], data["p"])))
assert keras.backend.backend() == sys.argv[2]
np.savez(folder + "/" + sys.argv[2] + ".npz", **results)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backends")
    random = np.random.default_rng(1)
    x = random.random((4, 64, 64, 3)).astype("float32")
    y = (x[..., :1] > 0.5).astype("uint8") + (x[..., :1] > 0.8)
    y[:, :4] = 255
    p = random.dirichlet(np.ones(3), size=y.shape[:3]).astype("float32")
    np.savez(folder / "data.npz", x=x, y=y, p=p)
    networks = {
        "plain": {"filters": 4, "depth": 3},
        "valid": {"filters": 4, "depth": 2, "padding": "valid"},
        **{name: {"filters": 4, "backbone": name} for name in ("mobilenet_v2", "efficientnet_v2_b0", "resnet50_v2")},
    }
    for name, arguments in networks.items():
        model = unet((None, None, 3), classes=3, **arguments)
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.moving_mean.assign(random.normal(size=layer.moving_mean.shape) * 0.1)
        model.save(folder / f"{name}.keras")
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    return run("tensorflow", folder)


def run(backend, folder):
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), backend], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / f"{backend}.npz"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_predicts_and_trains_as_on_tensorflow(backend, folder, expected):
    if importlib.util.find_spec(backend) is None:  # TensorFlow and torch must not be imported together
        pytest.skip(f"needs {backend}")
    found = run(backend, folder)
    for name in ("plain", "valid", "mobilenet_v2", "efficientnet_v2_b0", "resnet50_v2"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4, err_msg=name)
    assert float(found["value"]) == pytest.approx(float(expected["value"]), rel=1e-5)
    for losses in (found["losses"], expected["losses"]):
        assert losses[-1] < 0.7 * losses[0]
