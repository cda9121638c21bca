"""The pipeline: image and target move together, everything repeats, and every pixel is validated once.

Most tests use images whose two channels are the pixel's own x and y. Bilinear interpolation keeps such ramps, so that a
patch says where in the image each of its pixels was read.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bmzpack.errors import UserError
from kerazoo.config import AugmentationConfig, NormalisationConfig
from kerazoo.data import pipeline
from kerazoo.data.augment import Intensities, change_intensities, random_map
from kerazoo.data.normalise import Normalisation, fit_normalisation
from kerazoo.data.pipeline import steps_per_epoch
from kerazoo.files.folders import find_pairs
from kerazoo.files.pairs import Sample, load_pair
from kerazoo.models.configure import family_of, make_config

NONE = {"flip": False, "quarter_turns": False} | dict.fromkeys(
    ("rotation", "scale", "elastic", "intensity", "gamma", "blur", "poisson", "gaussian"), 0
)
GEOMETRY = {"flip": True, "quarter_turns": True, "rotation": 30, "scale": 0.3}
RAW = Normalisation(method="none")


def config(augmentation=NONE, channels=2, classes=250, **training):
    return make_config(
        {
            "model": {"name": "unet2d"},
            "data": {"channels": channels, "annotation": "classes", "classes": [str(n) for n in range(classes)]},
            "targets": {"kind": "classes"},
            "augmentation": NONE | augmentation,
            "training": {"patch_size": 32, "batch_size": 4, **training},
        }
    )


def prepared(samples, config, normalisation, margin):
    target = family_of(config).target(config)
    return pipeline.prepare(samples, config, normalisation, margin, target), config, margin, target


def training_dataset(samples, config, normalisation, output_margin=0, start_step=0):
    return pipeline.training_dataset(*prepared(samples, config, normalisation, output_margin), start_step)


def validation_dataset(samples, config, normalisation, output_margin=0):
    return pipeline.validation_dataset(*prepared(samples, config, normalisation, output_margin))


def ramps(height, width, name="a"):
    y, x = np.mgrid[:height, :width]
    return Sample(name, np.stack([x, y], axis=-1).astype("uint16"), (7 * x + 13 * y).astype(np.int32) % 250)


def is_clear(patch):
    """Which pixels were not read halfway between two, where rounding decides."""
    return (np.abs(patch - np.rint(patch)) < 0.46).all(axis=-1)


def same_place(patch, target, mask):
    """Whether every clear pixel of a target is the mask's pixel where its image was read."""
    place = np.rint(patch).astype(int)
    return (mask[place[..., 1], place[..., 0]] == target)[is_clear(patch)].all()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.tuples(st.integers(40, 90), st.integers(40, 90)),
    st.sampled_from([0, 5, 12]),
    st.fixed_dictionaries(
        {
            "flip": st.booleans(),
            "quarter_turns": st.booleans(),
            "rotation": st.sampled_from([0, 10, 180]),
            "scale": st.sampled_from([0, 0.2, 0.5]),
            "elastic": st.sampled_from([0, 0, 4]),
        }
    ),
)
def test_image_and_mask_move_together(seed, shape, margin, augmentation):
    sample = ramps(*shape)
    place = random_map(np.random.default_rng(seed), AugmentationConfig(**NONE | augmentation), shape, 40, margin)
    patch, target = place.resample(sample.image, sample.mask.astype(np.uint8), margin)
    assert patch.shape == (40, 40, 2)
    assert target.shape == (40 - 2 * margin,) * 2
    inner = slice(margin, 40 - margin)
    assume(is_clear(patch[inner, inner]).mean() > 0.5)  # some scales read most pixels halfway
    assert same_place(patch[inner, inner], target, sample.mask)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.booleans(), st.booleans())
def test_without_rotation_and_scale_pixels_are_copied(seed, flip, turns):
    augmentation = AugmentationConfig(**NONE | {"flip": flip, "quarter_turns": turns})
    place = random_map(np.random.default_rng(seed), augmentation, (50, 60), 32)
    noise = np.random.default_rng(seed).integers(0, 65535, (50, 60, 3)).astype("uint16")
    patch, target = place.resample(noise, noise[..., 0].astype(np.uint8))
    candidates = [np.rot90(f, k) for f in (patch, patch[::-1]) for k in range(4)] if flip or turns else [patch]
    row, column = (round(centre - 15.5) for centre in reversed(place.centre))
    assert any(np.array_equal(noise[row : row + 32, column : column + 32], candidate) for candidate in candidates)
    np.testing.assert_array_equal(target, patch[..., 0].astype(np.uint8))


