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
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

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

    without_processing: bool
    channels: dict[str, int]
    axes: int
    side: int | None
    memory: int
    geometry: TileGeometry | None


class ServedNetwork:
    """A network of another process; see `kerazoo.models.exchange.AppliedNetwork`.

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
        self.without_processing = shapes.without_processing
        """Whether layers that the packer put before it are left out, so that images are normalised as in the run."""
        self._memory = shapes.memory

    def __call__(self, batch: Batch) -> Batch:
        """The outputs for a batch."""
        for number, array in enumerate(batch.values()):
            np.save(self._folder / f"input{number}.npy", array)
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

    def prompted(self) -> NoReturn:
        """See `kerazoo.models.exchange.AppliedNetwork`."""
        raise UserError("The network of a bundle answers no prompts: use the run that it was made of.")


def serve(folder: Path) -> None:
    """Serve the network of ``task.json`` until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    from bmzpack.measure.geometry import measure
    from kerazoo.inference.network import Network, load_model

    model, size = _without_rim(load_model(Path(task["weights"]))), None if task["patches"] else 1
    geometry, without_processing = None, False
    registry.FAMILIES[:] = task["families"]
    if task["targets"] is None:
        geometry = dataclasses.asdict(measure(model))
        network = Network(model, size=size)
    else:
        family = registry.family_of_kind(task["targets"])
        before, inner = _processing(model)
        network = Network(family.unpacked(inner), family, size)
        if before and family.outputs_of_whole(network) is not None:
            without_processing = True  # an image is padded to the network's size after it is normalised
        elif before:
            network = Network(_behind(before, model.inputs[0], family.unpacked(inner)), family, size)
    shapes = {
        "without_processing": without_processing,
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


def _processing(model: keras.Model) -> tuple[list[Any], keras.Model]:
    """Layers of preprocessing that the packer has put before a network, and the network itself."""
    import keras

    *before, last = model.layers[1:]
    if not isinstance(last, keras.Model) or len(model.inputs) > 1:
        return [], model
    return before, last


def _behind(processing: list[Any], image: Any, network: keras.Model) -> keras.Model:
    """A network behind layers of preprocessing, with outputs of the same names."""
    import keras

    x = image
    for layer in processing:
        x = layer(x)
    outputs = zip(network.output_names, keras.tree.flatten(network(x)), strict=True)
    return keras.Model(image, [keras.layers.Activation("linear", name=name)(output) for name, output in outputs])


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
