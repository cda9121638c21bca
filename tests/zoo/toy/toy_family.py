"""A family of networks that the zoo does not have: two inputs, one for each channel, and objects from a foreground."""

import cv2
import keras
import numpy as np

from kerazoo.models.entry import InputSizes, Model
from kerazoo.models.family import Family
from kerazoo.models.proposal import Proposal

MODEL = Model(
    name="two_inputs",
    title="Two inputs",
    task="instances",
    builder="toy_family:two_inputs",
    parameters=39,
    paper="Nobody 2026",
    citation="Nobody (2026), A network with two inputs",
    doi="10.5281/zenodo.1",
    purpose="Objects that shine in two channels, each of which is an input of its own.",
    limits=("It is a toy.",),
    targets="glow",
    output="glow",
    sizes=InputSizes(minimum=8, step=8),
)


def two_inputs(input_shape=(None, None, 2), weights=None):
    """From `membrane` and `nuclei`, each (batch, y, x, 1), to `glow` (batch, y, x, 1): a probability."""
    height, width, _ = input_shape
    membrane, nuclei = (keras.Input((height, width, 1), name=name) for name in ("membrane", "nuclei"))
    x = keras.layers.Concatenate(name="together")([membrane, nuclei])
    glow = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="glow")(x)
    return keras.Model([membrane, nuclei], glow, name="two_inputs")


class GlowTarget:
    """1 within objects and 0 elsewhere."""

    channels, dtype, grid = 1, np.float32, 1

    def of_image(self, mask):
        return (mask > 0).astype(np.uint8)

    def of_patch(self, kept, matrix):
        return kept[..., None].astype(np.float32)

    def ignore(self, target, rows, columns):
        target[:rows], target[:, :columns] = 0, 0

    def counts(self, kept):
        return np.zeros(0, np.int64)


class Toy(Family):
    """See above."""

    name = "toy"
    models = (MODEL,)
    kinds = ("glow",)
    learns_objects = True

    def channel_names(self, config):
        return ["glow"]

    def arguments(self, config):
        return {"input_shape": (None, None, config.data.channels)}

    def inputs(self, image):
        return {"membrane": image[..., :1], "nuclei": image[..., 1:]}

    def propose(self, start, model, survey, source):
        return Proposal(
            model={"weights": start.weights},
            normalisation={"method": "scaling"},
            augmentation={"rotation": 0},
            targets={"kind": "glow"},
            training={"epochs": 2, "steps_per_epoch": 8, "batch_size": 4, "patch_size": 48, "learning_rate": 0.1},
            decoding={"threshold": 0.5},
            validation=0.3,
            title="Cells that glow",
        )

    def target(self, config):
        return GlowTarget()

    def loss(self, config, counts):
        return keras.losses.BinaryCrossentropy()

    def loss_terms(self, config):
        return {"binary cross entropy": 1.0}

    def decode(self, outputs, recipe, shape=None):
        inside = outputs["glow"][..., 0] > recipe.decoding.threshold
        return cv2.connectedComponents(inside.astype(np.uint8))[1].astype(np.int32)

    def tuning(self, recipe, median_area):
        return "ap_50_95", {"threshold": (0.5, 0.4, 0.6)}

    def use(self, recipe):
        return "Each pixel gets the probability that it lies in an object; those that touch are one object."