def test_changes_stay_within_their_limits():
    augmentation = AugmentationConfig(**NONE | {"rotation": 20, "scale": 0.25})
    maps = [random_map(np.random.default_rng(n), augmentation, (64, 64), 32).matrix for n in range(400)]
    scales = 1 / np.sqrt([np.linalg.det(matrix) for matrix in maps])
    angles = np.rad2deg([np.arctan2(lower[0], upper[0]) for upper, lower in maps])
    assert 0.75 <= scales.min() < 0.78
    assert 1.22 < scales.max() <= 1.25
    assert -20 <= angles.min() < -18
    assert 18 < angles.max() <= 20
    turned = AugmentationConfig(**NONE | {"flip": True, "quarter_turns": True})
    seen = {random_map(np.random.default_rng(n), turned, (64, 64), 32).matrix for n in range(200)}
    assert len({tuple(np.ravel(matrix).round().astype(int)) for matrix in seen}) == 8


@pytest.mark.parametrize("margin", [0, 6])
def test_training_batches(margin):
    samples = [ramps(50, 64, "a"), ramps(44, 44, "b")]
    batches = list(training_dataset(samples, config(GEOMETRY), RAW, margin).take(5))
    for x, y in batches:
        assert x.shape == (4, 32, 32, 2)
        assert x.dtype == "float32"
        assert y.shape == (4, 32 - 2 * margin, 32 - 2 * margin, 1)
        assert y.dtype == "uint8"
        inner = slice(margin, 32 - margin)
        for patch, target in zip(x.numpy(), y.numpy(), strict=True):
            assert is_clear(patch[inner, inner]).mean() > 0.5
            assert same_place(patch[inner, inner], target[..., 0], samples[0].mask)


def test_training_repeats_and_resumes():
    samples = [ramps(50, 64, "a"), ramps(44, 44, "b"), ramps(64, 40, "c")]
    everything = GEOMETRY | {"elastic": 2, "intensity": 0.2, "gamma": 0.2, "blur": 1, "poisson": 0.2, "gaussian": 0.2}
    settings = config(everything)
    first = [x.numpy() for x, _ in training_dataset(samples, settings, RAW).take(12)]
    again = [x.numpy() for x, _ in training_dataset(samples, settings, RAW).take(12)]
    resumed = [x.numpy() for x, _ in training_dataset(samples, settings, RAW, start_step=7).take(5)]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[7:], resumed)
    other = next(iter(training_dataset(samples, config(everything, seed=2), RAW)))[0].numpy()
    assert not np.array_equal(first[0], other)
    assert len({x.tobytes() for batch in first for x in batch}) == 48


def test_every_image_once_per_epoch():
    samples = [Sample(str(n), np.full((40, 40, 2), n, "uint8"), np.zeros((40, 40), int)) for n in range(10)]
    settings = config(batch_size=4)
    assert steps_per_epoch(len(samples), settings) == 3
    assert steps_per_epoch(len(samples), config(steps_per_epoch=50)) == 50
    order = np.concatenate([x.numpy()[:, 0, 0, 0] for x, _ in training_dataset(samples, settings, RAW).take(10)])
    for epoch in order.reshape(4, 10):
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in order.reshape(4, 10)}) == 4


@settings(deadline=None, max_examples=12)
@given(st.lists(st.tuples(st.integers(32, 80), st.integers(32, 80)), min_size=1, max_size=3), st.sampled_from([0, 8]))
def test_every_pixel_is_validated_once(shapes, margin):
    samples = []
    for number, shape in enumerate(shapes):
        sample = ramps(*shape)
        image = np.dstack([sample.image, np.full(shape, number, "uint16")])
        samples.append(Sample(str(number), image, sample.mask))
    samples[0].mask[3:9, 4:20] = 255
    settings = config(channels=3)
    settings.data.ignore = 255
    counts = [np.zeros(shape, int) for shape in shapes]
    for x, y in validation_dataset(samples, settings, RAW, margin):
        for patch, target in zip(x.numpy().astype(int), y.numpy()[..., 0], strict=True):
            assert patch.shape == (32, 32, 3)
            inner = patch[margin : 32 - margin, margin : 32 - margin][target != 255]
            np.add.at(counts[patch[0, 0, 2]], (inner[:, 1], inner[:, 0]), 1)
            np.testing.assert_array_equal(samples[patch[0, 0, 2]].mask[inner[:, 1], inner[:, 0]], target[target != 255])
    for sample, count in zip(samples, counts, strict=True):
        np.testing.assert_array_equal(count, (sample.mask != 255).astype(int))


@pytest.mark.parametrize("method", ["standardisation", "percentile", "scaling", "centering"])
def test_patches_are_normalised_as_the_whole_image_is(method):
    noise = np.random.default_rng(0).gamma(2, 500, (48, 48, 2)).astype("uint16")
    sample = Sample("a", noise, np.zeros((48, 48), int))
    fitted = fit_normalisation(NormalisationConfig(method=method), [sample])
    settings = config(patch_size=48)
    expected = fitted.apply(noise)
    for data in (training_dataset, validation_dataset):
        x = next(iter(data([sample], settings, fitted)))[0].numpy()[0]
        np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)


