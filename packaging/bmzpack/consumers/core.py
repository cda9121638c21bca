"""bioimageio.core, which napari, the BioEngine and the zoo's own tests run models with, and the zoo itself.

Read and run: bioimageio.core 0.11.0, which pins bioimageio.spec 0.5.12.0.
"""

from __future__ import annotations

import dataclasses

from bmzpack.consumers.conditions import bundle_files as files
from bmzpack.consumers.conditions import metadata as description
from bmzpack.consumers.conditions import processing
from bmzpack.consumers.conditions import tensor_axes as tensors
from bmzpack.consumers.conditions import weights_files as weights
from bmzpack.consumers.findings import Rule, Severity
from bmzpack.operations.labels import TO_LABELS

NAME = "Python (bioimageio.core)"
FORMATS = (
    "keras_v3",
    "keras_hdf5",
    "onnx",
    "pytorch_state_dict",
    "tensorflow_saved_model_bundle",
    "torchscript",
)
PRIORITY = (
    "pytorch_state_dict",
    "tensorflow_saved_model_bundle",
    "torchscript",
    "onnx",
    "keras_v3",
    "keras_hdf5",
)
"""In which it takes them by itself."""

CANNOT_OPEN, WRONG_RESULT, DEGRADED, ADVICE = Severity


def obstacle(name: str, inputs: int, outputs: int) -> str | None:
    """What keeps bioimageio.core 0.11 from running a weights format, given the numbers of inputs and outputs."""
    if inputs > 1 and name in ("keras_v3", "keras_hdf5", "tensorflow_saved_model_bundle"):
        return f"bioimageio.core runs {name} with one input only."  # it calls model.predict(*inputs)
    if outputs > 1 and name == "tensorflow_saved_model_bundle":
        return (
            f"bioimageio.core takes the outputs of {name} in no certain order."  # that of a map of the protocol buffer
        )
    return None


