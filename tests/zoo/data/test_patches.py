"""Patches are cut where one class covers enough, and shown balanced, seeded, and each once before one comes again."""

import collections
import csv

import numpy as np
import pytest
from PIL import Image

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.data.normalise import Normalisation
from kerazoo.data.patch_batches import Order, plain_patches, training_patches
from kerazoo.data.patches import cut_patches, patches_of_mask, places
from kerazoo.files.pairs import Sample, load_pair, pairs_of
from kerazoo.models.configure import make_config
from kerazoo.models.recipe import Patch

RANDOM = np.random.default_rng(5)
CALM = {"flip": False, "quarter_turns": False, "rotation": 0, "scale": 0, "intensity": 0, "gamma": 0}


def config(augmentation=CALM, annotation="image", **training):
    return make_config(
        {
            "model": {"name": "patch_cnn"},
            "data": {"channels": 2, "annotation": annotation, "classes": ["a", "b", "c"], "folder": "anywhere"},
            "augmentation": augmentation,
            "targets": {"kind": "patch", "stride": 8, "purity": 0.8},
            "training": {"patch_size": 16, "batch_size": 6, **training},
        }
    )


def sample(name, category, shape=(16, 16)):
    image = RANDOM.integers(0, 256, (*shape, 2)).astype("uint8")
    return Sample(name, image, np.broadcast_to(np.int32(category), shape))


def test_patches_of_a_mask_are_those_counted_pixel_by_pixel():
    mask = np.kron(RANDOM.integers(0, 4, (5, 6)), np.ones((16, 16), int))[:75, :90]
    patch = Patch(size=24, stride=7, purity=0.6)
    expected = []
    for y in [*range(0, 52, 7), 51]:
        for x in [*range(0, 67, 7), 66]:
            counts = np.bincount(mask[y : y + 24, x : x + 24].ravel(), minlength=4)
            counts[2] = 0  # ignored
            if counts.max() >= 0.6 * 24**2:
                expected.append((y, x, counts.argmax()))
    assert patches_of_mask(mask, patch, 4, ignore=2).tolist() == [list(map(int, row)) for row in expected]
    assert len(expected) > 10


def test_a_value_that_is_no_class_counts_as_none():
    mask = np.full((32, 32), 255)
    mask[:, :16] = 1
    found = patches_of_mask(mask, Patch(size=16, stride=16, purity=1.0), 3, ignore=255)
    assert found.tolist() == [[0, 0, 1], [16, 0, 1]]


def test_places_reach_the_end():
    assert places(50, 16, 10).tolist() == [0, 10, 20, 30, 34]
    assert places(16, 16, 10).tolist() == [0]
    assert places(15, 16, 10).tolist() == []


