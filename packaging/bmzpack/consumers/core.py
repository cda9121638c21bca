"""bioimageio.core, which napari, the BioEngine and the zoo's own tests run models with, and the zoo itself.

Read and run: bioimageio.core 0.11.0, which pins bioimageio.spec 0.5.12.0.
"""

from __future__ import annotations

import dataclasses

from bmzpack.consumers.conditions import (
    bundle_files,
    metadata,
    processing,
    python_sources,
    tensor_axes,
    validation,
    weights_files,
)
from bmzpack.consumers.consumer import Consumer, Release
from bmzpack.consumers.findings import Severity
from bmzpack.consumers.rules import Rule, older_rules, scale_linear_rule, shared_rule, torchscript_rule, version_rule
from bmzpack.engines import rows
from bmzpack.operations.labels import TO_LABELS

FORMATS = (
    "keras_v3",
    "keras_hdf5",
    "onnx",
    "pytorch_state_dict",
    "tensorflow_saved_model_bundle",
    "torchscript",
)
"""All that it runs; it goes on to the next where one cannot be loaded, so an unreadable one matters only where it is
the first of these."""
ORDER = (
    "pytorch_state_dict",
    "tensorflow_saved_model_bundle",
    "torchscript",
    "onnx",
    "keras_v3",
    "keras_hdf5",
)
"""DEFAULT_WEIGHT_FORMAT_PRIORITY_ORDER of bioimageio.core."""

CANNOT_OPEN, WRONG_RESULT, DEGRADED, ADVICE = Severity


def _obstacle(name: str, inputs: int, outputs: int) -> str | None:
    """What keeps bioimageio.core 0.11 from running a weights format with these numbers of inputs and outputs."""
    if name not in ORDER:
        return f"bioimageio.core does not run {name}."
    if inputs > 1 and name in ("keras_v3", "keras_hdf5", "tensorflow_saved_model_bundle"):
        return f"bioimageio.core runs {name} with one input only."  # it calls model.predict(*inputs)
    if outputs > 1 and name == "tensorflow_saved_model_bundle":
        return (
            f"bioimageio.core takes the outputs of {name} in no certain order."  # that of a map of the protocol buffer
        )
    return None


