"""Training with prompts: the network that is fitted asks the mask decoder again and again, and corrects it.

The recipe is that of Archit et al. (2025), Segment Anything for Microscopy: the first prompt of an object is a point or
a box; then a point is added where the mask is wrong, half of the time with the mask itself as a prompt. All that is
random comes from the feed, so that a resumed training sees the same prompts.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from kerazoo.models.sam import unetr
from kerazoo.models.sam.layers import ComputedAgain
from kerazoo.models.sam.network import image_network
from kerazoo.models.sam.prompts import FOREGROUND, PADDING

ops: Any = keras.ops

FOCAL_WEIGHT = 20.0
"""Weight of the focal loss of a mask beside its Dice loss, as in Kirillov et al. (2023)."""


def prompted(network: keras.Model, image_size: int, objects: int, corrections: int) -> keras.Model:
    """A network in a training with prompts; it shares all layers with it.

    Parameters
    ----------
    network
        See `kerazoo.models.sam.network.whole`.
    image_size
        Side of the training patches in pixels.
    objects
        Objects of every patch that are asked for.
    corrections
        Points that are added after the first prompt.

    Returns
    -------
    keras.Model
        From the inputs that `kerazoo.models.sam.feed.PromptFeed` gives to `maps`, as in the network, and `prompts`
        (batch, object): the loss of an object's masks, a mean over all prompts.
    """
    encoder, decoder = image_network(network, "maps", "image_embedding"), network.get_layer("mask_decoder")
    size, (_, side, _, channels) = decoder.output_shape[0][-1], encoder.inputs[0].shape
    if side is not None:  # the large networks
        _, embedding = encoder.outputs
        encoder = keras.Model(encoder.inputs, [unetr.trained_maps(embedding, network), embedding])
        decoder = ComputedAgain(decoder.inputs, decoder.outputs)
    inputs = [
        keras.Input((image_size, image_size, channels), name="raw"),
        keras.Input((image_size, image_size), name="label_image"),
        keras.Input((objects,), name="objects"),
        keras.Input((objects, 2, 2), name="points"),
        keras.Input((objects, 2), name="labels", dtype="int32"),
        keras.Input((objects, corrections, 2), name="noise"),
    ]
    image, label_image, chosen, points, labels, noise = inputs
    seen = side or image_size  # what a network of one size has images brought to
    image = image if seen == image_size else ops.image.resize(image, (seen, seen))
    maps, embedding = encoder(image)
    maps = maps if seen == image_size else ops.image.resize(maps, (image_size, image_size))
    embedding = ops.repeat(embedding, objects, axis=0)
    truth = _masks_of(label_image, chosen, size)
    points, labels = ops.reshape(points, (-1, 2, 2)), ops.reshape(labels, (-1, 2))
    noise = ops.reshape(noise, (-1, corrections, 2))
    # a single point leaves open which of three masks is meant
    ambiguous = ops.cast(ops.equal(labels[:, :1], FOREGROUND) & ops.equal(labels[:, 1:], PADDING), "float32")
    prompt_masks, has_mask = ops.zeros_like(truth)[..., None], ops.zeros_like(ambiguous)
    losses = []
    for number in range(corrections + 1):
        masks, scores = decoder([embedding, points * (seen / image_size), labels, prompt_masks, has_mask])
        loss, best = _loss(masks, scores, truth, ambiguous)
        losses.append(loss)
        if number < corrections:
            best = ops.stop_gradient(best)
            point, label = _correction(best, truth, noise[:, number, 0], image_size)
            points = ops.concatenate([points, point[:, None]], axis=1)
            labels = ops.concatenate([labels, label[:, None]], axis=1)
            prompt_masks, has_mask = best[..., None], ops.cast(noise[:, number, 1:] < 0.5, "float32")
            ambiguous = ops.zeros_like(ambiguous)
    mean = ops.reshape(sum(losses) / len(losses), (-1, objects))
    outputs = [
        layers.Activation("linear", dtype="float32", name="maps")(maps),
        layers.Activation("linear", dtype="float32", name="prompts")(mean),
    ]
    return keras.Model(inputs, outputs, name=network.name)


def _masks_of(label_image: Any, chosen: Any, size: int) -> Any:
    """Masks (batch * object, size, size) of the chosen labels, the part of every pixel that they cover."""
    side = label_image.shape[1]
    masks = ops.cast(ops.equal(label_image[:, None], chosen[:, :, None, None]), "float32")
    masks = ops.reshape(masks, (-1, size, side // size, size, side // size))
    return ops.mean(masks, axis=(2, 4))


def _loss(masks: Any, scores: Any, truth: Any, ambiguous: Any) -> tuple[Any, Any]:
    """The loss of every object, (object,), and the logits (object, size, size) of the mask with the best score.

    Dice loss, focal loss and the squared error of the predicted intersection over union: of the first mask, or where
    the prompt is ambiguous, of the best of the others.
    """
    target = truth[:, None]
    probability = ops.sigmoid(masks)
    shared, both = ops.sum(probability * target, axis=(2, 3)), ops.sum(probability + target, axis=(2, 3))
    dice = 1.0 - (2.0 * shared + 1.0) / (both + 1.0)
    entropy = ops.softplus(masks) - target * masks
    missed = ops.square(ops.abs(target - probability))
    loss = dice + FOCAL_WEIGHT * ops.mean(missed * entropy, axis=(2, 3))
    found, wanted = ops.cast(masks > 0, "float32"), ops.cast(target > 0.5, "float32")
    overlap = ops.sum(found * wanted, axis=(2, 3))
    union = ops.sum(ops.maximum(found, wanted), axis=(2, 3))
    quality = ops.square(scores - ops.stop_gradient(overlap / ops.maximum(union, 1.0)))
    single = loss[:, 0] + quality[:, 0]
    several = ops.min(loss[:, 1:], axis=1) + ops.mean(quality[:, 1:], axis=1)
    index = ops.where(ambiguous[:, 0] > 0, 1 + ops.argmax(scores[:, 1:], axis=1), 0)
    chosen = ops.take_along_axis(masks, index[:, None, None, None], axis=1)[:, 0]
    return ops.where(ambiguous[:, 0] > 0, several, single), chosen


def _correction(logits: Any, truth: Any, noise: Any, image_size: int) -> tuple[Any, Any]:
    """A random pixel that is wrong: its place (object, 2), x and y in pixels of the image, and its label (object,)."""
    size = truth.shape[-1]
    flat = ops.reshape(truth, (-1, size * size))
    wrong = ops.cast(ops.not_equal(ops.reshape(logits, (-1, size * size)) > 0, flat > 0.5), "float32")
    counts = ops.cumsum(wrong, axis=1)
    rank = ops.floor(noise[:, None] * counts[:, -1:]) + 1.0
    index = ops.minimum(ops.sum(ops.cast(counts < rank, "int32"), axis=1), size * size - 1)
    inside = ops.take_along_axis(flat, index[:, None], axis=1)[:, 0] > 0.5
    label = ops.where(counts[:, -1] > 0, ops.cast(inside, "int32"), PADDING)
    scale = image_size / size
    place = ops.stack([ops.mod(index, size), ops.floor_divide(index, size)], axis=1)
    return (ops.cast(place, "float32") + 0.5) * scale - 0.5, label


class MapLoss(keras.losses.Loss):
    """Cross-entropy and Dice loss of the foreground, absolute error of both distances within objects.

    Takes `kerazoo.models.sam.targets.MapTarget` (its first three channels are used) and maps (batch, y, x, 3); pixels
    whose foreground is negative count nowhere.
    """

    def __init__(self) -> None:
        super().__init__(name="maps", dtype="float32")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        counts = ops.cast(y_true[..., 0] >= 0, "float32")
        inside = counts * ops.maximum(y_true[..., 0], 0.0)
        foreground = ops.clip(y_pred[..., 0], 1e-6, 1 - 1e-6)
        entropy = -inside * ops.log(foreground) - (counts - inside) * ops.log(1 - foreground)
        shared, both = ops.sum(inside * foreground), ops.sum(counts * foreground) + ops.sum(inside)
        errors = ops.sum(inside[..., None] * ops.abs(y_true[..., 1:3] - y_pred[..., 1:3]))
        return (
            ops.sum(entropy) / ops.maximum(ops.sum(counts), 1.0)
            + 1.0
            - (2.0 * shared + 1.0) / (both + 1.0)
            + 2.0 * errors / ops.maximum(ops.sum(inside), 1.0)
        )


class PromptLoss(keras.losses.Loss):
    """The mean of the losses that the network gives, weighted: 1 for objects, 0 where there are none."""

    def __init__(self) -> None:
        super().__init__(name="prompts", dtype="float32")

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.sum(y_true * y_pred) / ops.maximum(ops.sum(y_true), 1.0)
