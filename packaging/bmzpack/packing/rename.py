"""Models whose inputs and outputs have the names that Keras made up: programs find tensors by name."""

from __future__ import annotations

from pathlib import Path

from bmzpack.describe.description import Description, Input, Output
from bmzpack.errors import UserError
from bmzpack.weights.source import check_code, layer_names, made_up_names

INPUT, OUTPUT = "raw", "output"
"""Ids of the only input and the only output, where the description gives none."""


def with_names(model_path: Path, description: Description, scratch: Path) -> tuple[Path, Description]:
    """A model whose inputs have names of their own, and a description that names its outputs.

    Parameters
    ----------
    model_path
        A ``.keras`` file.
    description
        Its ids are the new names, in the order of the model's inputs and outputs.
    scratch
        Where a model with other names is written.

    Returns
    -------
    tuple
        The file and the description themselves where all have names.

    Raises
    ------
    UserError
        There are several without a name, and the description gives them no ids.
    """
    made_up = made_up_names(model_path)
    if made_up.outputs and not any(tensor.id for tensor in description.outputs):
        description = _with_output_ids(model_path, description)
    if made_up.inputs:
        described = [tensor.id or INPUT for tensor in description.inputs]
        ids = _ids(model_path, "inputs", layer_names(model_path).inputs, described)
        model_path = _renamed(model_path, ids, scratch / "named.keras")
        inputs: list[Input] = [
            tensor.model_copy(update={"id": name}) for tensor, name in zip(description.inputs, ids, strict=True)
        ]
        description = description.model_copy(update={"inputs": inputs})
    return model_path, description


def _with_output_ids(model_path: Path, description: Description) -> Description:
    count = len(layer_names(model_path).outputs)
    if count > 1:
        raise UserError(
            f"{model_path} has {count} outputs without names of their own: describe them under outputs, in this order, "
            "each with an id."
        )
    described = description.outputs or [Output()]
    return description.model_copy(update={"outputs": [described[0].model_copy(update={"id": OUTPUT}), *described[1:]]})


def _ids(model_path: Path, kind: str, names: list[str], described: list[str]) -> list[str]:
    if len(described) != len(names):
        raise UserError(
            f"{model_path} has the {kind} {', '.join(names)}, but {len(described)} are described: describe all of them."
        )
    if len(set(described)) < len(described):
        raise UserError(
            f"{model_path} has {len(names)} {kind} without names of their own: give each in the description an id, in "
            "the order of the model."
        )
    # those that have a name keep it, wherever they stand in the description
    return names if set(described) == set(names) else described


def _renamed(model_path: Path, ids: list[str], path: Path) -> Path:
    """The same network behind inputs of other names."""
    import keras

    from bmzpack.measure.keras_graph import input_structure
    from bmzpack.weights.model import load

    check_code(model_path)
    model = load(model_path)
    entrances = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)
        for tensor, name in zip(model.inputs, ids, strict=True)
    ]
    inside = keras.tree.pack_sequence_as(input_structure(model), entrances)
    keras.Model(inside, model(inside), name=model.name).save(path)
    return path
