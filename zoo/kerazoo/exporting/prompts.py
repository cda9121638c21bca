"""Bundles that answer prompts in Python: from boxes to masks, and the embedding of an image."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from scipy import ndimage

from bmzpack.describe.description import Description, Input, Output, Processing
from bmzpack.errors import UserError
from bmzpack.measure.geometry import Geometry
from kerazoo.exporting.texts import allowed, data_set_name
from kerazoo.inference.load import load_predictor
from kerazoo.models.registry import family_of_kind
from kerazoo.runs.run import Run

FORMS = ("prompts", "embedding")
OBJECTS = 8
"""Boxes of the test tensor, at most."""
CORNERS = ["x0", "y0", "x1", "y1"]
BOXES = (
    "The masks of the objects in boxes, in Python: `box_prompts` has x and y of the first and of the last corner of "
    "each box, in pixels of `image`; `masks` is 1 in the object and 0 elsewhere; `scores` is the intersection over "
    "union with the object that the network predicts of its mask. Names, axes and types are those of micro-sam's "
    "bundles, except that `image` has the channels and the range of the images that the network was trained on."
)
EMBEDDING = "The embedding of an image: what the network makes of an image before it is asked for any object."


def with_prompts(run: Run, network: keras.Model, description: Description, form: str) -> dict[str, Any]:
    """What a bundle of one of `FORMS` is packed of; completes the description.

    Parameters
    ----------
    run, network
        A run of a family that answers prompts, and its network.
    description
        Description of the ordinary bundle.
    form
        `prompts`: masks for boxes, in ONNX; `embedding`: what the network makes of an image before it is asked.

    Returns
    -------
    dict
        Arguments of `bmzpack.pack`.

    Raises
    ------
    UserError
        The network does not answer prompts.
    """
    family, data_set = family_of_kind(run.recipe.targets), data_set_name(run.config)
    if not family.answers_prompts:
        raise UserError(f"{run.recipe.model} does not answer prompts: leave --form out.")
    about, what = (BOXES, "Masks of boxes") if form == "prompts" else (EMBEDDING, "Embedding")
    description.documentation, description.validation = about, []
    description.name = run.config.publication.name or allowed(f"{what} of {data_set}")
    packed = family.answering(network, form)
    if form == "embedding":
        description.outputs = [Output(id="embeddings", description="Embedding of the image")]
        return {"model": packed}
    (image,), side = description.inputs, packed.inputs[0].shape[2] or run.config.training.patch_size
    assert isinstance(image.test_image, np.ndarray)
    window, boxes = _sample(run, image.test_image, side)
    own = {"id": "image", "axes": "bcyx", "test_image": window, "test_image_axes": "yxc"}
    cast, masks = (Processing(id="ensure_dtype", kwargs={"dtype": dtype}) for dtype in ("float32", "uint8"))
    description.inputs = [
        image.model_copy(update=own),
        Input(
            id="box_prompts",
            description="Boxes around objects",
            axes="boc",
            channel_names=CORNERS,
            test_image=boxes,
            preprocessing=[cast],
        ),
    ]
    description.outputs = [
        Output(
            id="masks",
            description="1 in the object, 0 elsewhere",
            axes="bocyx",
            channel_names=["mask"],
            postprocessing=[Processing(id="binarize", kwargs={"threshold": 0.0}), masks],
        ),
        Output(id="scores", description="Predicted intersection over union", axes="boc", channel_names=["score"]),
    ]
    geometry = Geometry(step=run.recipe.geometry.step, halo=None, margin=0, minimum=side)
    return {"model": packed, "formats": ["onnx"], "geometry": geometry}


def _sample(run: Run, image: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A window (side, side, channel) of an image, and boxes of objects that the run finds there, int64 (object, 4)."""
    room = [(0, max(0, side - length)) for length in image.shape[:2]]
    image = np.pad(image, [*room, (0, 0)], mode="symmetric")
    places = [place for place in ndimage.find_objects(load_predictor(run).result(image)) if place is not None]
    boxes = np.array([(x.start, y.start, x.stop - 1, y.stop - 1) for y, x in places], np.int64).reshape(-1, 4)
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)]
    best, found = (0, 0), np.array([[side // 4, side // 4, side // 2, side // 2]])
    for left, top in (boxes[:, :2] + boxes[:, 2:]) // 2 - side // 2:
        corner = np.clip((left, top), 0, np.subtract(image.shape[1::-1], side))
        within = (boxes >= np.tile(corner, 2)).all(axis=1) & (boxes < np.tile(corner + side, 2)).all(axis=1)
        if within.sum() > len(found) or best == (0, 0):
            best, found = tuple(corner), boxes[within] - np.tile(corner, 2) if within.any() else found
    left, top = best
    return image[top : top + side, left : left + side], found[:OBJECTS].astype(np.int64)
