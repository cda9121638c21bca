"""`kerazoo init`: what is measured is right, and what is written can be read and says what was measured."""

import numpy as np
import PIL.Image
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.config import DataConfig
from kerazoo.configuration.write import write_config
from kerazoo.data.rescale import rescaled_to, typical_diameter
from kerazoo.data.survey import survey
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.files.pairs import load_pair, pairs_of
from kerazoo.models.configure import family_of, read_config
from kerazoo.models.pixels.targets import make_target
from kerazoo.models.recipe import Scale

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 255, (96, 120, 3)).astype("uint8")


def write(folder, masks, images=None, suffix=".tif"):
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number, mask in enumerate(masks):
        image = images[number] if images else RANDOM.integers(0, 999, mask.shape).astype("uint16")
        tifffile.imwrite(folder / "images" / f"{number}.tif", image)
        if suffix == ".png":
            picture = PIL.Image.fromarray(mask).convert("P")
            picture.putpalette(RANDOM.integers(0, 255, 30).tolist())
            picture.save(folder / "masks" / f"{number}.png")
        else:
            tifffile.imwrite(folder / "masks" / f"{number}.tif", mask)
    return folder


def init(folder, model="unet2d", **options):
    path = write_config(model, folder / "images", folder / "masks", folder / "config.yaml", **options)
    return read_config(path), path.read_text(encoding="utf-8")


def squares(count, side, value=None):
    mask = np.zeros((96, 120), np.uint16)
    for number in range(count):
        row, column = divmod(number, 8)
        mask[12 * row : 12 * row + side, 14 * column : 14 * column + side] = value or number + 1
    return mask


def test_labels_are_measured(tmp_path):
    folder = write(tmp_path, [squares(10, 6), squares(30, 10), squares(20, 10)])
    found = survey(DataConfig(images=folder / "images", masks=folder / "masks"))
    assert found.annotation == "labels"
    assert found.objects.counts == (10, 20, 30)
    assert found.objects.areas == pytest.approx((36, 100, 100))
    assert found.objects.diameter == pytest.approx(2 * np.sqrt(100 / np.pi))
    assert found.smallest == found.largest == (96, 120)
    assert (found.channels, found.dtypes) == (1, ("uint16",))
    assert found.fractions[1] == pytest.approx((10 * 36 + 50 * 100) / (3 * 96 * 120))
    config, text = init(folder)
    assert family_of(config).task(str(config.targets.kind)) == "instances"
    assert config.targets.border_width == 1, "the objects are small"
    assert config.training.patch_size == 96
    assert config.decoding.minimum_size == 18
    assert "10 to 30 objects per image, median 20" in text
    assert "120 x 96 pixels, uint16" in text
    assert config.data.images == folder / "images"
    assert 'images: "images"' in text, "relative to the configuration, so that the folder can be moved"


def test_patches_fit_images_of_several_scales(tmp_path):
    """Every image is rescaled by its own objects: the one with the largest becomes the smallest."""
    folder = write(tmp_path, [squares(10, 5), squares(20, 5), squares(1, 50)])
    config, _ = init(folder, "cellpose2d")
    samples = [load_pair(pair, config.data) for pair in pairs_of(config.data)]
    scale = Scale(network=config.targets.diameter, images=typical_diameter(samples, None))
    least = min(min(rescaled_to(sample, scale, None).image.shape[:2]) for sample in samples)
    assert least - 8 < config.training.patch_size <= least


def test_patches_are_sought_around_few_objects(tmp_path):
    few, many = (write(tmp_path / name, [squares(count, 6)] * 3) for name, count in (("few", 4), ("many", 40)))
    assert init(few)[0].training.foreground == 0.5, "objects cover 1.3 %"
    assert init(many)[0].training.foreground == 0, "objects cover 12.5 %"
    assert init(many, "omnipose2d", overwrite=True)[0].training.foreground == 0.5
    classes = [RANDOM.integers(0, 3, (64, 64)).astype("uint8") for _ in range(3)]
    assert "foreground" not in init(write(tmp_path / "classes", classes, suffix=".png"))[1]


@pytest.mark.parametrize("value", [1, 255])
def test_binary(tmp_path, value):
    folder = write(tmp_path, [squares(10, 6, value), squares(12, 6, value)])
    config, text = init(folder)
    assert config.data.annotation == "binary"
    assert config.targets.kind == "foreground"
    assert f"no values but 0 and {value}" in text


def test_classes_by_palette(tmp_path):
    masks = [RANDOM.integers(0, 3, (64, 64)).astype("uint8") for _ in range(3)]
    config, text = init(write(tmp_path, masks, suffix=".png"))
    assert config.data.annotation == config.targets.kind == "classes"
    assert family_of(config).channel_names(config) == ["class0", "class1", "class2"]
    assert "lie in several places" in text, "a palette proves nothing"
    assert f"0: {np.mean(np.equal(masks, 0)):.1%}, 1: {np.mean(np.equal(masks, 1)):.1%}" in text