RULES = [
    shared_rule("D1", "bioimageio.spec 0.5.12 validates the description and refuses it."),
    version_rule("bioimageio.core 0.11 reads the formats 0.3 to 0.5.12.", "0.3", "0.4", "0.5"),
    shared_rule("F1", "bioimageio.spec looks for the description at the top of the zip."),
    shared_rule("F2"),
    shared_rule("F3", "bioimageio.spec compares checksums and refuses other files."),
    Rule(
        "F4",
        ADVICE,
        "Names with other characters, or that differ in upper and lower case only, are lost on some systems and in "
        "addresses of the zoo.",
        bundle_files.unportable_file_names,
        remedy="Use letters, digits and . _ - only.",
    ),
    Rule(
        "R1",
        CANNOT_OPEN,
        "bioimageio.spec 0.5.12 rejects plain texts under a format version from 0.5.11 on (observed).",
        metadata.plain_files_in_new_format,
        remedy="Write format_version: 0.5.10 (`bmzpack repair` does).",
    ),
    Rule(
        "R2",
        ADVICE,
        "The zoo gives a model its id, and its upload refuses a description that has one already.",
        metadata.id_not_from_zoo,
        remedy="Take the id out of a new model before it is uploaded; a model that comes from the zoo keeps it.",
    ),
    Rule(
        "R5",
        CANNOT_OPEN,
        "bioimageio.spec wants channel_names on every channel axis.",
        tensor_axes.channels_without_names,
        remedy="Name the channels with channel_names.",
    ),
    shared_rule("R6"),
    shared_rule("R7"),
    Rule(
        "R10",
        ADVICE,
        "The zoo's guide for contributors asks for them, and reviewers look for them.",
        metadata.incomplete_metadata,
        remedy="Add it to rdf.yaml or to the documentation.",
    ),
    Rule(
        "R12",
        ADVICE,
        "The zoo shows PNG, JPEG, GIF and SVG covers of at most 500 kB, as wide as high or twice as wide.",
        metadata.missing_or_unfit_cover,
        remedy="Add a cover of 512 x 256 pixels, made of an input and its output.",
    ),
    Rule(
        "N1",
        CANNOT_OPEN,
        "bioimageio.core runs all formats but tensorflow_js.",
        weights_files.no_weights_of(FORMATS),
        remedy="Add the network in another format.",
    ),
    Rule(
        "N3",
        DEGRADED,
        "bioimageio.core imports the architecture in the environment that it runs in, and installs nothing.",
        python_sources.lacking_packages(ORDER, python_sources.TORCH, environment=True, severity=DEGRADED),
        remedy="Say in the documentation which packages have to be installed, or add weights that need none.",
    ),
    shared_rule("R13"),
    scale_linear_rule(),
    Rule(
        "W1",
        ADVICE,
        "bioimageio.core unpacks the zip and gives the folder to TensorFlow, which wants saved_model.pb in it; where "
        "that fails it takes another format, if there is one.",
        weights_files.fatal_if_alone(FORMATS, weights_files.misplaced_saved_model),
    ),
    Rule(
        "W2",
        CANNOT_OPEN,
        "bioimageio.core 0.11 calls the endpoint serve of a saved model, and ends with an AssertionError where that "
        "returns no dict, as after Keras' model.export() (observed).",
        weights_files.by_priority(ORDER, weights_files.saved_model_endpoint_without_names),
    ),
    Rule(
        "W3",
        CANNOT_OPEN,
        "bioimageio.core gives the file to ONNX Runtime.",
        weights_files.by_priority(FORMATS, weights_files.unreadable_onnx),
        remedy="Write the ONNX file anew.",
    ),
    Rule(
        "W8",
        WRONG_RESULT,
        "bioimageio.core takes the outputs of ONNX Runtime by their position (observed in 0.8.0 to 0.11).",
        weights_files.by_priority(ORDER, weights_files.onnx_outputs_in_other_order),
        remedy="Describe the outputs in the order of the graph.",
    ),
    torchscript_rule("bioimageio.core loads it with torch.jit.load.", FORMATS),
    Rule(
        "W5",
        ADVICE,
        "bioimageio.core and the zoo take the format without a parent for the original.",
        weights_files.not_one_original,
        remedy="Give every converted format its parent.",
    ),
    Rule(
        "W6",
        ADVICE,
        "Keras 3.15 cannot write bilinear UpSampling2D of sizes that are not fixed to a saved model (observed).",
        weights_files.bilinear_upsampling,
        remedy="Use nearest upsampling or a transposed convolution.",
    ),
    Rule(
        "W7",
        CANNOT_OPEN,
        "bioimageio.spec 0.5.12 breaks under pydantic 2.14 and later.",
        metadata.incompatible_pydantic,
        remedy='Install "pydantic<2.14".',
    ),
    Rule(
        "T1",
        DEGRADED,
        "The adapter of bioimageio.core for Keras files calls model.predict(*inputs), which takes one input.",
        tensor_axes.several_inputs_of_keras,
        remedy="Bring the inputs together as channels of one tensor, or run another format.",
    ),
    shared_rule("T4", "bioimageio.core runs the test input and compares with the test output."),
    shared_rule("T7"),
    Rule(
        "P10",
        ADVICE,
        "bioimageio.core makes labels with the packages stardist and cellpose, which it does not install (from the "
        "source code).",
        processing.named(*TO_LABELS),
        remedy="Say in the documentation which package has to be installed; `bmzpack pack` does.",
    ),
]

RELEASES = [
    Release(
        f"bioimageio.core {core}",
        {"bioimageio.core": core, "bioimageio.spec": specification},
        older_rules(specification),
        without=frozenset({"R1", "W7"}),
    )
    for core, specification in (("0.10.2", "0.5.9.1"), ("0.9.1", "0.5.5.4"), ("0.8.0", "0.5.4.1"))
]

CORE = Consumer(
    key="core",
    name="Python (bioimageio.core)",
    versions={"bioimageio.core": "0.11.0", "bioimageio.spec": "0.5.12.0"},
    order=ORDER,
    obstacle=_obstacle,
    tries_next=True,
    engines=dict.fromkeys(ORDER, (rows.CORE,)),
    releases=RELEASES,
    rules=RULES,
    specification=dataclasses.replace(RULES[0], condition=validation.invalid_description),
)
