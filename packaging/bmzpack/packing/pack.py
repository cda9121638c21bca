"""From a Keras model and its description to a bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack.bundle import archive as bundle
from bmzpack.bundle.contents import Contents
from bmzpack.consumers.registry import CONSUMERS, programs
from bmzpack.consumers.verdicts import check_contents
from bmzpack.describe import documentation, rdf
from bmzpack.describe.agreement import Agreement, agreement_of
from bmzpack.describe.description import IDENTIFIER, Description, Input, Output, Processing, read_description
from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing
from bmzpack.operations import processing
from bmzpack.operations.labels import CHANNEL_NAMES, REPRODUCED, TO_LABELS, Ending
from bmzpack.settings import validate
from bmzpack.weights import FORMATS, TensorNames, choose_formats, write_all
from bmzpack.weights.source import check_source, tensor_names

if TYPE_CHECKING:
    import keras

    from bmzpack.measure.axes import Tensor


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
    ending: Ending | None = None,
    overwrite: bool = False,
) -> Packed:
    """Pack a Keras 3 model as a bundle of the BioImage Model Zoo.

    Sizes, halo and axes are measured from the network; every weights file is run and compared before it is taken in;
    the finished bundle is loaded by bioimageio.spec. The same model and description give the same bytes.

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
    ending
        What makes labels of objects of the network's output; the bundle is then for whole images, not for tiles.
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
    if formats is not None:
        chosen = choose_formats(formats)
        formats = [name for name in FORMATS if name in chosen]  # the original first
    if isinstance(description, Mapping):
        description = validate(Description, dict(description), "the description")
    elif not isinstance(description, Description):
        description = read_description(description)
    with new_file(output, overwrite) as path:
        folder = path.with_name("bundle")
        folder.mkdir()
        with _model_file(model) as model_path:
            packed = _write_folder(model_path, description, folder, formats, ending)
        rdf.check(folder)
        bundle.write(folder, path)
    return dataclasses.replace(packed, path=output)