def test_classes_by_their_pieces(tmp_path):
    masks = [squares(40, 8, 1) + 2 * np.roll(squares(20, 4, 1), 10, axis=1) for _ in range(3)]
    masks[0][90:] = 255
    config, text = init(write(tmp_path, masks))
    assert config.data.annotation == "classes"
    assert config.data.ignore == 255
    assert len(family_of(config).channel_names(config)) == masks[1].max() + 1
    assert "lie in several places" in text
    for pair in pairs_of(config.data):
        make_target(load_pair(pair, config.data).mask, config)


def test_channels_backbone_and_valid_convolutions(tmp_path):
    images = [RANDOM.integers(0, 255, (96, 120, 3)).astype("uint8") for _ in range(2)]
    folder = write(tmp_path, [squares(10, 6)] * 2, images)
    config, _ = init(folder, backbone="mobilenet_v2", weights="imagenet")
    assert config.data.channels == 3
    assert (config.model.backbone, config.model.weights, config.model.arguments) == (
        "mobilenet_v2",
        "imagenet",
        {"batch_norm": False},
    )
    assert config.normalisation.method == "scaling", "the encoder takes values between 0 and 1"
    config, _ = init(folder, "unet2d_2015", overwrite=True)
    assert config.training.patch_size == 268, "268 - 184 = 84 pixels fit into 96"


def test_axes_are_asked_for_and_kept(tmp_path):
    images = [RANDOM.normal(size=(2, 96, 120)).astype("float32") for _ in range(2)]
    folder = write(tmp_path, [squares(10, 6)] * 2, images)
    with pytest.raises(UserError, match=r"--axes.*CYX"):
        init(folder)
    config, _ = init(folder, axes="CYX")
    assert (config.data.axes, config.data.channels) == ("CYX", 2)


def test_small_and_large_sets_get_a_similar_number_of_steps(tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    few, _ = init(write(tmp_path / "few", [squares(10, 6)] * 2))
    many, _ = init(write(tmp_path / "many", [squares(10, 6)] * 400))
    for config in (few, many):
        assert 1400 <= config.training.epochs * config.training.steps_per_epoch <= 1600


def test_pixel_size_and_demo_set(tmp_path):
    write_nuclei(tmp_path, images=3, size=128)
    config, text = init(tmp_path)
    assert config.publication.pixel_size == pytest.approx(0.65, rel=1e-3)
    assert config.data.annotation == "labels"
    assert config.training.patch_size == 128
    assert all(line.isascii() for line in text.splitlines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "unet"}, "unet2d"),
        ({"backbone": "mobilenet"}, "did you mean 'mobilenet_v2'"),
        ({"model": "unet2d_2015", "backbone": "mobilenet_v2"}, "takes no backbone"),
        ({"weights": "imagenet"}, "--backbone"),
    ],
)
def test_impossible_choices(tmp_path, options, message):
    folder = write(tmp_path, [squares(10, 6)] * 2)
    with pytest.raises(UserError, match=message):
        init(folder, **options)
    assert not (folder / "config.yaml").exists()


@pytest.mark.parametrize(
    ("masks", "images", "message"),
    [
        ([squares(0, 1)] * 2, None, "all other masks are empty"),
        ([squares(9, 6)[:20, :20]] * 2, None, "20 x 20.*at least 32"),
        ([squares(9, 6), squares(9, 6)[1:]], [np.arange(96 * 120).reshape(96, 120)] * 2, r"masks.1\.tif is 120 x 95"),
        ([squares(9, 6)], [np.ones((96, 120), "uint8")], r"images.0\.tif is constant"),
        ([squares(9, 6) / 2], None, r"masks.0\.tif is a float mask"),
        ([squares(9, 6)] * 2, [PICTURE[..., 0], PICTURE], "differ in the number of channels, 3 and 1"),
    ],
)
def test_unusable_data(tmp_path, masks, images, message):
    folder = write(tmp_path, masks, images)
    with pytest.raises(UserError, match=message):
        init(folder)
    assert not (folder / "config.yaml").exists()


def test_existing_file(tmp_path):
    folder = write(tmp_path, [squares(10, 6)] * 2)
    init(folder)
    with pytest.raises(UserError, match="--overwrite"):
        init(folder)
    init(folder, overwrite=True)


@pytest.mark.parametrize(
    ("name", "masks", "annotation", "channels", "patch"),
    [
        ("nuclei_dsb2018/val", "masks", "labels", 1, 192),
        ("histology_wsss4luad/val", "masks", "classes", 3, 192),
        ("cells_usiigaci/val", "masks", "labels", 1, 192),
        ("bacteria_strack/val", "masks_binary", "binary", 1, 192),
    ],
)
def test_real_sets(data_folder, tmp_path, name, masks, annotation, channels, patch):
    set_name, part = name.split("/")
    folder = data_folder(set_name) / part
    config = read_config(write_config("unet2d", folder / "images", folder / masks, tmp_path / "config.yaml"))
    assert (config.data.annotation, config.data.channels, config.training.patch_size) == (annotation, channels, patch)
