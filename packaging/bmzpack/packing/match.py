"""The tensors of a network and what its description says of them, brought together."""

from __future__ import annotations

import re
from pathlib import Path

from bmzpack.describe.description import IDENTIFIER, Description, Input, Output
from bmzpack.errors import UserError
from bmzpack.operations import processing
from bmzpack.operations.labels import TO_LABELS
from bmzpack.weights import TensorNames, tensor_names


def tensor_ids(model_path: Path, description: Description) -> TensorNames:
    """Tensor ids: the names of the network's inputs, and the described or the network's names of its outputs.

    Raises
    ------
    UserError
        Some outputs have a described id and others none, or a name is one that Keras made up.
    """
    ids = [tensor.id for tensor in description.outputs if tensor.id]
    if ids and len(ids) != len(description.outputs):
        raise UserError("The description gives some outputs an id and others none: name all of them, or none.")
    return tensor_names(model_path, ids or None)


def described_tensors(
    description: Description, names: TensorNames, model_path: Path
) -> tuple[list[Input], list[Output]]:
    """The described inputs and outputs in the network's order.

    Raises
    ------
    UserError
        They are others than the network's, an id is no id, or an operation is not as specified.
    """
    inputs = _described_inputs(description, names, model_path)
    outputs = description.outputs or [Output() for _ in names.outputs]
    if len(outputs) != len(names.outputs):
        raise UserError(
            f"{model_path} has the outputs {', '.join(names.outputs)}, but {len(outputs)} are described: describe all "
            "of them in this order, or none."
        )
    _check_ids([*names.inputs, *names.outputs], model_path)
    for tensor in inputs:
        processing.check_operations(tensor.preprocessing, "preprocessing", str(tensor.id))
    for tensor in outputs:
        for operation in tensor.postprocessing:
            if operation.id in TO_LABELS:
                raise UserError(
                    f"{operation.id} makes labels of the network's output: give `bmzpack.pack` `LabelsPostprocessing` "
                    "with this operation and the labels that it gives, from Python."
                )
        processing.check_operations(tensor.postprocessing, "postprocessing", tensor.id or "the output")
    found = {tensor.id: tensor for tensor in inputs}
    return [found[name] for name in names.inputs], outputs


def _described_inputs(description: Description, names: TensorNames, model_path: Path) -> list[Input]:
    inputs = description.inputs
    if len(inputs) == 1 and inputs[0].id is None:
        inputs = [inputs[0].model_copy(update={"id": names.inputs[0]})]
    found = {tensor.id for tensor in inputs}
    if found != set(names.inputs) or len(found) != len(inputs):
        raise UserError(
            f"{model_path} has the inputs {', '.join(names.inputs)}, but described are "
            f"{', '.join(str(tensor.id) for tensor in inputs)}: give each input of the description one of these names "
            "as its id."
        )
    return inputs


def _check_ids(names: list[str], model_path: Path) -> None:
    if len(set(names)) < len(names):
        raise UserError(f"{model_path}: inputs and outputs need different names, but they are {', '.join(names)}.")
    for name in names:
        if not re.fullmatch(IDENTIFIER, name):
            raise UserError(
                f"{model_path}: the tensor {name!r} needs another name, of lower case letters, digits and underscores, "
                "at most 32."
            )
