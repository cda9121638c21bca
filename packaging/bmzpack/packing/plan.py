"""What is measured of a network before anything of it is written: its tensors, their sizes, the halo."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bmzpack.describe.description import Input, Output
from bmzpack.measure.axes import (
    Sizes,
    Tensor,
    input_axes,
    output_axes,
    rim_of,
    scale_for_fiji,
    sizes_of,
)
from bmzpack.measure.geometry import Geometry, measure
from bmzpack.operations.divide import divide
from bmzpack.operations.labels import LabelsPostprocessing
from bmzpack.operations.section import Processing
from bmzpack.packing.network import with_processing, with_rim
from bmzpack.packing.tensors import read_test_image, test_windows
from bmzpack.weights import TensorNames
from bmzpack.weights.model import load


@dataclasses.dataclass(frozen=True)
class Plan:
    """A network and how it is to be described."""

    network: keras.Model
    """As it was loaded, computing in float32."""
    inputs: list[Tensor[Input]]
    outputs: list[Tensor[Output]]
    geometry: Geometry
    sizes: Sizes
    rim: int
    """Pixels of zeros that are put around every output."""
    declared: dict[str, list[Processing]]
    """Operations for rdf.yaml, by tensor id."""
    in_graph: dict[str, list[Processing]]
    """Operations that are put into the network, by tensor id."""
    labels: LabelsPostprocessing | None

    @property
    def first_image(self) -> Tensor[Input] | None:
        """The input whose sizes those of all other tensors follow."""
        return next((tensor for tensor in self.inputs if tensor.is_image), None)

    def model(self) -> keras.Model:
        """The network as it is written: with operations before and behind it, and a rim around its outputs."""
        return with_rim(with_processing(self.network, self.inputs, self.outputs, self.in_graph), self.rim)

    def test_images(self) -> dict[str, np.ndarray]:
        """The test images in the tensors' axes, by tensor id."""
        return {tensor.id: read_test_image(tensor, self.geometry.minimum) for tensor in self.inputs}

    def windows(self, images: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """The windows of test images that the weights files are run with; the first is that of the test tensors."""
        windows = test_windows(images, self.inputs, self.sizes)
        if self.labels is not None and self.labels.in_graph:  # it takes one image at a time
            return [window for window in windows if all(len(array) == 1 for array in window.values())]
        return windows

    def typed(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Test tensors in the types that users have, where the first or the last declared operation is a cast."""
        found = dict(tensors)
        for tensor in self.inputs:
            operations, image = self.declared[tensor.id], tensor.described.test_image
            if operations and operations[0].id == "ensure_dtype" and isinstance(image, np.ndarray):
                found[tensor.id] = found[tensor.id].astype(image.dtype)
        for tensor in self.outputs:
            operations = self.declared[tensor.id]
            if operations and operations[-1].id == "ensure_dtype":
                found[tensor.id] = found[tensor.id].astype(operations[-1].kwargs["dtype"])
        return found

    def entries(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The tensors as rdf.yaml has them, inputs and outputs, without their test tensors."""
        first = self.first_image
        reference = first.id if first else None
        sizes = dataclasses.replace(self.sizes, step=1) if self.labels and self.labels.sizes else self.sizes
        inputs = [
            self._entry(tensor, input_axes(tensor, sizes, reference if tensor is not first else None))
            for tensor in self.inputs
        ]
        model = with_rim(self.network, self.rim)
        # the network is measured at sizes that it takes, though a graph of labels takes others too
        axes = output_axes(model, self.inputs, self.outputs, self.sizes, self.geometry)
        outputs = [self._entry(*pair) for pair in zip(self.outputs, axes, strict=True)]
        scale_for_fiji(inputs, outputs)
        if self.labels is not None:
            _describe_labels(inputs[0], outputs[0], self.labels)
        return inputs, outputs

    def _entry(self, tensor: Tensor[Any], axes: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "preprocessing" if isinstance(tensor.described, Input) else "postprocessing"
        operations = [operation.model_dump(exclude_defaults=True) for operation in self.declared[tensor.id]]
        about = {"description": tensor.described.description} if tensor.described.description else {}
        return {"id": tensor.id, **about, "axes": axes, "data": {"type": "float32"}} | (
            {kind: operations} if operations else {}
        )


def make_plan(
    model_path: Path,
    names: TensorNames,
    described: tuple[Sequence[Input], Sequence[Output]],
    labels: LabelsPostprocessing | None,
    geometry: Geometry | None = None,
) -> Plan:
    """Load a network and measure it.

    Parameters
    ----------
    model_path
        A ``.keras`` file.
    names
        Tensor ids, in the order of the network's inputs and outputs.
    described
        What is said of them, in that order.
    labels
        What makes labels of the output.
    geometry
        Geometry of a network that cannot be measured, see `bmzpack.pack`.

    Raises
    ------
    UserError
        The file cannot be loaded, or a tensor is not as described or cannot be measured.
    """
    network = load(model_path)
    inputs = [Tensor.of(*three) for three in zip(names.inputs, described[0], network.inputs, strict=True)]
    outputs = [Tensor.of(*three) for three in zip(names.outputs, described[1], network.outputs, strict=True)]
    declared, in_graph = divide(inputs, outputs)
    if labels is not None and labels.operation is not None:
        declared[outputs[0].id] = [labels.operation]
    has_image = any(tensor.is_image for tensor in inputs)
    if geometry is None:
        geometry = measure(network) if has_image else Geometry(step=1, halo=None, margin=0, minimum=1)
    if labels is not None and not labels.as_mask:  # labels of whole images need no halo
        geometry = dataclasses.replace(geometry, halo=None)
    rim = rim_of(network, inputs, outputs, geometry)
    if rim:
        geometry = dataclasses.replace(geometry, margin=0)
    sizes = sizes_of(inputs, geometry)
    if labels is not None and labels.in_graph and not labels.as_mask and sizes.step and not geometry.margin:
        labels = dataclasses.replace(labels, sizes={"minimum": sizes.minimum, "step": sizes.step})
    return Plan(network, inputs, outputs, geometry, sizes, rim, declared, in_graph, labels)


def _describe_labels(source: dict[str, Any], entry: dict[str, Any], labels: LabelsPostprocessing) -> None:
    """Describe objects in place of the network's output: they have one channel, and in a graph a batch of one."""
    for axis in entry["axes"]:
        if axis["id"] == "channel":
            axis["channel_names"] = labels.channel_names
    if labels.in_graph:
        for axis in (*source["axes"], *entry["axes"]):
            if axis["id"] == "batch":
                axis["size"] = 1