RULES = [
    Rule(
        "D1",
        CANNOT_OPEN,
        "bioimageio.spec 0.5.12 validates the description and refuses it.",
        "Correct the entry.",
        description.unreadable,
    ),
    Rule(
        "D2",
        CANNOT_OPEN,
        "bioimageio.core 0.11 reads the formats 0.3 to 0.5.12.",
        "Write the description in format 0.5.10.",
        description.versions_besides("0.3", "0.4", "0.5"),
    ),
    Rule(
        "F1",
        CANNOT_OPEN,
        "bioimageio.spec looks for the description at the top of the zip.",
        "Zip the files themselves, not the folder that holds them.",
        files.not_at_the_top,
    ),
    Rule(
        "F2",
        CANNOT_OPEN,
        "bioimageio.spec refuses a description that names files which are not there.",
        "Add the file, or take its entry out.",
        files.missing,
    ),
    Rule(
        "F3",
        CANNOT_OPEN,
        "bioimageio.spec compares checksums and refuses other files.",
        "Pack the bundle again from the right files.",
        files.changed,
    ),
    Rule(
        "F4",
        ADVICE,
        "Names with other characters, or that differ in upper and lower case only, are lost on some systems and in "
        "addresses of the zoo.",
        "Use letters, digits and . _ - only.",
        files.awkward_names,
    ),
    Rule(
        "R1",
        CANNOT_OPEN,
        "bioimageio.spec 0.5.12 rejects plain texts under a format version from 0.5.11 on (seen).",
        "Write format_version: 0.5.10 (`bmzpack repair` does).",
        description.plain_files_in_new_format,
    ),
    Rule(
        "R2",
        ADVICE,
        "The zoo gives a model its id, and its upload refuses a description that has one already.",
        "Take the id out of a new model before it is uploaded; a model that comes from the zoo keeps it.",
        description.own_id,
    ),
    Rule(
        "R5",
        CANNOT_OPEN,
        "bioimageio.spec wants channel_names on every channel axis.",
        "Name the channels with channel_names.",
        tensors.unnamed_channels,
    ),
    Rule(
        "R6",
        CANNOT_OPEN,
        "bioimageio.spec refuses a halo that leaves nothing of the smallest output.",
        "Choose a larger min, a multiple of step.",
        tensors.halo_of_the_whole_output,
    ),
    Rule(
        "R7",
        CANNOT_OPEN,
        "bioimageio.spec refuses a size that refers to an axis which is not there.",
        "Let the sizes refer to the input's axes.",
        tensors.sizes_that_are_not_there,
    ),
    Rule(
        "R10",
        ADVICE,
        "The zoo's guide for contributors asks for them, and reviewers look for them.",
        "Add it to rdf.yaml or to the documentation.",
        description.incomplete,
    ),
    Rule(
        "R12",
        ADVICE,
        "The zoo shows PNG, JPEG, GIF and SVG covers of at most 500 kB, as wide as high or twice as wide.",
        "Add a cover of 512 x 256 pixels, made of an input and its output.",
        description.covers,
    ),
    Rule(
        "N1",
        CANNOT_OPEN,
        "bioimageio.core runs all formats but tensorflow_js.",
        "Add the network in another format.",
        weights.none_of(FORMATS),
    ),
    Rule(
        "W1",
        ADVICE,
        "bioimageio.core unpacks the zip and gives the folder to TensorFlow, which wants saved_model.pb in it; where "
        "that fails it takes another format, if there is one.",
        "Let `bmzpack repair` write the saved model anew.",
        weights.alone(FORMATS, weights.saved_model_layout),
    ),
    Rule(
        "W2",
        CANNOT_OPEN,
        "bioimageio.core 0.11 calls the endpoint serve of a saved model, and ends with an AssertionError where that "
        "returns no dict, as after Keras' model.export() (seen).",
        "Let `bmzpack repair` freeze it.",
        weights.in_order(PRIORITY, weights.saved_model_endpoint),
    ),
    Rule(
        "W3",
        CANNOT_OPEN,
        "bioimageio.core gives the file to ONNX Runtime.",
        "Write the ONNX file anew.",
        weights.in_order(FORMATS, weights.onnx_unreadable),
    ),
    Rule(
        "W4",
        CANNOT_OPEN,
        "bioimageio.core loads it with torch.jit.load.",
        "Save the network with torch.jit (`bmzpack repair` converts Keras files).",
        weights.in_order(FORMATS, weights.torchscript_archive),
    ),
    Rule(
        "W5",
        ADVICE,
        "bioimageio.core and the zoo take the format without a parent for the original.",
        "Give every converted format its parent.",
        weights.parents,
    ),
    Rule(
        "W6",
        ADVICE,
        "Keras 3.15 cannot write bilinear UpSampling2D of sizes that are not fixed to a saved model (seen).",
        "Use nearest upsampling or a transposed convolution.",
        weights.soft_upsampling,
    ),
    Rule(
        "W7",
        CANNOT_OPEN,
        "bioimageio.spec 0.5.12 breaks under pydantic 2.14 and later.",
        'Install "pydantic<2.14".',
        description.environment,
    ),
    Rule(
        "T1",
        DEGRADED,
        "The adapter of bioimageio.core for Keras files calls model.predict(*inputs), which takes one input.",
        "Bring the inputs together as channels of one tensor, or run another format.",
        tensors.more_inputs_than_keras_takes,
    ),
    Rule(
        "T4",
        CANNOT_OPEN,
        "bioimageio.core runs the test input and compares with the test output.",
        "Write the test tensors anew with the network's own input and output.",
        tensors.test_tensors,
    ),
    Rule(
        "T7",
        CANNOT_OPEN,
        "bioimageio.spec refuses tensors of one id.",
        "Give every tensor another id.",
        tensors.same_ids,
    ),
    Rule(
        "P10",
        ADVICE,
        "bioimageio.core makes labels with the packages stardist and cellpose, which it does not install (read).",
        "Say in the documentation which package has to be installed; `bmzpack pack` does.",
        processing.named(*TO_LABELS),
    ),
]

SPECIFICATION = dataclasses.replace(RULES[0], look=description.invalid)
"""Looked at last: what another rule has said already is not said again."""
