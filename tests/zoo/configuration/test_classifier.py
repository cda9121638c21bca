"""`kerazoo init` for classifiers: what it writes is right for patches and slides, and says what may leak."""

import keras
import numpy as np
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.configuration.write import write_config
from kerazoo.data.normalise import Normalisation, fit_normalisation
from kerazoo.data.patches import cut_patches, patch_of
from kerazoo.data.split import split_pairs
from kerazoo.files.pairs import load_pair, pairs_of
from kerazoo.inference.network import Network
from kerazoo.inference.patch_predictor import PatchPredictor
from kerazoo.models.configure import read_config
from kerazoo.models.patches.network import patch_cnn
from kerazoo.models.recipe import Recipe, TileGeometry
from kerazoo.training.checks import check_normalisation

SIZE = 32


def patch(random, name, dtype, shape=(SIZE, SIZE)):
    """Bright cells, or dim glass: told apart by their values, which numbers of each patch would hide."""
    values = random.normal(500, 30, shape) + (name == "cells") * 1500 * (random.uniform(size=shape) > 0.6)
    return (values / 10).clip(0, 255).astype(dtype) if dtype == "uint8" else values.astype(dtype)


def write_patches(folder, dtype="uint16", count=6, side=SIZE):
    random = np.random.default_rng(1)
    for name in ("cells", "glass"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            tifffile.imwrite(folder / name / f"{name}{number}.tif", patch(random, name, dtype, (side, side)))
    return folder


def init(place, model="patch_cnn", **options):
    path = write_config(model, None, None, place / "run.yaml", **options)
    return read_config(path), path.read_text(encoding="utf-8")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("model", ["patch_cnn", "classifier2d", "lenet1989"])
def test_a_map_says_of_a_patch_what_training_has_shown(tmp_path, model, dtype):
    """A slide, its tiles one by one, and the same patches in training: one answer for all that is written."""
    side = 28 if model == "lenet1989" else SIZE
    config, _ = init(tmp_path, model, folder=write_patches(tmp_path / "data", dtype, side=side))
    check_normalisation(config)
    samples = [load_pair(pair, config.data) for pair in pairs_of(config.data)]
    normalisation = fit_normalisation(config.normalisation, samples)
    keras.utils.set_random_seed(2)
    network = patch_cnn((side, side, 1), filters=4)
    recipe = Recipe(
        model=model,
        task="classification",
        channels=1,
        channel_names=["grey"],
        classes=config.data.classes,
        targets="patch",
        patch=patch_of(config),
        normalisation=normalisation,
        decoding=config.decoding,
        geometry=TileGeometry(step=side, halo=0, minimum=side),
    )
    classifier = PatchPredictor(Network(network), recipe)
    tiles = [sample.image for sample in samples]
    found = classifier.map(np.concatenate([np.concatenate(tiles[row : row + 4], axis=1) for row in (0, 4, 8)]))
    alone = np.stack([classifier.scores(tile, np.zeros((1, 2), int))[0] for tile in tiles])
    trained = cut_patches(samples, config, normalisation)
    shown = np.stack([trained.normalised(index) for index in range(len(trained))])
    np.testing.assert_allclose(found.reshape(-1, 2), alone, atol=1e-5)
    np.testing.assert_allclose(alone, network.predict_on_batch(shown), atol=1e-5)
    if model == "classifier2d":
        assert shown.min() >= 0
        assert 0.2 < shown.max() < 1.2, "the encoder takes 0 to 1"


def test_hot_pixels_do_not_decide_on_the_range(tmp_path):
    folder = write_patches(tmp_path / "data")
    path = folder / "glass" / "glass0.tif"
    image = tifffile.imread(path)
    image[3, 4] = 65535
    tifffile.imwrite(path, image)
    config, text = init(tmp_path, "classifier2d", folder=folder)
    assert 2000 < config.normalisation.maximum < 2200
    assert "values 3" in text
    assert "to 65535" in text


def test_the_normalisation_of_a_run_is_taken_over(tmp_path):
    run = tmp_path / "other"
    run.mkdir()
    (run / "config.yaml").touch()
    (run / "best.keras").touch()
    recipe = {
        **{
            "model": "patch_cnn",
            "task": "classification",
            "channels": 1,
            "channel_names": ["a"],
            "classes": ["a", "b"],
        },
        **{"targets": "patch", "decoding": {}, "geometry": {"step": 32, "halo": 0, "minimum": 32}},
        "normalisation": Normalisation(method="scaling", maximum=65535),
    }
    (run / "recipe.json").write_text(Recipe.model_validate(recipe).model_dump_json(), encoding="utf-8")
    folder = write_patches(tmp_path / "data")
    config, text = init(tmp_path, folder=folder, weights=run / "best.keras")
    assert config.normalisation.method == "scaling"
    assert "as the run that the weights are from" in text
    config, _ = init(tmp_path, folder=folder, overwrite=True)
    assert (config.normalisation.method, config.normalisation.scope) == ("standardisation", "dataset")


def write_table(folder, rows, heading="file,class,patient"):
    write_patches(folder, "uint8", count=12)
    (folder / "table.csv").write_text("\n".join([heading, *rows]), encoding="utf-8")
    return folder / "table.csv"


def rows_of(patient):
    """Twelve images of each class, with the patient that a function of class and number names."""
    return [f"{name}/{name}{n}.tif,{name},{patient(name, n)}" for name in ("cells", "glass") for n in range(12)]


def test_a_column_of_patients_is_proposed(tmp_path):
    table = write_table(tmp_path, rows_of(lambda name, n: f"p{n // 3}"))
    config, text = init(tmp_path, table=table)
    assert config.split.group == "patient"
    split = split_pairs(pairs_of(config.data), config.split)
    assert not {pair.group for pair in split.train} & {pair.group for pair in split.validation}
    assert f"# {len(split.train)} images to train, {len(split.validation)} to validate" in text
    assert "images of one patient stay on one side: 3 of them to train, 1 to validate" in text


def test_a_seed_with_every_class_on_both_sides_is_proposed(tmp_path):
    """Two of four patients have cells only, two glass only: few divisions are of use."""
    table = write_table(tmp_path, rows_of(lambda name, n: f"{name}{n // 6}"), "file,class,slide")
    config, text = init(tmp_path, table=table)
    split = split_pairs(pairs_of(config.data), config.split)
    assert {pair.category for pair in split.validation} == {pair.category for pair in split.train} == {"cells", "glass"}
    assert config.split.validation == 0.5
    assert config.split.seed == 1 or "with it every class is on both sides" in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (rows_of(lambda name, n: name), "All images of the class 'cells' have the patient 'cells': whatever"),
        (rows_of(lambda name, n: f"{name}{n}")[11:], "The class 'cells' has only one image"),
    ],
)
def test_classes_that_cannot_be_divided(tmp_path, rows, message):
    table = write_table(tmp_path, rows)
    with pytest.raises(UserError, match=message):
        init(tmp_path, table=table)
    assert not (tmp_path / "run.yaml").exists()


