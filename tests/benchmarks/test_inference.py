"""Seconds for a 2048 x 2048 image, against bioimageio.core on the same weights file, in one run.

Both predict from the raw image to class probabilities with the network loaded and used before. bioimageio.core predicts
the whole image, as `bioimageio.core.predict` does unless told otherwise, and once more in blocks (its `--blockwise`).
Contenders take turns; each counts with the median of its rounds. Processor time is printed beside the wall clock's:
other work on the machine hardly moves it.
"""

import contextlib
import io
import time
from collections.abc import Callable

import keras
import numpy as np
import pytest

import bmzpack
from arrays import only
from kerazoo.inference.load import load_predictor
from kerazoo.models.pixels.network import unet

pytestmark = pytest.mark.bench

SIDE, ROUNDS, ROUNDS_OF_BLOCKS = 2048, 5, 1


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(100, 4000, (SIDE, SIDE, 1)).astype(np.uint16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, image):
    """U-Net with 16 filters and depth 4; normalisation statistics and biases as training leaves them, not zero."""
    keras.utils.set_random_seed(1)
    model = unet(classes=3, filters=16, depth=4)
    random = np.random.default_rng(2)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape[0]
            scale, variance = random.uniform(0.7, 1.3, (2, size))
            layer.set_weights([scale, random.normal(0, 0.2, size), random.normal(0, 0.2, size), variance])
    normalisation = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "y", "x"]}}
    return bmzpack.pack(
        model,
        {"name": "U-Net", "inputs": [{"test_image": image[:256, :256], "preprocessing": [normalisation]}]},
        tmp_path_factory.mktemp("bundle") / "unet.zip",
        formats=["keras_v3"],
    ).path


@pytest.fixture(scope="module")
def contenders(bundle, image) -> dict[str, Callable[[], np.ndarray]]:
    from bioimageio.core import create_prediction_pipeline, load_model_description
    from bioimageio.core.digest_spec import create_sample_for_model

    predictor = load_predictor(bundle)
    description = load_model_description(bundle)
    pipeline = create_prediction_pipeline(description, weight_format="keras_v3")
    pipeline.load()

    def core(blocks: bool) -> np.ndarray:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            sample = create_sample_for_model(description, inputs=image[None].astype(np.float32))
            if blocks:
                result = pipeline.predict_sample_with_blocking(sample, ns=10)
            else:
                result = pipeline.predict_sample_without_blocking(sample)
            return np.asarray(result.members["probability"].data)[0]

    return {
        "kerazoo": lambda: only(predictor.outputs(image)),
        "bioimageio.core": lambda: core(blocks=False),
        "bioimageio.core in blocks": lambda: core(blocks=True),
    }


def test_tiled_prediction(contenders):
    # The first call is not timed: functions are traced. Away from the border, where core extends the image by
    # reflection and the network is not the same as on the image alone, all compute the same.
    results = {name: predict() for name, predict in contenders.items()}
    inner = np.s_[128:-128, 128:-128]
    for result in results.values():
        np.testing.assert_allclose(result[inner], results["kerazoo"][inner], atol=2e-3)

    wall: dict[str, list[float]] = {name: [] for name in contenders}
    processor: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(ROUNDS):
        for name, predict in contenders.items():
            if name.endswith("blocks") and turn >= ROUNDS_OF_BLOCKS:
                continue
            began, used = time.perf_counter(), time.process_time()
            predict()
            wall[name].append(time.perf_counter() - began)
            processor[name].append(time.process_time() - used)

    ratio = {}
    for name in contenders:
        seconds, work = np.median(wall[name]), np.median(processor[name])
        ratio[name] = np.median(wall["kerazoo"]) / seconds
        of_work = np.median(processor["kerazoo"]) / work
        print(
            f"\n{name:26} {seconds:6.2f} s ({work:6.2f} s of processor time), kerazoo takes {ratio[name]:.2f} of it "
            f"({of_work:.2f} of the processor time)",
            end="",
        )
    print()
    assert ratio["bioimageio.core"] <= 0.6
    assert ratio["bioimageio.core in blocks"] <= 0.6
