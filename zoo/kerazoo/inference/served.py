"""The network of a bundle: a stranger's, which runs in a process that can do nothing but compute.

``python -m kerazoo.inference.served FOLDER`` is that process. It loads the weights of ``task.json``, says what shapes
they have, and then computes a batch whenever it is asked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack.bundle.data_files import load_array
from bmzpack.errors import UserError
from bmzpack.settings import Section, validate
from kerazoo.models import registry
from kerazoo.models.recipe import TileGeometry

if TYPE_CHECKING:
    import keras

    from bmzpack.bundle.contents import Contents
    from kerazoo.inference.network import Batch


class Shapes(Section):
    """What the process says of the network."""

    channels: dict[str, int]
    axes: int
    side: int | None
    memory: int
    geometry: TileGeometry | None


class ServedNetwork:
    """A network of another process; see `kerazoo.inference.network.Network`.

    Parameters
    ----------
    contents
        The bundle.
    targets
        What its network learned, of the recipe; None where there is no recipe, and the geometry is measured.
    patches
        Whether it classifies patches.
    minimum
        A height and width that it accepts, where that is known.

    Raises
    ------
    UserError
        The weights are not run, or cannot be.
    """

    def __init__(self, contents: Contents, targets: str | None, patches: bool, minimum: int | None) -> None:
        from bmzpack.testing.foreign import serving

        task = {"targets": targets, "families": registry.FAMILIES, "patches": patches, "minimum": minimum}
        stack = contextlib.ExitStack()
        self._end = weakref.finalize(self, stack.close)
        self._process, self._folder = stack.enter_context(serving(contents, "keras_v3", __name__, task))
        try:
            content = json.loads((self._folder / "shapes.json").read_bytes()[: 10**6])
        except (OSError, ValueError, RecursionError):
            raise UserError("The network of the bundle gave no answer.") from None
        shapes = validate(Shapes, content, "the network of the bundle")
        self.channels, self.axes, self.side, self.geometry = shapes.channels, shapes.axes, shapes.side, shapes.geometry
        self._memory = shapes.memory

    def __call__(self, batch: Batch) -> Batch:
        """The outputs for a batch."""
        for name, array in zip(("input0.npy", "input1.npy"), batch.values(), strict=False):
            np.save(self._folder / name, array)
        (self._folder / "batch.json").write_text(json.dumps(list(batch)), encoding="utf-8")
        self._process.ask()
        results = {}
        for number, (name, channels) in enumerate(self.channels.items()):
            array = load_array(self._folder / f"output{number}.npy")
            if isinstance(array, str) or array.dtype != np.float32 or array.shape[-1:] != (channels,):
                raise UserError(f"The network of the bundle gives no {name} of {channels} channels.")
            results[name] = np.array(array)
        return results

    def memory_per_pixel(self, size: int) -> int:
        """See `kerazoo.inference.network.memory_per_pixel`."""
        return self._memory


def serve(folder: Path) -> None:
    """Serve the network of ``task.json`` until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    from bmzpack.measure.geometry import measure
    from kerazoo.inference.network import Network, load_model

    model = _without_rim(load_model(Path(task["weights"])))
    geometry = None
    registry.FAMILIES[:] = task["families"]
    if task["targets"] is None:
        geometry = dataclasses.asdict(measure(model))
    else:
        family = registry.family_of_kind(task["targets"])
        model = _behind_processing(model, family.unpacked)
        model = model if task["patches"] else family.image_network(model)
    network = Network(model, None if task["patches"] else 1)
    shapes = {
        "channels": network.channels,
        "axes": network.axes,
        "side": network.side,
        "memory": 0 if task["patches"] else network.memory_per_pixel(task["minimum"] or (geometry or {})["minimum"]),
        "geometry": geometry,
    }
    (folder / "shapes.json").write_text(json.dumps(shapes), encoding="utf-8")
    answers.write("\n")
    answers.flush()
    for _ in sys.stdin:
        names = json.loads((folder / "batch.json").read_text(encoding="utf-8"))
        batch = {name: np.load(folder / f"input{number}.npy") for number, name in enumerate(names)}
        for number, array in enumerate(network(batch).values()):
            np.save(folder / f"output{number}.npy", array)
        answers.write("\n")
        answers.flush()


def _without_rim(model: keras.Model) -> Any:
    """The network without zeros around an output that is smaller than the input, which the packer adds.

    The tiling here places such an output, and has something better than zeros for the border of an image.
    """
    import keras

    last = model.layers[-1]
    return keras.Model(model.inputs, last.input) if isinstance(last, keras.layers.ZeroPadding2D) else model


def _behind_processing(model: keras.Model, change: Callable[[keras.Model], keras.Model]) -> keras.Model:
    """A network of which the part behind layers of preprocessing is changed, if the packer has put such before it."""
    import keras

    *before, last = model.layers[1:]
    if not isinstance(last, keras.Model) or len(model.inputs) > 1:
        return change(model)
    x = model.inputs[0]
    for layer in before:
        x = layer(x)
    return keras.Model(model.inputs, change(last)(x))


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
