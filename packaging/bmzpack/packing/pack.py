"""From a Keras model and its description to a bundle."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack.bundle import archive
from bmzpack.bundle.contents import Contents
from bmzpack.consumers.findings import Report
from bmzpack.consumers.registry import CONSUMERS, programs
from bmzpack.consumers.verdicts import check_contents
from bmzpack.describe import documentation, rdf
from bmzpack.describe.agreement import Agreement, agreement_of
from bmzpack.describe.description import Description, read_description
from bmzpack.describe.people import verified
from bmzpack.errors import UserError
from bmzpack.files import new_file, refuse_existing, temporary_folder
from bmzpack.operations import processing
from bmzpack.operations.labels import REPRODUCED, LabelsPostprocessing
from bmzpack.packing.match import described_tensors, tensor_ids
from bmzpack.packing.rename import with_names
from bmzpack.settings import validate
from bmzpack.weights import FORMATS, TensorNames, choose_formats, write_all
from bmzpack.weights.source import bilinear_upsampling, check_source

if TYPE_CHECKING:
    import keras

    from bmzpack.measure.geometry import Geometry
    from bmzpack.packing.plan import Plan
    from bmzpack.weights import Written


LOG = logging.getLogger("bmzpack")
CONSTANT = 1e-3
"""An output with a smaller range, as a share of its largest value, is nearly constant."""


@dataclasses.dataclass(frozen=True)
class Packed:
    """A bundle that was written."""

    path: Path
    agreement: Agreement
    """``max_abs_error`` (relative to the output's range) and ``seconds`` by weights format."""
    programs: list[str]
    """Which of Fiji, ilastik and QuPath can run it."""
    missing: list[str]
    """What the zoo asks of a model before it takes it in, and the description does not say."""


def pack(
    model: keras.Model | str | os.PathLike[str],
    description: Description | Mapping[str, Any] | str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    formats: Sequence[str] | None = None,
    labels: LabelsPostprocessing | None = None,
    geometry: Geometry | None = None,
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
    labels
        What makes labels of objects of the network's output; the bundle is then for whole images, not for tiles.
    geometry
        How the network may be fed, where that cannot be measured: of networks whose channels come first, or whose
        output depends on all of the image.
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
        with _model_file(model) as model_path, temporary_folder() as scratch:
            description = verified(description)
            named, description = with_names(model_path, description, scratch)
            if bilinear_upsampling(named):
                from bmzpack.packing.upsampling import with_plain_upsampling

                named = with_plain_upsampling(named, scratch)
            try:
                packed = _write_folder(named, description, folder, formats, labels, geometry)
            except UserError as error:
                raise UserError(str(error).replace(str(named), str(model_path))) from error
        LOG.info("loading the description with bioimageio.spec")
        rdf.check(folder)
        archive.write(folder, path)
    return dataclasses.replace(packed, path=output)


def _write_folder(
    model_path: Path,
    description: Description,
    folder: Path,
    formats: Sequence[str] | None,
    labels: LabelsPostprocessing | None,
    geometry: Geometry | None,
) -> Packed:
    """Write every file of the bundle."""
    names = tensor_ids(model_path, description)
    if labels is not None:
        description = _with_tolerance(description, names, model_path)
    check_source(model_path, names, formats or ())
    described = described_tensors(description, names, model_path)

    # Keras is imported here, so that what is wrong in a description is said at once
    from bmzpack.measure.axes import pixel_sizes
    from bmzpack.packing.plan import make_plan

    LOG.info("measuring axes, sizes and halo of the network")
    plan = make_plan(model_path, names, described, labels, geometry)
    images = plan.test_images()
    windows = plan.windows(images)
    inputs, outputs = plan.entries()

    samples = [processing.preprocess(inputs, window) for window in windows]
    test_inputs = [processing.arrays(sample, names.inputs) for sample in samples]
    model = plan.model()
    with temporary_folder() as scratch:
        final = scratch / "model.keras"
        model.save(final)
        written = write_all(final, folder, names, test_inputs, formats, labels=plan.labels)

    results = written[0].outputs[0]
    if labels is None:
        results = processing.postprocess(outputs, results, samples[0])
    elif labels.operation is not None:
        results = {name: labels.decode(array) for name, array in results.items()}
    _say_constant(results)
    tensors = plan.typed(windows[0] | results)
    for entry in (*inputs, *outputs):
        _write_test_tensor(entry, tensors[entry["id"]], folder)
    mirrored = _write_cover(plan, description, images, (inputs, outputs), tensors, folder)

    agreement, pixels = agreement_of(written, test_inputs), pixel_sizes(plan.inputs)
    _write_attachments(description, folder)
    report = _write_rdf(description, (inputs, outputs), written, model.count_params(), pixels, folder)
    text = documentation.render(
        description,
        inputs,
        outputs,
        tensors,
        plan.in_graph,
        pixels,
        report,
        agreement,
        mirrored=mirrored,
        rim=plan.rim,
        labels=plan.labels,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    consumers = _able(report)
    return Packed(folder, agreement, [CONSUMERS[name].name for name in consumers], _missing(description, consumers))


@contextlib.contextmanager
def _model_file(model: keras.Model | str | os.PathLike[str]) -> Iterator[Path]:
    """The ``.keras`` file of a model; of one in memory a temporary one."""
    if isinstance(model, str | os.PathLike):
        yield Path(model)
        return
    with temporary_folder() as scratch:
        path = scratch / f"{model.name}.keras"
        _network_of(model).save(path)
        try:
            yield path
        except UserError as error:
            raise UserError(str(error).replace(str(path), f"the model {model.name}")) from error


def _network_of(model: keras.Model) -> keras.Model:
    """The network of a model whose class adds to training only, such as a `train_step` of its own."""
    import keras

    from bmzpack.measure.keras_graph import is_built_of_layers

    if not is_built_of_layers(model) or type(model).__module__.split(".")[0] == "keras":
        return model
    return keras.Model(model.inputs, model.outputs, name=model.name)


def _with_tolerance(description: Description, names: TensorNames, model_path: Path) -> Description:
    """The description of a model that gives labels, with what bioimageio.core shall tolerate of them."""
    if len(names.inputs) != 1 or len(names.outputs) != 1:
        raise UserError(
            f"{model_path} has {len(names.inputs)} inputs and {len(names.outputs)} outputs: labels are made by "
            "networks that have one of each."
        )
    zoo = {"reproducibility_tolerance": [REPRODUCED]} | description.config.get("bioimageio", {})
    return description.model_copy(update={"config": description.config | {"bioimageio": zoo}})


def _say_constant(results: Mapping[str, np.ndarray]) -> None:
    """Warn of outputs that say nothing of the weights."""
    for name, array in results.items():
        if np.ptp(array.astype(np.float64)) < CONSTANT * np.abs(array).max():
            LOG.warning(
                "The output %r of the test image is nearly constant (%.4g), so comparing with it proves little: was "
                "the preprocessing forgotten, or a real test image?",
                name,
                float(array.mean()),
            )


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


def _write_cover(
    plan: Plan,
    description: Description,
    images: Mapping[str, np.ndarray],
    entries: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    tensors: Mapping[str, np.ndarray],
    folder: Path,
) -> bool:
    """Write the cover; returns whether the test image is smaller than the smallest input, and mirrored at its edges."""
    from bmzpack.describe.cover import write_cover
    from bmzpack.packing.tensors import visible_part

    shown = visible = visible_part(images, tensors)
    if plan.rim and plan.first_image:
        sides = tensors[plan.first_image.id].shape[1:-1]
        shown = min(visible, 1 - 2 * plan.rim / min(sides))
    classes = "classification" in (description.task or "")
    write_cover(folder / "cover.png", *entries, tensors, shown, classes)
    return visible < 1


def _write_attachments(description: Description, folder: Path) -> None:
    for name, text in description.attachments.items():
        if (folder / name).exists() or name in ("rdf.yaml", "README.md"):
            raise UserError(f"The attachment {name} has the name of a file of the bundle: rename it.")
        (folder / name).write_text(text, encoding="utf-8")


def _write_rdf(
    description: Description,
    entries: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    written: Sequence[Written],
    parameters: int,
    pixels: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> Report:
    """Write rdf.yaml with the programs that can open the bundle; returns what they make of it.

    The check reads a bundle that names none of them yet.
    """
    attachments = [folder / name for name in description.attachments]

    def write(consumers: Sequence[str]) -> None:
        content = rdf.build(description, *entries, written, consumers, parameters, pixels, attachments)
        rdf.write(content, folder / "rdf.yaml")

    (folder / "README.md").touch()
    write([])
    report = check_contents(Contents(folder, folder / "rdf.yaml"), programs())
    write(_able(report))
    return report


def _able(report: Report) -> list[str]:
    """The programs that can open a bundle."""
    return [name for name, verdict in report.consumers.items() if verdict.verdict != "fails"]


def _missing(description: Description, programs: Sequence[str]) -> list[str]:
    """What the zoo asks for and is not there."""
    expected = {
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
    return [name for name, value in expected.items() if not value]
