"""Segment Anything against the official package: parameters, embeddings, masks and scores of every kind of prompt."""

import cv2
import numpy as np
import pytest
from PIL import Image

from kerazoo.examples.synthetic import write_nuclei
from kerazoo.files.torch_file import read_torch_file
from kerazoo.inference.load import load_predictor
from kerazoo.inference.network import compiled
from kerazoo.models.sam.automatic import automatic_masks
from kerazoo.models.sam.checkpoint import assign_decoder, assign_encoder
from kerazoo.models.sam.encoder import vision_transformer
from kerazoo.models.sam.mask_decoder import mask_decoder
from kerazoo.models.sam.network import whole
from kerazoo.models.sam.prompted import Embedding, Mask, PromptedNetwork
from kerazoo.models.sam.prompts import joined
from kerazoo.training.convert import convert

MEAN, DEVIATION = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
"""Mean and standard deviation of red, green and blue, by which the official package normalises."""

SMALL = {
    "image_size": 128,
    "patch": 8,
    "width": 64,
    "depth": 3,
    "heads": 4,
    "window": 6,
    "features": 64,
    "hidden": 96,
    "global_blocks": (1,),
}
SIDE = SMALL["image_size"] // SMALL["patch"]


@pytest.fixture
def networks(peer, tmp_path):
    """A checkpoint with random position tables, and the same networks of ours."""
    path = tmp_path / "small.pth"
    peer("segment_anything")("checkpoint", path=path, seed=1, **SMALL)
    encoder = vision_transformer(**{name: value for name, value in SMALL.items() if name != "hidden"})
    decoder = mask_decoder(SIDE, SMALL["image_size"], SMALL["features"], hidden=SMALL["hidden"])
    tensors = read_torch_file(path)
    assign_encoder(encoder, tensors, path)
    assign_decoder(decoder, tensors, path)
    assert not tensors
    return path, encoder, decoder


def prompts(kind):
    """Prompts of two objects as the official package takes them."""
    points = np.array([[[20.0, 30.0], [90.5, 64.0]], [[5.0, 120.0], [64.0, 64.0]]], np.float32)
    labels = np.array([[1, 0], [1, 1]], np.float32)
    boxes = np.array([[10, 12, 60.5, 70], [0, 30, 127, 128]], np.float32)
    masks = np.random.default_rng(3).normal(size=(2, 1, 4 * SIDE, 4 * SIDE)).astype(np.float32)
    return {
        "points": {"points": points, "labels": labels},
        "boxes": {"boxes": boxes},
        "points and boxes": {"points": points, "labels": labels, "boxes": boxes},
        "masks": {"masks": masks},
        "all": {"points": points, "labels": labels, "boxes": boxes, "masks": masks},
        "none": {},
    }[kind]


@pytest.mark.parametrize("kind", ["points", "boxes", "points and boxes", "masks", "all", "none"])
def test_masks_and_scores_are_those_of_the_official_package(networks, peer, kind):
    path, encoder, decoder = networks
    image = np.random.default_rng(2).normal(size=(128, 128, 3)).astype(np.float32)
    given = prompts(kind)
    theirs = peer("segment_anything")("predict", path=path, image=image, **SMALL, **given)
    embedding = np.asarray(encoder(image[None]))
    np.testing.assert_allclose(embedding[0], theirs["embedding"], atol=1e-4)
    count = len(theirs["masks"])
    points, labels = joined(given.get("points"), given.get("labels"), given.get("boxes"), count)
    inputs = {
        "embedding": embedding,
        "points": points,
        "labels": labels,
        "prompt_masks": given.get("masks", np.zeros((count, 1, 4 * SIDE, 4 * SIDE), "f")).transpose(0, 2, 3, 1),
        "has_mask": np.full((count, 1), float("masks" in given), np.float32),
    }
    masks, scores = (np.asarray(output) for output in decoder(inputs))
    print(
        kind,
        np.abs(embedding[0] - theirs["embedding"]).max(),
        np.abs(masks - theirs["masks"]).max(),
        np.abs(masks).max(),
        np.abs(scores - theirs["scores"]).max(),
    )
    np.testing.assert_allclose(masks, theirs["masks"], atol=1e-4)
    np.testing.assert_allclose(scores, theirs["scores"], atol=1e-5)


@pytest.mark.parametrize("shape", [(90, 140), (128, 128), (300, 211)])
@pytest.mark.parametrize("kind", ["points", "boxes", "points and boxes"])
def test_images_of_any_shape(networks, peer, shape, kind):
    """As by `SamPredictor`: enlarged or reduced, padded, and brought back; several objects in one call."""
    path, encoder, decoder = networks
    image = np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 5)
    given = dict(prompts(kind))
    scale = np.array([shape[1], shape[0]]) / 128
    if "points" in given:
        given["points"] = (given["points"] * scale).astype(np.float32)
    if "boxes" in given:
        given["boxes"] = (given["boxes"] * np.tile(scale, 2)).astype(np.float32)
    asked = PromptedNetwork(whole(encoder.inputs[0], encoder.outputs[0], decoder, None, "small"), compiled)
    embedding = asked.embed(image, MEAN, DEVIATION)
    for several in (False, True):
        theirs = peer("segment_anything")("masks", path=path, image=image, several=several, count=2, **SMALL, **given)
        ours = list(asked.masks(embedding, **given, several=several))
        logits = np.stack([[mask.logits for mask in masks] for masks in ours])
        scores = np.array([[mask.score for mask in masks] for masks in ours])
        np.testing.assert_allclose(logits, theirs["logits"], atol=1e-4)
        np.testing.assert_allclose(scores, theirs["scores"], atol=1e-5)