def test_segmentation_gets_the_column_too(tmp_path):
    random = np.random.default_rng(0)
    for number in range(4):
        tifffile.imwrite(tmp_path / f"{number}.tif", random.integers(0, 99, (64, 64)).astype("uint8"))
        mask = np.zeros((64, 64), "uint8")
        mask[4:20, 4:20], mask[30:50, 30:50] = 1, 2
        tifffile.imwrite(tmp_path / f"{number}_masks.tif", mask)
    table = tmp_path / "table.csv"
    table.write_text("image,mask,slide\n" + "".join(f"{n}.tif,{n}_masks.tif,s{n % 2}\n" for n in range(4)))
    assert init(tmp_path, "unet2d", table=table)[0].split.group == "slide"


def test_a_warning_where_the_size_tells_the_class(tmp_path):
    """One image of another size does not hide it, and sizes that say nothing are no reason to warn."""
    random = np.random.default_rng(4)
    for name, usual in (("cells", 48), ("glass", 40)):
        (tmp_path / name).mkdir()
        for number in range(12):
            side = usual if number else 88 - usual
            tifffile.imwrite(tmp_path / name / f"{number}.tif", patch(random, name, "uint8", (side, side)))
    _, text = init(tmp_path, folder=tmp_path)
    assert "WARNING: the size of an image alone tells the class of 92% of them, chance of 50%" in text
    for name in ("cells", "glass"):
        for number in range(12):
            side = 40 + 8 * (number % 2)
            tifffile.imwrite(tmp_path / name / f"{number}.tif", patch(random, name, "uint8", (side, side)))
    assert "WARNING" not in init(tmp_path, folder=tmp_path, overwrite=True)[1]