def test_the_published_list_of_patches_is_found(data_folder):
    """Windows of 64 pixels at a stride of 16 whose dominant class covers 85 %."""
    folder = data_folder("histology_wsss4luad")
    with (folder / "patches_64_stride16_purity85.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    by_image = collections.defaultdict(set)
    for row in rows:
        by_image[row["name"]].add((int(row["y"]), int(row["x"])))
    for name, expected in by_image.items():
        mask = np.asarray(Image.open(folder / "val" / "masks" / name)).astype(np.int32)
        found = patches_of_mask(mask, Patch(size=64, stride=16, purity=0.85), 4)
        on_grid = {(y, x) for y, x, _ in found.tolist() if y % 16 == 0 and x % 16 == 0}
        assert expected == on_grid, name


def test_order_balances_classes_and_shows_every_patch():
    category = np.array([0] * 3 + [1] * 11 + [2] * 5)
    order = Order(category, balance=True, seed=3)
    shown = [order[place] for place in range(3 * 33)]
    assert collections.Counter(category[shown]) == {0: 33, 1: 33, 2: 33}
    for value, members in ((0, 3), (1, 11), (2, 5)):
        of_class = [index for index in shown if category[index] == value]
        rounds = [of_class[start : start + members] for start in range(0, 33 - members + 1, members)]
        assert all(sorted(part) == sorted(np.flatnonzero(category == value)) for part in rounds)
    plain = Order(category, balance=False, seed=3)
    assert sorted(plain[place] for place in range(19)) == list(range(19))
    assert [plain[place] for place in range(19)] != [plain[place] for place in range(19, 38)]
    assert [Order(category, True, 4)[place] for place in range(30)] != shown[:30]
    assert order.batch(2, 5) == shown[10:15]


def test_batches_hold_the_patches_and_their_classes():
    samples = [sample(str(number), number % 3, (20, 24)) for number in range(4)]
    normalisation = Normalisation(method="scaling", maximum=255)
    settings = config()
    patches = cut_patches(samples, settings, normalisation)
    assert len(patches) == 4 * 2 * 2
    assert [samples[source].id for source in patches.source[:5]] == ["0"] * 4 + ["1"]
    x, y = (np.concatenate(parts) for parts in zip(*plain_patches(patches, settings).as_numpy_iterator(), strict=True))
    assert (x.dtype, y.shape) == (np.float32, (16, 1))
    np.testing.assert_allclose(x[3], samples[0].image[4:20, 8:24] / 255, atol=1e-6)
    order = Order(patches.category, True, settings.training.seed)
    for step, (x, y) in enumerate(training_patches(patches, settings).take(3).as_numpy_iterator()):
        for position, index in enumerate(order.batch(step, 6)):
            np.testing.assert_allclose(x[position], patches.raw(index) / 255, atol=1e-6)
            assert y[position] == patches.category[index]


def test_a_resumed_training_sees_the_same_patches():
    samples = [sample(str(number), number % 2, (30, 30)) for number in range(4)]
    settings = config(augmentation={"rotation": 30, "shift": 2, "elastic": 1, "gaussian": 0.1})
    patches = cut_patches(samples, settings, Normalisation(method="scaling"))
    whole = list(training_patches(patches, settings).take(4).as_numpy_iterator())
    resumed = list(training_patches(patches, settings, start_step=2).take(2).as_numpy_iterator())
    for (x, y), (again_x, again_y) in zip(whole[2:], resumed, strict=True):
        np.testing.assert_array_equal(x, again_x)
        np.testing.assert_array_equal(y, again_y)
    assert not np.array_equal(whole[0][0], whole[1][0])


def test_shift_moves_a_patch_by_at_most_so_many_pixels():
    ramp = np.stack(np.mgrid[:64, :64], axis=-1).astype("float32")
    samples = [Sample("a", ramp, np.broadcast_to(np.int32(0), (64, 64))), sample("b", 1, (64, 64))]
    settings = config(augmentation=CALM | {"shift": 3}, batch_size=64)
    patches = cut_patches(samples[:1], settings, Normalisation(method="none"))
    corners = set(map(tuple, patches.corner.tolist()))
    x, _ = next(training_patches(patches, settings).as_numpy_iterator())
    inner = x[:, 4, 4] - 4
    distances = [min(max(abs(y - a), abs(z - b)) for a, b in corners) for y, z in inner]
    assert 1 < max(distances) <= 3 + 1e-4


def test_images_in_folders_and_tables(tmp_path):
    for name, value in (("b", 10), ("a", 200), ("a", 201)):
        (tmp_path / name).mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), value, "uint8")).save(tmp_path / name / f"{value}.png")
    data = DataConfig(folder=tmp_path, annotation="image", classes=["a", "b"])
    pairs = pairs_of(data)
    assert [(pair.id, pair.category) for pair in pairs] == [("a/200", "a"), ("a/201", "a"), ("b/10", "b")]
    loaded = load_pair(pairs[2], data)
    assert loaded.mask.shape == (8, 8)
    assert set(loaded.mask.ravel()) == {1}
    table = tmp_path / "images.csv"
    table.write_text("file,class,group\na/200.png,a,p1\nb/10.png,b,p2\n", encoding="utf-8")
    named = pairs_of(DataConfig(table=table, annotation="image"))
    assert [(pair.id, pair.category, pair.group) for pair in named] == [("200", "a", "p1"), ("10", "b", "p2")]
    with pytest.raises(UserError, match=r"class 'b'.*data\.classes are a"):
        load_pair(pairs[2], DataConfig(folder=tmp_path, annotation="image", classes=["a"]))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no folders"),
        (["a/", "b/1.png"], "holds no images"),
        (["a/1.png", "a/1.tif"], "the same stem"),
    ],
)
def test_class_folders_that_cannot_be_used(tmp_path, files, message):
    for file in files:
        path = tmp_path / file
        (path if file.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not file.endswith("/"):
            Image.fromarray(np.zeros((8, 8), "uint8")).save(path)
    with pytest.raises(UserError, match=message):
        pairs_of(DataConfig(folder=tmp_path, annotation="image"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"annotation": "image"}, r"data\.folder.*has neither"),
        ({"annotation": "image", "folder": "a", "images": "b"}, r"data\.images and data\.folder"),
        ({"annotation": "classes", "folder": "a"}, "set data.annotation to image"),
        ({"annotation": "image", "table": "a", "folder": "b"}, r"both data\.table and data\.folder"),
    ],
)
def test_contradictory_places(data, message):
    with pytest.raises(UserError, match=message):
        pairs_of(DataConfig(**data))


@pytest.mark.parametrize("gamma", [0, 0.2])
@pytest.mark.parametrize("value", [3001, 65535])
def test_constant_images_become_zero(value, gamma):
    """As in prediction, though their scale is tiny; channels may come first in memory, as in planar TIFF files."""
    image = np.full((2, 64, 64), value, np.uint16).transpose(1, 2, 0)
    settings = config(annotation="classes", augmentation=CALM | {"gamma": gamma})
    normalisation = Normalisation(method="standardisation")
    patches = cut_patches([Sample("a", image, np.zeros((64, 64), np.int64))], settings, normalisation)
    for data in (plain_patches(patches, settings), training_patches(patches, settings).take(1)):
        for x, _ in data:
            np.testing.assert_allclose(x, 0, atol=1e-6)
