"""Images per second of the training pipeline against its peers, all in one run: 512 RGB images of 224 x 224 pixels.

Every contender turns uint8 images and masks into batches of 32 normalised float32 images with uint8 masks, with
rotation (15 degrees), zoom (15 %) and both flips; the ImageDataGenerator is spared masks and normalisation. Contenders
take turns for several rounds of 2,048 images (the ImageDataGenerator: 512); each counts with its best round.
"""

import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from kerazoo.data.normalise import fit_normalisation
from kerazoo.files.pairs import Sample
from kerazoo.models.configure import make_config

pytestmark = pytest.mark.bench

COUNT, SIDE, BATCH = 512, 224, 32
ROUNDS, BATCHES = 3, 4 * COUNT // BATCH
ROTATION, ZOOM = 15, 0.15


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Images with structure at several scales, and masks of four classes."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (COUNT, 28, 28, 3)).astype(np.uint8)
    images = np.stack([cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for image in coarse])
    return images, (images[..., 0] // 64).astype(np.uint8)


def ours(images: np.ndarray, masks: np.ndarray) -> Callable[[], Iterator]:
    """The pipeline of kerazoo, every intensity change off."""
    from kerazoo.data.pipeline import prepare, training_dataset
    from kerazoo.models.configure import family_of

    off = dict.fromkeys(("quarter_turns", "elastic", "intensity", "gamma", "blur", "poisson", "gaussian"), 0)
    config = make_config(
        {
            "model": {"name": "unet2d"},
            "data": {"channels": 3, "annotation": "classes", "classes": list("abcd")},
            "targets": {"kind": "classes"},
            "augmentation": {**off, "flip": True, "rotation": ROTATION, "scale": ZOOM},
            "training": {"patch_size": SIDE, "batch_size": BATCH},
        }
    )
    samples = [
        Sample(str(number), image, mask.astype(np.int32))
        for number, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]
    target = family_of(config).target(config)
    sources = prepare(samples, config, fit_normalisation(config.normalisation, samples), 0, target)
    dataset = training_dataset(sources, config, 0, target)
    return lambda: iter(dataset.take(BATCHES))


def fused_in_the_graph(images: np.ndarray, masks: np.ndarray) -> Callable[[], Iterator]:
    """The alternative that was not taken: one projective transform per batch in the TensorFlow graph."""
    import tensorflow as tf

    floats = images.astype(np.float32)
    floats = tf.constant((floats - floats.mean()) / floats.std())
    targets = tf.constant(masks[..., None])

    def matrices(seed: tf.Tensor) -> tf.Tensor:
        draws = tf.random.stateless_uniform((4, BATCH), (seed, 0), -1, 1)
        angle, scale = draws[0] * ROTATION * np.pi / 180, 1 / (1 + draws[1] * ZOOM)
        flip_x, flip_y = tf.sign(draws[2]), tf.sign(draws[3])
        cos, sin, centre = tf.cos(angle) * scale, tf.sin(angle) * scale, (SIDE - 1) / 2
        a, b, c, d = cos * flip_x, -sin * flip_y, sin * flip_x, cos * flip_y
        zero = tf.zeros(BATCH)
        rows = [a, b, centre * (1 - a - b), c, d, centre * (1 - c - d), zero, zero]
        return tf.stack(rows, axis=1)

    def batch(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        order = tf.random.stateless_uniform((BATCH,), (step, 1), 0, COUNT, tf.int64)
        arguments = {
            "transforms": matrices(step),
            "output_shape": (SIDE, SIDE),
            "fill_value": 0.0,
            "fill_mode": "REFLECT",
        }
        transform = tf.raw_ops.ImageProjectiveTransformV3
        x = transform(images=tf.gather(floats, order), interpolation="BILINEAR", **arguments)
        return x, transform(images=tf.gather(targets, order), interpolation="NEAREST", **arguments)

    steps = tf.data.Dataset.range(BATCHES)
    dataset = steps.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return lambda: iter(dataset)


def image_data_generator(images: np.ndarray) -> Callable[[], Iterator]:
    """Keras' generator, images only."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        rotation_range=ROTATION, zoom_range=ZOOM, horizontal_flip=True, vertical_flip=True, fill_mode="reflect"
    )
    flow = generator.flow(images, batch_size=BATCH)

    def batches() -> Iterator:
        return (next(flow) for _ in range(COUNT // BATCH))

    return batches


def albumentations_dataset(
    images: np.ndarray, masks: np.ndarray, workers: int, threads: int, floats_first: bool
) -> Callable[[], Iterator]:
    """Albumentations in a PyDataset, as `fit` would read it; normalised before or after the transformation."""
    import albumentations as A
    import keras
    from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter

    mean, deviation = np.float32(images.mean()), np.float32(images.std())
    source = (images.astype(np.float32) - mean) / deviation if floats_first else images
    transform = A.Compose(
        [
            A.Affine(rotate=(-ROTATION, ROTATION), scale=(1 - ZOOM, 1 + ZOOM), border_mode=cv2.BORDER_REFLECT_101, p=1),
            A.HorizontalFlip(p=0.5),
            A.VerticalFlip(p=0.5),
        ]
    )

    class Batches(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__(workers=workers, max_queue_size=10)
            self.order = np.random.default_rng(0).permutation(COUNT)

        def __len__(self) -> int:
            return BATCHES

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            x, y = np.empty((BATCH, SIDE, SIDE, 3), np.float32), np.empty((BATCH, SIDE, SIDE), np.uint8)
            first = index * BATCH % COUNT
            for place, number in enumerate(self.order[first : first + BATCH]):
                made = transform(image=source[number], mask=masks[number])
                x[place], y[place] = made["image"], made["mask"]
            if not floats_first:
                x -= mean
                x /= deviation
            return x, y[..., None]

    dataset = PyDatasetAdapter(Batches()).get_tf_dataset()

    def batches() -> Iterator:
        cv2.setNumThreads(threads)
        yield from dataset
        cv2.setNumThreads(1)

    return batches


def measure(contenders: dict[str, Callable[[], Iterator]]) -> dict[str, tuple[float, float]]:
    """Best images per second, and least microseconds of processor time per image, of every contender in turns."""
    best = dict.fromkeys(contenders, (0.0, float("inf")))
    for number in range(ROUNDS + 1):
        for name, batches in contenders.items():
            wall, processor = time.perf_counter(), time.process_time()
            count = sum(len(batch[0] if isinstance(batch, tuple) else batch) for batch in batches())
            wall, processor = time.perf_counter() - wall, time.process_time() - processor
            assert count in (COUNT, BATCH * BATCHES)
            if number:  # the first round warms up
                rate, cost = best[name]
                best[name] = max(rate, count / wall), min(cost, 1e6 * processor / count)
    return best


def test_images_per_second(pictures):
    images, masks = pictures
    contenders = {
        "kerazoo": ours(images, masks),
        "fused in the graph": fused_in_the_graph(images, masks),
        "ImageDataGenerator": image_data_generator(images),
    }
    pytest.importorskip("albumentations")
    for workers, threads, first in [
        (1, 1, False),
        (1, 1, True),
        (1, 2, False),
        (2, 1, False),
        (2, 1, True),
        (2, 2, False),
    ]:
        name = f"albumentations, {workers} workers, {threads} threads, {'float32' if first else 'uint8'}"
        contenders[name] = albumentations_dataset(images, masks, workers, threads, first)
    best = measure(contenders)
    rates = {name: rate for name, (rate, _) in best.items()}
    own = rates["kerazoo"]
    print()
    for name, (rate, cost) in best.items():
        print(f"{name:46s} {rate:6.0f} images/s {cost:6.0f} us of processor each   kerazoo / this = {own / rate:.2f}")
    assert own >= 5 * rates["ImageDataGenerator"]
    assert own >= max(rate for name, rate in rates.items() if name.startswith("albumentations"))
    assert own >= rates["fused in the graph"], "then the graph is the one to keep"