def _write_folder(
    model_path: Path,
    description: Description,
    folder: Path,
    formats: Sequence[str] | None,
    ending: Ending | None,
) -> Packed:
    """Write every file of the bundle."""
    names = _names(model_path, description)
    if ending is not None:
        if len(names.inputs) != 1 or len(names.outputs) != 1:
            raise UserError(
                f"{model_path} has {len(names.inputs)} inputs and {len(names.outputs)} outputs: labels are made by "
                "networks that have one of each."
            )
        zoo = {"reproducibility_tolerance": [REPRODUCED]} | description.config.get("bioimageio", {})
        description = description.model_copy(update={"config": description.config | {"bioimageio": zoo}})
    check_source(model_path, names, formats or ())
    given_inputs, given_outputs = _described(description, names, model_path)

    # Keras is imported here, so that what is wrong in a description is said at once
    from bmzpack.describe.cover import write_cover
    from bmzpack.measure.axes import Tensor, input_axes, output_axes, pixel_sizes, rim_of, scale_for_fiji, sizes_of
    from bmzpack.measure.geometry import Geometry, measure
    from bmzpack.packing.network import with_processing, with_rim
    from bmzpack.packing.tensors import read_test_image, test_windows, visible_part
    from bmzpack.weights.model import load

    model = load(model_path)
    inputs = [Tensor.of(*three) for three in zip(names.inputs, given_inputs, model.inputs, strict=True)]
    outputs = [Tensor.of(*three) for three in zip(names.outputs, given_outputs, model.outputs, strict=True)]
    declared, in_graph = processing.divide(inputs, outputs)
    if ending is not None and ending.operation is not None:
        declared[outputs[0].id] = [ending.operation]

    first_image = next((tensor for tensor in inputs if tensor.is_image), None)
    geometry = measure(model) if first_image else Geometry(step=1, halo=None, margin=0, minimum=1)
    if ending is not None:  # labels of whole images need no halo
        geometry = dataclasses.replace(geometry, halo=None)
    rim = rim_of(model, inputs, outputs, geometry)
    if rim:
        geometry = dataclasses.replace(geometry, margin=0)
    sizes = sizes_of(inputs, geometry)
    images = {tensor.id: read_test_image(tensor, geometry.minimum) for tensor in inputs}
    windows = test_windows(images, inputs, sizes)
    if ending is not None and ending.in_graph:  # it takes one image at a time
        windows = [window for window in windows if all(len(array) == 1 for array in window.values())]

    reference = first_image.id if first_image else None
    input_entries = [
        _entry(tensor, input_axes(tensor, sizes, reference if tensor is not first_image else None), declared)
        for tensor in inputs
    ]
    output_entries = [
        _entry(tensor, axes, declared)
        for tensor, axes in zip(
            outputs, output_axes(with_rim(model, rim), inputs, outputs, sizes, geometry), strict=True
        )
    ]
    scale_for_fiji(input_entries, output_entries)
    if ending is not None:
        _end_in_labels(input_entries[0], output_entries[0], ending)

    samples = [processing.preprocess(input_entries, window) for window in windows]
    test_inputs = [processing.arrays(sample, names.inputs) for sample in samples]
    model = with_rim(with_processing(model, inputs, outputs, in_graph), rim)
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        final = Path(scratch, "model.keras")
        model.save(final)
        written = write_all(final, folder, names, test_inputs, formats, ending=ending)

    results = written[0].outputs[0]
    if ending is None:
        results = processing.postprocess(output_entries, results, samples[0])
    elif ending.operation is not None:
        results = {name: ending.decode(array) for name, array in results.items()}
    tensors = windows[0] | results
    for entry in (*input_entries, *output_entries):
        _write_test_tensor(entry, tensors[entry["id"]], folder)
    visible = visible_part(images, windows[0])
    without_rim = 1 - 2 * rim / min(windows[0][reference].shape[1:-1]) if reference and rim else 1.0
    classes = "classification" in (description.task or "")
    write_cover(folder / "cover.png", input_entries, output_entries, tensors, min(visible, without_rim), classes)
    agreement, pixels = agreement_of(written, test_inputs), pixel_sizes(inputs)
    _write_attachments(description, folder)

    def write_rdf(consumers: Sequence[str]) -> None:
        parameters = model.count_params()
        attachments = [folder / name for name in description.attachments]
        content = rdf.build(
            description, input_entries, output_entries, written, consumers, parameters, pixels, attachments
        )
        rdf.write(content, folder / "rdf.yaml")

    (folder / "README.md").touch()
    write_rdf([])
    report = check_contents(Contents(folder, folder / "rdf.yaml"), programs())
    consumers = [name for name, verdict in report.consumers.items() if verdict.verdict != "fails"]
    write_rdf(consumers)
    text = documentation.render(
        description,
        input_entries,
        output_entries,
        tensors,
        in_graph,
        pixels,
        report,
        agreement,
        mirrored=visible < 1,
        rim=rim,
        ending=ending,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    return Packed(folder, agreement, [CONSUMERS[name].name for name in consumers], _wanting(description, consumers))


@contextlib.contextmanager
def _model_file(model: keras.Model | str | os.PathLike[str]) -> Iterator[Path]:
    """The ``.keras`` file of a model; of one in memory a temporary one."""
    if isinstance(model, str | os.PathLike):
        yield Path(model)
        return
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        path = Path(scratch, f"{model.name}.keras")
        _network_of(model).save(path)
        try:
            yield path
        except UserError as error:
            raise UserError(str(error).replace(str(path), f"the model {model.name}")) from error


def _network_of(model: keras.Model) -> keras.Model:
    """The network of a model whose class adds to training only, such as a `train_step` of its own."""
    import keras

    built_of_layers = getattr(model, "_functional", None) is None and hasattr(model, "_run_through_graph")
    if not built_of_layers or type(model).__module__.split(".")[0] == "keras":
        return model
    return keras.Model(model.inputs, model.outputs, name=model.name)


def _names(model_path: Path, description: Description) -> TensorNames:
    """Tensor ids: the names of the network's inputs, and the described or the network's names of its outputs."""
    given = [tensor.id for tensor in description.outputs if tensor.id]
    if given and len(given) != len(description.outputs):
        raise UserError("The description gives some outputs an id and others none: name all of them, or none.")
    return tensor_names(model_path, given or None)


def _described(description: Description, names: TensorNames, model_path: Path) -> tuple[list[Input], list[Output]]:
    """The described inputs and outputs in the network's order."""
    inputs = description.inputs
    if len(inputs) == 1 and inputs[0].id is None:
        inputs = [inputs[0].model_copy(update={"id": names.inputs[0]})]
    found = {tensor.id: tensor for tensor in inputs}
    if set(found) != set(names.inputs) or len(found) != len(inputs):
        raise UserError(
            f"{model_path} has the inputs {', '.join(names.inputs)}, but described are "
            f"{', '.join(str(tensor.id) for tensor in inputs)}: give each input of the description one of these names "
            "as its id."
        )
    outputs = description.outputs or [Output() for _ in names.outputs]
    if len(outputs) != len(names.outputs):
        raise UserError(
            f"{model_path} has the outputs {', '.join(names.outputs)}, but {len(outputs)} are described: describe all "
            "of them in this order, or none."
        )
    every = [*names.inputs, *names.outputs]
    if len(set(every)) < len(every):
        raise UserError(f"{model_path}: inputs and outputs need different names, but they are {', '.join(every)}.")
    for name in every:
        if not re.fullmatch(IDENTIFIER, name):
            raise UserError(
                f"{model_path}: the tensor {name!r} needs another name, of lower case letters, digits and underscores, "
                "at most 32."
            )
    for tensor in inputs:
        processing.check_operations(tensor.preprocessing, "preprocessing", str(tensor.id))
    for tensor in outputs:
        for operation in tensor.postprocessing:
            if operation.id in TO_LABELS:
                raise UserError(
                    f"{operation.id} makes labels of the network's output: give `bmzpack.pack` an `Ending` with this "
                    "operation and the labels that it gives, from Python."
                )
        processing.check_operations(tensor.postprocessing, "postprocessing", tensor.id or "the output")
    return [found[name] for name in names.inputs], outputs


def _entry(
    tensor: Tensor[Any], axes: list[dict[str, Any]], declared: Mapping[str, Sequence[Processing]]
) -> dict[str, Any]:
    """A tensor as rdf.yaml has it, without its test tensor."""
    kind = "preprocessing" if isinstance(tensor.given, Input) else "postprocessing"
    operations = [operation.model_dump(exclude_defaults=True) for operation in declared[tensor.id]]
    about = {"description": tensor.given.description} if tensor.given.description else {}
    return {"id": tensor.id, **about, "axes": axes, "data": {"type": "float32"}} | (
        {kind: operations} if operations else {}
    )


def _end_in_labels(source: dict[str, Any], entry: dict[str, Any], ending: Ending) -> None:
    """Describe the labels in place of the network's output: they have one channel, and in a graph a batch of one."""
    for axis in entry["axes"]:
        if axis["id"] == "channel":
            axis["channel_names"] = CHANNEL_NAMES
    if ending.in_graph:
        for axis in (*source["axes"], *entry["axes"]):
            if axis["id"] == "batch":
                axis["size"] = 1


def _write_test_tensor(entry: dict[str, Any], tensor: np.ndarray, folder: Path) -> None:
    if np.abs(tensor).max() < 1e-4:
        raise UserError(
            f"The test tensor {entry['id']!r} is zero everywhere, so that nothing can be compared with it: choose a "
            "test image with something on it, or a sample with another answer."
        )
    path = folder / f"test_{entry['id']}.npy"
    np.save(path, tensor)
    entry["data"] = {"type": tensor.dtype.name}
    entry["test_tensor"] = {"source": path.name, "sha256": rdf.sha256(path)}


def _write_attachments(description: Description, folder: Path) -> None:
    for name, text in description.attachments.items():
        if (folder / name).exists() or name in ("rdf.yaml", "README.md"):
            raise UserError(f"The attachment {name} has the name of a file of the bundle: rename it.")
        (folder / name).write_text(text, encoding="utf-8")


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
