"""What the official package stardist makes of the same arrays; runs in its own environment."""

import json
import os
from pathlib import Path

# Its parallel loop waits for work by spinning: where others use the processors, too, one thread is far quicker.
os.environ["OMP_NUM_THREADS"] = "1"

import keras
import numpy as np
import tensorflow as tf
from stardist.geometry import polygons_to_label, star_dist
from stardist.models import Config2D, StarDist2D, StarDistData2D
from stardist.nms import non_maximum_suppression_inds
from stardist.utils import edt_prob


def make_model(inputs):
    """Save a model of random weights in the folder, in one of Keras' two formats, and run it on an image."""
    folder = Path(str(inputs["folder"]))
    keras.utils.set_random_seed(int(inputs["seed"]))
    options = json.loads(str(inputs["options"]))
    model = StarDist2D(Config2D(**options), name=folder.name, basedir=str(folder.parent))
    # As trained networks have them: biases that are not zero.
    generator = np.random.default_rng(int(inputs["seed"]))
    for weight in model.keras_model.weights:
        if weight.name == "bias":
            weight.assign(generator.normal(size=weight.shape) * 0.1)
    model.keras_model.save_weights(str(folder / str(inputs["weights"])))
    outputs = model.keras_model.predict(inputs["image"][None], verbose=0)
    return {"stars": np.concatenate([output[0] for output in outputs], axis=-1)}


def targets(inputs):
    """Probability and distances as the official generator of training data makes them."""
    labels, rays, grid = inputs["labels"], int(inputs["rays"]), int(inputs["grid"])
    data = StarDistData2D(
        [np.zeros(labels.shape, np.float32)], [labels], 1, rays, 1, patch_size=labels.shape, grid=(grid, grid)
    )
    probability, distances = data[0][1]
    return {"stars": np.concatenate([probability[0], distances[0, ..., :-1]], axis=-1), "mask": distances[0, ..., -1]}


def targets_directly(inputs):
    """The same by the two functions, also where labels would not survive the generator."""
    grid = int(inputs["grid"])
    labels = inputs["labels"]
    probability = edt_prob(labels[::grid, ::grid])
    distances = star_dist(labels, int(inputs["rays"]), grid=(grid, grid))
    return {"stars": np.concatenate([probability[..., None], distances], axis=-1)}


def loss(inputs):
    """The compiled loss of a model whose outputs are the given arrays."""
    rays = inputs["stars"].shape[-1] - 1
    model = StarDist2D(Config2D(n_rays=rays, train_tensorboard=False), basedir=None)
    model.prepare_for_training()
    losses = model.keras_model._compile_loss._user_loss if hasattr(model.keras_model, "_compile_loss") else None
    truth, stars = inputs["truth"], inputs["stars"]
    mask = np.maximum(truth[..., :1], 0)
    probability = tf.reduce_mean(losses[0](tf.constant(truth[..., :1]), tf.constant(stars[..., :1])))
    distances = tf.reduce_mean(
        losses[1](tf.constant(np.concatenate([truth[..., 1:], mask], axis=-1)), tf.constant(stars[..., 1:]))
    )
    weights = model.config.train_loss_weights
    return {"loss": np.float32(weights[0] * probability + weights[1] * distances)}


def suppress(inputs):
    """Survivors of one or more fields of candidates that are sorted by falling probability."""
    kept = []
    for start, stop in inputs["fields"]:
        kept.append(
            non_maximum_suppression_inds(
                inputs["distances"][start:stop],
                inputs["points"][start:stop],
                inputs["probability"][start:stop],
                thresh=float(inputs["overlap"]),
                verbose=0,
            )
        )
    return {"kept": np.concatenate(kept)}


def render(inputs):
    """Label image of candidates."""
    labels = polygons_to_label(
        inputs["distances"], inputs["points"], tuple(inputs["shape"]), prob=inputs["probability"]
    )
    return {"labels": labels}


def instances(inputs):
    """Label image of a network output."""
    grid = int(inputs["grid"])
    stars = inputs["stars"]
    model = StarDist2D(Config2D(n_rays=stars.shape[-1] - 1, grid=(grid, grid)), basedir=None)
    labels, _ = model._instances_from_prediction(
        tuple(inputs["shape"]),
        stars[..., 0],
        np.maximum(stars[..., 1:], 1e-3),
        prob_thresh=float(inputs["threshold"]),
        nms_thresh=float(inputs["overlap"]),
    )
    return {"labels": labels}