def intensities(image):
    return Intensities(
        offset=np.full(1, 100.0),
        scale=np.full(1, 50.0),
        low=image.min(axis=(0, 1)).astype(float),
        high=image.max(axis=(0, 1)).astype(float),
        mean=image.mean(axis=(0, 1)),
        deviation=image.std(axis=(0, 1)),
    )


def changed(image, seed=0, **augmentation):
    augmentation = AugmentationConfig(**NONE | augmentation)
    patch = image.astype("float32")
    out = np.full_like(patch, np.nan)
    change_intensities(np.random.default_rng(seed), augmentation, patch, intensities(image), out)
    return out


IMAGE = np.random.default_rng(1).gamma(3, 40, (64, 64, 1)) + 20
PLAIN = (IMAGE - 100) / 50


def test_intensity_is_a_gain_about_the_mean_and_an_offset():
    for seed in range(20):
        result = changed(IMAGE, seed, intensity=0.3)
        gain, _ = np.polyfit(PLAIN.ravel(), result.ravel(), 1)
        assert 0.7 <= gain <= 1.3
        assert abs(result.mean() - PLAIN.mean()) <= 0.3 * PLAIN.std() + 1e-4
        np.testing.assert_allclose(result - result.mean(), gain * (PLAIN - PLAIN.mean()), atol=1e-4)


def test_gamma_keeps_extremes_and_order():
    for seed in range(5):
        result = changed(IMAGE, seed, gamma=0.5)
        np.testing.assert_allclose([result.min(), result.max()], [PLAIN.min(), PLAIN.max()], rtol=1e-4, atol=1e-4)
        assert (np.diff(result.ravel()[np.argsort(PLAIN.ravel())]) >= 0).all()
        assert np.abs(result - PLAIN).max() > 0.01


def test_a_constant_channel_stays_finite():
    image = np.concatenate([IMAGE, np.full_like(IMAGE, 7)], axis=-1)
    result = changed(image, intensity=0.3, gamma=0.5, blur=2.0, poisson=0.1, gaussian=0.1)
    assert np.isfinite(result).all()


def test_blur_keeps_the_mean_and_smooths():
    results = [changed(IMAGE, seed, blur=3.0) for seed in range(20)]
    np.testing.assert_allclose([result.mean() for result in results], PLAIN.mean(), atol=0.05)
    deviations = [result.std() for result in results]
    assert max(deviations) <= PLAIN.std() * 1.001
    assert min(deviations) < 0.2 * PLAIN.std()


def test_noise_has_the_stated_strength():
    steps = np.repeat(np.linspace(0, 400, 8), 8)[:, None, None] * np.ones((1, 512, 1))
    plain = (steps - 100) / 50
    for seed in range(10):
        camera = (changed(steps, seed, gaussian=0.4) - plain).reshape(8, -1).std(axis=1)
        assert camera.max() <= 0.4 * plain.std() * 1.05
        np.testing.assert_allclose(camera, camera.mean(), rtol=0.1)
        shot = (changed(steps, seed, poisson=0.4) - plain).reshape(8, -1).var(axis=1)
        np.testing.assert_allclose(shot[1:] / shot[-1], np.arange(1, 8) / 7, rtol=0.15)
        assert shot[0] == pytest.approx(0, abs=1e-9)
        assert np.sqrt(shot.mean()) <= 0.4 * plain.std() * 1.05


def test_too_small_images_and_other_channels():
    with pytest.raises(UserError, match=r"b is 30 x 50 pixels.*training\.patch_size to at most 30"):
        training_dataset([ramps(50, 64), ramps(50, 30, "b")], config(), RAW)
    with pytest.raises(UserError, match="at most 46"):
        validation_dataset([ramps(50, 30)], config(patch_size=48), RAW, 8)
    with pytest.raises(UserError, match="2 channels"):
        training_dataset([ramps(50, 64)], config(channels=1), RAW)
    with pytest.raises(UserError, match="more than 40"):
        training_dataset([ramps(50, 64)], config(), RAW, 20)


def test_real_nuclei(data_folder):
    folder = data_folder("nuclei_dsb2018") / "val"
    settings = make_config({"model": {"name": "unet2d"}, "data": {}})
    pairs = find_pairs(folder / "images", folder / "masks")[:12]
    samples = [load_pair(pair, settings.data) for pair in pairs]
    fitted = fit_normalisation(settings.normalisation, samples)
    x, y = next(iter(training_dataset(samples, settings, fitted)))
    assert x.shape == (8, 256, 256, 1)
    assert set(np.unique(y)) == {0, 1, 2}
    brightness = [x.numpy()[..., 0][y.numpy()[..., 0] == value].mean() for value in (0, 1)]
    assert brightness[1] > brightness[0] + 1, "nuclei are bright where the target says so"


