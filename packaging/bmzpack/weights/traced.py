"""A model on Keras' torch backend as a traced TorchScript file, which may go on with a script that makes labels."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch

from bmzpack.measure.geometry import measure
from bmzpack.measure.keras_graph import all_layers, keep_tensors_on_the_cpu, replaced_calls
from bmzpack.weights.references import resolved

EXAMPLE = 64
"""Size of the open axes of the image with which the model is traced, or the next that it takes."""


def write_traced(model: keras.Model, path: Path, labels: Mapping[str, Any] | None = None) -> None:
    """Write ``path``: any batch and size, any device, tensors by position.

    Parameters
    ----------
    model
        On the torch backend.
    path
        The file.
    labels
        From `bmzpack.operations.labels.LabelsPostprocessing.in_graph`, for a model with one input and one output: what
        follows it makes labels, of a batch of one.
    """
    keep_tensors_on_the_cpu()
    module = (Labelled(model, labels) if labels else Positional(model)).eval()
    for parameter in module.parameters():
        _order_for_torch(parameter)
    with torch.no_grad(), replaced_calls(module.rescalings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sizes are traced, conditions on them are not: three sizes are run afterwards
        traced: Any = torch.jit.trace(module, _example(model), check_trace=False)
    for part in traced.modules():
        if part._c._has_method("forward"):
            _simplify(part.graph)
    torch.jit.save(traced, str(path))
    _strip(path)


class Positional(torch.nn.Module):
    """Takes and gives tensors by position, as consumers do.

    Attributes
    ----------
    rescalings
        Calls in the place of those of rescaling layers, with the numbers as buffers: as constants of the trace they
        would stay on the CPU.
    """

    __module__ = "bmzpack.weights.torchscript"  # the file names its code by it, and keeps its bytes

    def __init__(self, model: keras.Model):
        super().__init__()
        self.model = model
        self.rescalings: dict[keras.layers.Layer, Any] = {}
        for number, layer in enumerate(all_layers(model)):
            if isinstance(layer, keras.layers.Rescaling) and np.ndim(layer.scale) + np.ndim(layer.offset):
                self.register_buffer(f"scale{number}", torch.tensor(layer.scale, dtype=torch.float32))
                self.register_buffer(f"offset{number}", torch.tensor(layer.offset, dtype=torch.float32))
                self.rescalings[layer] = functools.partial(self._rescale, number)

    def _rescale(self, number: int, inputs: torch.Tensor) -> torch.Tensor:
        return inputs * getattr(self, f"scale{number}") + getattr(self, f"offset{number}")

    def forward(self, *tensors: torch.Tensor) -> Any:
        nested = keras.tree.pack_sequence_as(self.model.input, tensors)
        outputs = keras.tree.flatten(self.model(nested, training=False))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


class Labelled(Positional):
    """A network, and the script that makes labels of its output; images of other sizes are extended for the network."""

    __module__ = Positional.__module__

    def __init__(self, model: keras.Model, labels: Mapping[str, Any]):
        super().__init__(model)
        # a trace keeps calls of scripts, with their loops
        self.make_labels: Any = torch.jit.script(resolved(labels["torch_function"]))
        self.arguments, self.sizes, self.as_mask = labels["arguments"], labels["sizes"], labels["as_mask"]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        extended: Any = _extended(image, **self.sizes) if self.sizes else image
        output = super().forward(extended)
        output = _cut(output, image) if self.sizes else output
        found = self.make_labels(output.detach(), **self.arguments)
        found = _cut(found, image) if self.sizes else found  # labels of coarser grids may reach a few pixels beyond
        return _mask_of(found) if self.as_mask else found


@torch.jit.script
def _extended(image: torch.Tensor, minimum: int, step: int) -> torch.Tensor:
    """An image (1, y, x, channel) of sizes that the network takes: beyond the last pixel it is mirrored there."""
    for axis in (1, 2):
        length = image.shape[axis]
        whole = minimum + (max(length - minimum, 0) + step - 1) // step * step
        period = max(2 * length - 2, 1)
        place = torch.arange(whole, device=image.device) % period
        image = image.index_select(axis, torch.minimum(place, period - place))
    return image


@torch.jit.script
def _mask_of(labels: torch.Tensor) -> torch.Tensor:
    """See `bmzpack.operations.labels.mask_of`."""
    height, width = labels.shape[1], labels.shape[2]
    padded = torch.nn.functional.pad(labels, [0, 0, 1, 1, 0, 1])
    kept = labels > 0
    for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        other = padded[:, dy : dy + height, 1 + dx : 1 + dx + width]
        kept = kept & ((other == 0) | (other == labels))
    return kept.to(torch.float32)


@torch.jit.script
def _cut(output: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return output[:, : image.shape[1], : image.shape[2]]


def _example(model: keras.Model) -> tuple[torch.Tensor, ...]:
    size = EXAMPLE
    if any(None in tensor.shape[1:] for tensor in model.inputs):
        geometry = measure(model)
        size = geometry.minimum + max(0, -(-(EXAMPLE - geometry.minimum) // geometry.step)) * geometry.step
    shapes = [[1, *(size if axis is None else axis for axis in tensor.shape[1:])] for tensor in model.inputs]
    return tuple(torch.zeros(shape) for shape in shapes)


def _order_for_torch(parameter: torch.nn.Parameter) -> None:
    """Lay a kernel out in memory as torch wants it (output, space, input); its shape stays that of Keras.

    Otherwise every call brings every kernel in order anew: three quarters of the time of a ResNet50.
    """
    spatial = parameter.ndim - 2
    if spatial in (2, 3):
        layout = torch.channels_last if spatial == 2 else torch.channels_last_3d
        kernel = parameter.data.permute(spatial + 1, spatial, *range(spatial))
        back = (*range(2, spatial + 2), 1, 0)
        parameter.data = kernel.contiguous(memory_format=layout).permute(back)


def _simplify(graph: Any) -> None:
    """Take out what Keras adds around every layer: moves to the device of the trace, and copies of reordered memory.

    Images are channels last; torch convolves them as they lie there, twice as fast as with the copies.
    """
    for node in graph.findAllNodes("aten::contiguous"):
        node.output().replaceAllUsesWith(node.inputsAt(0))
    for node in graph.findAllNodes("aten::to"):
        source = node.inputsAt(0)
        moves = any(str(argument.type()) == "Device" for argument in node.inputs())
        if moves and source.node().kind() != "prim::Constant":
            node.output().replaceAllUsesWith(source)
    torch._C._jit_pass_dce(graph)


def _strip(path: Path) -> None:
    """Leave out the records for debugging: they name folders of this machine."""
    reader = torch._C.PyTorchFileReader(str(path))
    own = ("version", "byteorder", ".data/serialization_id")  # the writer adds them
    names = [name for name in reader.get_all_records() if name not in own and not name.endswith(".debug_pkl")]
    records = {name: reader.get_record(name) for name in names}
    del reader
    writer = torch._C.PyTorchFileWriter(str(path))
    for name, content in records.items():
        writer.write_record(name, content, len(content))
    writer.write_end_of_file()