@pytest.mark.parametrize(("region", "overlap", "survivors"), [(0, 1.0, 20), (0, 0.995, 2), (60, 0.995, 2)])
def test_automatic_masks(networks, peer, region, overlap, survivors):
    path, encoder, decoder = networks
    image = cv2.GaussianBlur(np.random.default_rng(7).integers(0, 256, (120, 150, 3), np.uint8), (0, 0), 4)
    settings = {
        "points_per_side": 8,
        "score_threshold": 0.0,
        "stability_threshold": 0.0,
        "box_overlap": overlap,  # high, as masks of random weights fill the image
        "minimum_region": region,
    }
    theirs = peer("segment_anything")("automatic", path=path, image=image, **SMALL, **settings)
    asked = PromptedNetwork(whole(encoder.inputs[0], encoder.outputs[0], decoder, None, "small"), compiled)
    ours = automatic_masks(asked, asked.embed(image, MEAN, DEVIATION), **settings)
    assert len(ours) == len(theirs["masks"]) >= survivors
    for mask, inside, score, stability in zip(
        ours, theirs["masks"], theirs["scores"], theirs["stability"], strict=True
    ):
        found = np.zeros(image.shape[:2], bool)
        found[mask.rows, mask.columns] = mask.inside
        np.testing.assert_array_equal(found, inside)
        assert mask.score == pytest.approx(score, abs=1e-5)
        assert mask.stability == pytest.approx(stability, abs=1e-4)


class Answers:
    """In place of a trained network: for a point in an object the object, half of it, and its surroundings."""

    def __init__(self, labels):
        random = np.random.default_rng(0)
        self.logits, self.scores, self._labels = [], [], labels
        self._noise = cv2.GaussianBlur(random.normal(0, 8, (*labels.shape, 3)).astype(np.float32), (0, 0), 2)
        self._random = random

    def masks(self, embedding, points, labels, **options):
        for (place,) in points:
            x, y = place.astype(int)
            inside = (self._labels == self._labels[y, x]).astype(np.uint8)
            distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
            logits = np.stack([distance, np.where(np.arange(len(inside))[:, None] > y, distance, -3), distance + 4])
            logits = (logits + self._noise.transpose(2, 0, 1)).astype(np.float32)
            scores = self._random.uniform(0.85, 1, 3).astype(np.float32)
            self.logits.append(logits)
            self.scores.append(scores)
            everywhere = slice(0, inside.shape[0]), slice(0, inside.shape[1])
            yield [Mask(*everywhere, mask, float(score), mask) for mask, score in zip(logits, scores, strict=True)]


@pytest.mark.parametrize("region", [0, 30])
def test_automatic_masks_of_objects(peer, tmp_path, region):
    """Of many good masks of the same objects the same ones are kept."""
    write_nuclei(tmp_path, images=1, seed=3, size=160)
    labels = np.asarray(Image.open(next((tmp_path / "masks").iterdir())))
    settings = {
        "points_per_side": 16,
        "score_threshold": 0.88,
        "stability_threshold": 0.5,
        "box_overlap": 0.7,
        "minimum_region": region,
    }
    network = Answers(labels)
    ours = automatic_masks(network, Embedding(np.zeros((1, 1, 1), np.float32), labels.shape, 1.0), **settings)
    answers = {"logits": np.stack(network.logits), "scores": np.stack(network.scores)}
    image = np.zeros((*labels.shape, 3), np.uint8)
    theirs = peer("segment_anything")("automatic_of", image=image, **answers, **SMALL, **settings)
    assert len(ours) == len(theirs["masks"]) >= 20
    for mask, inside, score in zip(ours, theirs["masks"], theirs["scores"], strict=True):
        found = np.zeros(labels.shape, bool)
        found[mask.rows, mask.columns] = mask.inside
        np.testing.assert_array_equal(found, inside)
        assert mask.score == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(("rank", "transposed"), [(0, False), (4, True)])
def test_decoder_of_micro_sam(peer, tmp_path, rank, transposed):
    """Its maps, of an image that is not square, from a file with and without low-rank adaptations."""
    sizes = SMALL | {"patch": 16, "window": 3, "rank": rank}
    path = tmp_path / "micro_sam.pth"
    peer("segment_anything")("micro_sam_checkpoint", path=path, seed=4, transposed=transposed, **sizes)
    image = cv2.GaussianBlur(np.random.default_rng(7).integers(0, 256, (120, 190, 3), np.uint8), (0, 0), 4)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    image[0, 0], image[0, 1] = 0, 255
    theirs = peer("segment_anything")("maps", path=path, image=image, **sizes)["maps"]
    run = convert("sam", path, tmp_path / "run", channels=3)
    (ours,) = load_predictor(run).outputs(image).values()
    assert theirs.std(axis=(0, 1)).min() > 0.01
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
