"""Networks that see images whole: a run and its bundle find the same objects, however large an image is."""

import keras
import numpy as np
import pytest
import tifffile
import yaml

from bmzpack.errors import UserError
from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.exporting.export import export
from kerazoo.inference.load import load_predictor
from kerazoo.inference.whole_image import WholeImagePredictor
from kerazoo.models.configure import make_config
from kerazoo.models.recipe import TileGeometry, make_recipe
from kerazoo.models.registry import create_model, family_of_kind
from kerazoo.runs.run import Run

pytestmark = pytest.mark.slow

SIDE = 64
SMALL = {
    "image_size": SIDE,
    "patch": 8,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "window": 3,
    "features": 16,
    "hidden": 16,
    "global_blocks": [1],
    "instances": 4,
}
OF_THE_DATA_SET = Normalisation(
    method="standardisation", scope="dataset", mean=[120.0, 60.0, 200.0], deviation=[30.0, 40.0, 50.0]
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained network; half of the pixels of its map are foreground."""
    folder = tmp_path_factory.mktemp("run")
    data = {"images": str(folder), "masks": str(folder), "channels": 3, "axes": "YXC"}
    model = {"name": "sam_vit_b", "arguments": SMALL}
    config = make_config({"model": model, "data": data, "training": {"patch_size": SIDE}})
    geometry = TileGeometry(step=SIDE // 2, halo=None, minimum=SIDE)
    run = Run(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    keras.utils.set_random_seed(1)
    create_model("sam_vit_b", input_shape=(None, None, 3), **SMALL).save(run.model_path)
    recipe = make_recipe(config, family_of_kind("prompts"), OF_THE_DATA_SET, geometry, None)
    run.write("recipe", recipe.model_dump(mode="json"))
    for name in ("environment", "record"):
        run.write(name, {})
    run.write("split", {"train": [], "validation": []})
    maps = load_predictor(run).outputs(image_of(SIDE, SIDE))["maps"]
    threshold, *seeds = np.median(maps, axis=(0, 1)).tolist()
    decoding = DecodingConfig(threshold=threshold, seed_threshold=max(seeds), minimum_size=0)
    run.write("recipe", recipe.model_copy(update={"decoding": decoding}).model_dump(mode="json"))
    return run


@pytest.fixture(scope="module")
def bundle(run):
    """Means of several channels are part of its graph."""
    image = run.path / "image.tif"
    tifffile.imwrite(image, image_of(SIDE, SIDE), photometric="rgb")
    return export(run, run.path / "bundle.zip", formats=["keras_v3"], image=image)


def image_of(height, width):
    blocks = np.random.default_rng(0).integers(0, 255, (-(-height // 8), -(-width // 8), 3))
    return blocks.repeat(8, axis=0).repeat(8, axis=1)[:height, :width].astype(np.uint8)


@pytest.fixture(scope="module")
def predictors(run, bundle):
    return [load_predictor(source) for source in (run, bundle)]


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (30, 50), (170, 90)])
def test_a_bundle_finds_the_objects_of_its_run(predictors, shape):
    assert all(isinstance(predictor, WholeImagePredictor) for predictor in predictors)
    assert predictors[1].recipe == predictors[0].recipe
    expected, found = (predictor.result(image_of(*shape)) for predictor in predictors)
    assert expected.shape == shape
    assert expected.max() > 1
    np.testing.assert_array_equal(found, expected)


def test_neither_has_tiles(run, bundle):
    for source in (run, bundle):
        with pytest.raises(UserError, match="sees every image whole"):
            load_predictor(source, tile=256)
