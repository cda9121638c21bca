"""From a Keras model and its description to a bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack import bundle, documentation, processing, rdf
from bmzpack.agreement import Agreement, agreement_of
from bmzpack.consumers import obstacles
from bmzpack.description import Description, Input, Output, Processing, read_description
from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from bmzpack.settings import validate
from bmzpack.weights import TensorNames, write_all
from bmzpack.weights.source import check_source, tensor_names

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True)
class Packed:
    """A bundle that was written."""

    path: Path
    agreement: Agreement
    """``max_abs_error`` (of the output's range) and ``seconds`` by weights format."""
    programs: list[str]
    """Which of Fiji, ilastik and QuPath can run it."""
    wanting: list[str]
    """What the zoo asks of a model before it takes it in, and the description does not say."""


def pack(
    model: keras.Model | str | os.PathLike[str],
    description: Description | Mapping[str, Any] | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    formats: Sequence[str] | None = None,
    overwrite: bool = False,
) -> Packed:
    """Pack a Keras 3 model as a bundle of the BioImage Model Zoo.

    Sizes, halo and axes are measured from the network; every weights file is run and compared before it is taken in; the
    finished bundle is loaded by bioimageio.spec. The same model and description give the same bytes.

    Parameters
    ----------
    model
        A model of Keras layers, or the path of a ``.keras`` file.
    description
        What only a person can say: a `Description`, the same as a dict, or a YAML file.
    output
        The ``.zip`` to write.
    formats
        Weights formats; by default all that this installation can write.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Packed
        The path, how the formats agree, and which programs can run the bundle.

    Raises
    ------
    UserError
        Model, description or test image cannot be used, a weights format does not compute what Keras computes, or the
        output cannot be written; nothing is left behind.
    """
    output = Path(output)
    if output.suffix != ".zip":
        raise UserError(f"{output}: a bundle is a zip file, name it {output.name}.zip.")
    refuse_existing(output, overwrite)
    if isinstance(description, Mapping):
        description = validate(Description, dict(description), "the description")
    elif not isinstance(description, Description):
        description = read_description(description)
    with new_file(output, overwrite) as path:
        folder = path.with_name("bundle")
        folder.mkdir()
        with _model_file(model) as model_path:
            packed = _write_folder(model_path, description, folder, formats)
        rdf.check(folder)
        bundle.write(folder, path)
    return dataclasses.replace(packed, path=output)


def _write_folder(model_path: Path, description: Description, folder: Path, formats: Sequence[str] | None) -> Packed:
    """Write every file of the bundle."""
    names = _names(model_path, description)
    check_source(model_path, names, formats or ())
    described = _described(description, names, model_path)
    for name, tensor in described.items():
        if isinstance(tensor, Input):
            processing.check_operations(tensor.preprocessing, "preprocessing", name)
        else:
            processing.check_operations(tensor.postprocessing, "postprocessing", name)

    # Keras is imported here, so that what is wrong in a description is said at once
    from bmzpack import axes as axes_module
    from bmzpack.cover import write_cover
    from bmzpack.geometry import measure
    from bmzpack.network import with_processing
    from bmzpack.tensors import read_test_image, test_windows
    from bmzpack.weights.model import load

    model = load(model_path)
    keras_tensors = dict(zip([*names.inputs, *names.outputs], [*model.inputs, *model.outputs], strict=True))
    letters = {name: axes_module.axes_of(keras_tensors[name], described[name].axes, name) for name in described}
    declared, in_graph = _divided(described, keras_tensors, letters)

    geometry = measure(model)
    sizes = axes_module.sizes_of(model, letters, geometry)
    images = {
        name: read_test_image(described[name], letters[name], keras_tensors[name].shape, geometry.minimum)
        for name in names.inputs
    }
    shapes = {name: keras_tensors[name].shape for name in names.inputs}
    windows = test_windows(images, letters, shapes, sizes)

    inputs = []
    first_image = next((name for name in names.inputs if "y" in letters[name]), None)
    for name in names.inputs:
        reference = first_image if name != first_image else None
        entry_axes = axes_module.input_axes(keras_tensors[name], letters[name], described[name], sizes, reference)
        inputs.append(_entry(name, described[name], entry_axes, "preprocessing", declared[name]))
    of_inputs = {name: (letters[name], described[name]) for name in names.inputs}
    outputs = []
    for index, name in enumerate(names.outputs):
        entry_axes = axes_module.output_axes(model, index, letters[name], described[name], of_inputs, sizes, geometry)
        outputs.append(_entry(name, described[name], entry_axes, "postprocessing", declared[name]))

    channel_axes = {name: letters[name].find("c") for name in described}
    model = with_processing(
        model,
        {name: in_graph[name] for name in names.inputs},
        {name: in_graph[name] for name in names.outputs},
        channel_axes,
    )
    samples = [processing.preprocess(inputs, window) for window in windows]
    test_inputs = [processing.arrays(sample, names.inputs) for sample in samples]
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        final = Path(scratch, "model.keras")
        model.save(final)
        written = write_all(final, folder, names, test_inputs, formats)

    results = processing.postprocess(outputs, written[0].outputs[0], samples[0])
    tensors = windows[0] | results
    for entry in (*inputs, *outputs):
        _write_test_tensor(entry, tensors[entry["id"]], folder)
    write_cover(folder / "cover.png", inputs, outputs, tensors)
    agreement = agreement_of(written, test_inputs)
    hindered = obstacles(inputs, outputs, [entry.format for entry in written])
    (folder / "README.md").write_text(
        documentation.render(description, inputs, outputs, tensors, in_graph, hindered, agreement), encoding="utf-8"
    )
    programs = [program for program, reasons in hindered.items() if not reasons]
    rdf.write(rdf.build(description, inputs, outputs, written, programs, model.count_params()), folder / "rdf.yaml")
    return Packed(folder, agreement, programs, _wanting(description, programs))


@contextlib.contextmanager
def _model_file(model: keras.Model | str | os.PathLike[str]) -> Iterator[Path]:
    """The ``.keras`` file of a model; of one in memory a temporary one."""
    if isinstance(model, str | os.PathLike):
        yield Path(model)
        return
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        path = Path(scratch, f"{model.name}.keras")
        model.save(path)
        try:
            yield path
        except UserError as error:
            raise UserError(str(error).replace(str(path), f"the model {model.name}")) from error


def _names(model_path: Path, description: Description) -> TensorNames:
    """Tensor ids: the names of the network's inputs, and the described or the network's names of its outputs."""
    given = [tensor.id for tensor in description.outputs if tensor.id]
    if given and len(given) != len(description.outputs):
        raise UserError("The description gives some outputs an id and others none: name all of them, or none.")
    return tensor_names(model_path, given or None)


def _described(description: Description, names: TensorNames, model_path: Path) -> dict[str, Input | Output]:
    """The described tensors in the network's order, by tensor id."""
    if len(description.inputs) == 1 and description.inputs[0].id is None:
        description.inputs[0].id = names.inputs[0]
    found = {tensor.id: tensor for tensor in description.inputs}
    if set(found) != set(names.inputs) or len(found) != len(description.inputs):
        raise UserError(
            f"{model_path} has the inputs {', '.join(names.inputs)}, but described are "
            f"{', '.join(str(tensor.id) for tensor in description.inputs)}: give each input of the description one of "
            "these names as its id."
        )
    outputs = description.outputs or [Output() for _ in names.outputs]
    if len(outputs) != len(names.outputs):
        raise UserError(
            f"{model_path} has the outputs {', '.join(names.outputs)}, but {len(outputs)} are described: describe all of "
            "them in this order, or none."
        )
    tensors: dict[str, Input | Output] = {name: found[name] for name in names.inputs}
    for name, tensor in zip(names.outputs, outputs, strict=True):
        tensors[name] = tensor.model_copy(update={"id": name})
    if len(tensors) < len(names.inputs) + len(names.outputs):
        raise UserError(f"{model_path}: inputs and outputs need different names, but they are {', '.join(tensors)}.")
    for name in tensors:
        if (
            not (name.replace("_", "a").isascii() and name.replace("_", "a").isalnum() and name == name.lower())
            or len(name) > 32
        ):
            raise UserError(
                f"{model_path}: the tensor {name!r} needs a name of lower case letters, digits and underscores, at most 32."
            )
    return tensors


def _divided(
    described: Mapping[str, Any], keras_tensors: Mapping[str, Any], letters: Mapping[str, str]
) -> tuple[dict[str, list[Processing]], dict[str, list[Processing]]]:
    """The operations that are declared, and those that go into the graph, by tensor id."""
    from bmzpack.axes import IDS

    declared, in_graph = {}, {}
    for name, tensor in described.items():
        ids = [IDS[letter] for letter in letters[name]]
        channels = int(keras_tensors[name].shape[letters[name].index("c")]) if "c" in letters[name] else 1
        if isinstance(tensor, Input):
            declared[name], in_graph[name] = processing.divide_preprocessing(tensor.preprocessing, ids, channels, name)
        else:
            in_graph[name], declared[name] = processing.divide_postprocessing(
                tensor.postprocessing, ids, channels, name
            )
    return declared, in_graph


def _entry(
    name: str, tensor: Input | Output, axes: list[dict[str, Any]], kind: str, operations: Sequence[Processing]
) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": name}
    if tensor.description:
        entry["description"] = tensor.description
    entry |= {"axes": axes, "data": {"type": "float32"}}
    if operations:
        entry[kind] = [operation.model_dump(exclude_defaults=True) for operation in operations]
    return entry


def _write_test_tensor(entry: dict[str, Any], tensor: np.ndarray, folder: Path) -> None:
    if np.abs(tensor).max() < 1e-4:
        raise UserError(
            f"The test tensor {entry['id']!r} is zero everywhere, so that nothing can be compared with it: choose a test "
            "image with something on it."
        )
    path = folder / f"test_{entry['id']}.npy"
    np.save(path, tensor)
    entry["test_tensor"] = {"source": path.name, "sha256": rdf.sha256(path)}


def _wanting(description: Description, programs: Sequence[str]) -> list[str]:
    wishes = {
        "authors": description.authors,
        "a github_user among authors or maintainers": any(
            person.github_user for person in (*description.authors, *description.maintainers)
        ),
        "licence": description.licence,
        "cite": description.cite,
        "description": description.description,
        "tags": description.tags,
        "validation": description.validation,
        "a program that can run it": programs,
    }
    return [wish for wish, given in wishes.items() if not given]
