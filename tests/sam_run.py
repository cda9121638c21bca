"""A run of Segment Anything whose network has all objects from its input; what it says of prompts is random."""

import keras
import tifffile
import yaml

from kerazoo.config import DecodingConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.models.configure import make_config
from kerazoo.models.recipe import TileGeometry, make_recipe
from kerazoo.models.registry import family_of_kind
from kerazoo.models.sam.mask_decoder import mask_decoder
from kerazoo.models.sam.network import whole
from kerazoo.models.sam.targets import map_targets
from kerazoo.runs.run import Run

SIDE = 256


def network_of_maps(features=16):
    """Maps of all objects are the three channels of the image."""
    keras.utils.set_random_seed(1)
    raw = keras.Input((None, None, 3), name="raw")
    embedding = keras.layers.Conv2D(features, 8, strides=8, name="patches")(raw)
    maps = keras.layers.MaxPooling2D(1, name="maps")(raw)
    decoder = mask_decoder(SIDE // 8, SIDE, features, depth=1, heads=2, hidden=16)
    return whole(raw, embedding, decoder, maps, "sam_tiny")


def sam_run(folder, labels):
    """A run with one validation image, the maps of a label image."""
    folder.mkdir()
    image, mask = folder / "image.tif", folder / "mask.tif"
    tifffile.imwrite(image, map_targets(labels), photometric="minisblack", metadata={"axes": "YXC"})
    tifffile.imwrite(mask, labels.astype("uint16"))
    data = {"images": str(folder), "masks": str(folder), "channels": 3, "axes": "YXC"}
    config = make_config({"model": {"name": "sam_tiny"}, "data": data, "training": {"patch_size": SIDE}})
    recipe = make_recipe(
        config,
        family_of_kind("prompts"),
        Normalisation(method="none"),
        TileGeometry(step=8, halo=0, minimum=8),
        None,
    )
    recipe = recipe.model_copy(update={"decoding": DecodingConfig(minimum_size=5)})
    run = Run(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    network_of_maps().save(run.model_path)
    run.write("recipe", recipe.model_dump(mode="json"))
    run.write("split", {"train": [], "validation": [{"id": "image", "image": str(image), "mask": str(mask)}]})
    run.write("environment", {})
    run.write("record", {})
    return run
