"""What Fiji makes of images with a bundle: JDLL's choice of weights and tiles, and the engine that it has.

BioimageIoModelJava, TileMaker and TileGrid of JDLL 0.6.1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.jdll import weights
from bmzpack.consumers.jdll.descriptor import Descriptor, Refused, Tensor
from bmzpack.consumers.jdll.sides import described
from bmzpack.consumers.jdll.tiles import Trial, tried
from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.operations.processing import arrays, postprocess, preprocess
from bmzpack.testing.foreign import attempt_formats
from bmzpack.weights.tensorflow_saved_model_bundle import SAVED_MODEL

ENGINES = {SAVED_MODEL: "tensorflow-2.10.1", "onnx": "onnxruntime-1.13.1", "torchscript": "torch"}
"""By weights format the engine that computes as that of JDLL."""

Places = list[list[tuple[int, int, int, int]]]
"""By axis and tile: where the tile begins in the image, where the part of it that counts begins in the tile, how long
that part is, and where it goes to in the image."""


def outputs_in_fiji(contents: Contents, images: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The outputs that deepImageJ shows of images.

    Parameters
    ----------
    contents
        A bundle with one input.
    images
        In the order of its axes, the batch included; any dtype.

    Returns
    -------
    list of dict
        float32 arrays by output, as large as JDLL makes them.

    Raises
    ------
    UserError
        Fiji cannot open the bundle or one of the images, with the reason; or the engine failed.
    """
    model = described(contents)
    if isinstance(model, Refused):
        raise UserError(f"Fiji does not open this bundle: {model.why}.")
    if len(model.inputs) != 1:
        raise UserError(f"This bundle has {len(model.inputs)} inputs: only images of one can be applied here.")
    order = [name for name in weights.order(contents) if name in ENGINES]
    if not order:
        raise UserError("This bundle has no weights that Fiji runs without Python.")
    source, names = model.inputs[0], TensorNames([model.inputs[0].name], [tensor.name for tensor in model.outputs])
    samples = [preprocess(contents.rdf["inputs"], {source.name: image}) for image in images]
    trials = [_trial(model, source, image) for image in images]
    grids = [_grid(source, image.shape, trial.tiles[source.name]) for image, trial in zip(images, trials, strict=True)]
    tiles = [
        _tile(arrays(sample, [source.name])[source.name], corner, trial.tiles[source.name])
        for sample, trial, grid in zip(samples, trials, grids, strict=True)
        for corner in itertools.product(*grid)
    ]
    inputs = [{source.name: tile} for tile in tiles]
    (attempt,) = attempt_formats(contents, [(ENGINES[order[0]], order[0])], inputs, names)
    result = attempt.result()
    if isinstance(result, UserError):
        raise result
    answers, found = iter(result.outputs), []
    for sample, trial, grid in zip(samples, trials, grids, strict=True):
        parts = list(itertools.islice(answers, math.prod(map(len, grid))))
        wholes = {
            tensor.name: _joined(tensor, trial, [part[tensor.name] for part in parts]) for tensor in model.outputs
        }
        found.append(postprocess(contents.rdf["outputs"], wholes, sample))
    return found


def _trial(model: Descriptor, source: Tensor, image: np.ndarray) -> Trial:
    trial = tried(model, {source.name: [np.array([side]) for side in image.shape]})
    if trial.refused[0] >= 0:
        shape = " x ".join(map(str, image.shape))
        raise UserError(
            f"Fiji does not run this bundle with an image of {shape}: {trial.reasons[trial.refused[0]].why}."
        )
    return trial


def _grid(tensor: Tensor, shape: Sequence[int], tiles: Sequence[np.ndarray]) -> Places:
    """Where tiles lie: the last one ends where the image does, so one that is larger begins before the image."""
    grid: Places = []
    for axis, side, tile in zip(tensor.axes, shape, (int(size[0]) for size in tiles), strict=True):
        used = tile - 2 * axis.halo
        starts = [min(used * number, side - used) for number in range(-(-side // used))]
        grid.append([(start - axis.halo, axis.halo, used, start) for start in starts])
    return grid


def _tile(image: np.ndarray, corner: Sequence[tuple[int, int, int, int]], tiles: Sequence[np.ndarray]) -> np.ndarray:
    """A tile; beyond its edges the image is mirrored, the last pixels are repeated."""
    for axis, ((start, *_), size) in enumerate(zip(corner, tiles, strict=True)):
        side = image.shape[axis]
        places = np.arange(start, start + int(size[0])) % (2 * side)
        image = image.take(np.minimum(places, 2 * side - 1 - places), axis=axis)
    return image


def _joined(tensor: Tensor, trial: Trial, parts: Sequence[np.ndarray]) -> np.ndarray:
    """The parts of the tiles that count, in the order in which JDLL puts them: later ones over earlier ones."""
    shape = [int(size[0]) for size in trial.images[tensor.name]]
    whole = np.zeros(shape, np.float32)
    for corner, part in zip(itertools.product(*_grid(tensor, shape, trial.tiles[tensor.name])), parts, strict=True):
        to, source = [], []
        for _, begin, used, start in corner:
            first = max(start, 0)
            to.append(slice(first, start + used))
            source.append(slice(begin + first - start, begin + used))
        whole[tuple(to)] = part[tuple(source)]
    return whole