def sparse(annotated=True):
    """A large image with one small object, and an ignored one."""
    mask = np.zeros((400, 400), np.int32)
    mask[60:66, 330:340] = 7 if annotated else 0
    mask[200:210, 200:210] = 9
    return Sample("sparse", mask[..., None].astype("uint16"), mask)


def sparse_config(foreground, **augmentation):
    return make_config(
        {
            "model": {"name": "omnipose2d"},
            "data": {"ignore": 9},
            "normalisation": {"method": "none"},
            "augmentation": NONE | augmentation,
            "training": {"patch_size": 64, "batch_size": 8, "seed": 3, "foreground": foreground},
        }
    )


def shares_with_object(settings, sample, steps=25, value=7):
    data = training_dataset([sample], settings, RAW).take(steps)
    return np.mean([(x.numpy() == value).any(axis=(1, 2, 3)).mean() for x, _ in data])


@pytest.mark.parametrize("augmentation", [{}, {"flip": True, "quarter_turns": True, "rotation": 180, "scale": 0.25}])
def test_patches_around_objects(augmentation):
    assert shares_with_object(sparse_config(1.0, **augmentation), sparse()) > 0.95
    assert 0.4 < shares_with_object(sparse_config(0.5, **augmentation), sparse()) < 0.6
    assert shares_with_object(sparse_config(0.0, **augmentation), sparse()) < 0.1


def test_an_object_is_anywhere_in_the_middle_of_its_patches():
    side = 64
    mask = np.zeros((400, 400), np.int32)
    mask[150, 250] = 1
    data = training_dataset([Sample("a", mask[..., None].astype("uint16"), mask)], sparse_config(1.0), RAW)
    places = np.concatenate([np.argwhere(x.numpy()[..., 0])[:, 1:] for x, _ in data.take(40)])
    assert len(places) == 40 * 8
    first, last = places.min(axis=0), places.max(axis=0)
    np.testing.assert_allclose(first, side // 4, atol=2)
    np.testing.assert_allclose(last, side - side // 4 - 1, atol=2)


def test_patches_near_an_edge_lie_anywhere_within_the_image():
    mask = np.zeros((80, 400), np.int32)
    mask[40, 200] = 1
    y, x = np.mgrid[:80, :400]
    sample = Sample("a", np.stack([y, x], axis=-1).astype("uint16"), mask)
    settings = sparse_config(1.0)
    settings.data.channels = 2
    first = np.concatenate([batch.numpy()[:, 0, 0] for batch, _ in training_dataset([sample], settings, RAW).take(60)])
    rows, counts = np.unique(np.rint(first[:, 0]), return_counts=True)
    assert rows.tolist() == list(range(17))  # all that the height leaves
    assert counts.max() < 3 * counts.mean()
    assert first[:, 1].min() >= 200 - 47
    assert first[:, 1].max() <= 200 - 16


def test_of_large_objects_some_pixels_are_kept():
    from kerazoo.data.pipeline import _PIXELS, _pixels_of_objects

    mask = np.zeros((400, 400), np.int32)
    mask[100:300, 50:350] = 1
    pixels = _pixels_of_objects(mask, sparse_config(1.0))
    assert pixels.shape == (_PIXELS, 2)
    assert mask[tuple(pixels.T)].all()
    np.testing.assert_allclose(pixels.mean(axis=0), (199.5, 199.5), atol=5)


def test_a_patch_around_an_object_is_not_shifted():
    assert shares_with_object(sparse_config(1.0, shift=40), sparse()) == 1


def test_ignored_pixels_are_no_objects():
    assert shares_with_object(sparse_config(1.0), sparse(annotated=False), value=9) < 0.2


def test_patches_around_objects_of_a_network_without_padding():
    settings = make_config(
        {
            "model": {"name": "unet2d_2015"},
            "data": {"ignore": 9},
            "normalisation": {"method": "none"},
            "augmentation": NONE,
            "training": {"patch_size": 64, "batch_size": 8, "foreground": 1.0},
        }
    )
    data = training_dataset([sparse()], settings, RAW, output_margin=20).take(10)
    assert all((y.numpy() == 1).any(axis=(1, 2, 3)).all() for _, y in data)


def test_where_patches_lie_by_default():
    assert sparse_config(0.0).training.foreground == 0
    data = {"images": ".", "masks": "."}
    assert make_config({"model": {"name": "cellpose2d"}, "data": data}).training.foreground == 0.5
    assert make_config({"model": {"name": "unet2d"}, "data": data}).training.foreground == 0
    with pytest.raises(UserError, match=r"data.annotation is classes: set training.foreground to 0"):
        config(foreground=0.5)
