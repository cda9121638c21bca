"""The memory of a prediction is bounded by the tile: an 8192 x 8192 image from file to file."""

import subprocess
import sys

import numpy as np
import pytest
import tifffile

from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.runs.run import Run

SIDE = 8192

PREDICT = """
import resource, sys
from pathlib import Path
from kerazoo.inference.predict import predict

run, small, large, output = sys.argv[1:]
predict(run, [small], output)
before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024
predict(run, [large], output)
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A U-Net that has hardly a say in its output: what is bright is the interior of an object."""
    import keras

    from kerazoo.models.pixels.network import unet

    keras.utils.set_random_seed(1)
    model = unet(classes=3, filters=16, depth=4)
    raw = model.input
    bright = keras.layers.AveragePooling2D(5, strides=1, padding="same", name="bright")(raw)
    scores = keras.layers.Concatenate(name="scores")([0 * raw, 8 * bright, 0 * raw - 10])
    added = keras.layers.Add(name="added")([scores, 0.01 * model.output])
    model = keras.Model(raw, keras.layers.Softmax(name="softmax")(added))
    run = Run(tmp_path_factory.mktemp("run"))
    (run.path / "config.yaml").write_text("model: {name: unet2d}\ndata: {}\n")
    model.save(run.model_path)
    recipe = Recipe(
        model="unet2d",
        task="instances",
        channels=1,
        channel_names=["dna"],
        classes=["background", "interior", "border"],
        targets="border",
        normalisation=Normalisation(method="standardisation"),
        decoding=DecodingConfig(),
        geometry=TileGeometry(step=16, halo=96, minimum=16),
    )
    run.write("recipe", recipe.model_dump(mode="json"))
    return run


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
def test_large_image_takes_less_than_two_gigabytes(run, tmp_path):
    """Some 74,000 discs, more than uint16 can count."""
    y, x = np.mgrid[-8:9, -8:9]
    disc = ((y**2 + x**2 <= 64) * 3000).astype(np.uint16)
    count = (SIDE // 30) ** 2
    image = np.random.default_rng(0).integers(80, 120, (SIDE, SIDE)).astype(np.uint16)
    tiles = np.zeros((SIDE // 30 * 30,) * 2, np.uint16)
    for top, left in np.ndindex(SIDE // 30, SIDE // 30):
        tiles[30 * top : 30 * top + 17, 30 * left : 30 * left + 17] = disc
    image[: len(tiles), : len(tiles)] += tiles
    tifffile.imwrite(tmp_path / "large.tif", image)
    tifffile.imwrite(tmp_path / "small.tif", image[:512, :512])
    arguments = [str(path) for path in (run.path, tmp_path / "small.tif", tmp_path / "large.tif", tmp_path / "out")]
    finished = subprocess.run(
        [sys.executable, "-c", PREDICT, *arguments], check=True, stdout=subprocess.PIPE, text=True, timeout=1500
    )
    before, peak = (int(word) / 1e6 for word in finished.stdout.split())
    print(f"\n{peak - before:.2f} GB above {before:.2f} GB of network and libraries")
    assert peak - before < 2

    labels = tifffile.imread(tmp_path / "out" / "large.tif")
    assert labels.shape == (SIDE, SIDE)
    assert labels.max() == count
    assert len(np.unique(labels)) == count + 1
