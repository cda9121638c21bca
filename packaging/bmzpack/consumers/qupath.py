"""QuPath, with its Deep Java Library extension.

Read: qupath-bioimageio-spec d372139, DJL 0.36.
"""

from __future__ import annotations

from bmzpack.consumers.conditions import description, files, processing, tensors, weights
from bmzpack.consumers.findings import Rule, Severity
from bmzpack.operations.registry import computed_in

NAME = "QuPath"
LINK = "bioimageio/qupath"
SAVED_MODEL = "tensorflow_saved_model_bundle"
ORDER = ("torchscript", SAVED_MODEL, "onnx")
OPERATIONS = computed_in("qupath")

CANNOT_OPEN, WRONG_RESULT, DEGRADED, ADVICE = Severity

LEFT_OUT = (
    "QuPath knows binarize, clip, scale_linear, scale_range, sigmoid and zero_mean_unit_variance; it leaves out "
    "others, and says so in its log only."
)

RULES = [
    Rule(
        "D1",
        CANNOT_OPEN,
        "QuPath reads the description into objects of fixed types.",
        "Correct the entry.",
        description.unreadable,
    ),
    Rule(
        "D2",
        CANNOT_OPEN,
        "qupath-bioimageio-spec reads the formats 0.4 and 0.5.",
        "Write the description in format 0.5.10.",
        description.versions_besides("0.4", "0.5"),
    ),
    Rule(
        "F1",
        CANNOT_OPEN,
        "QuPath looks for the description in the folder or zip that is opened.",
        "Zip the files themselves, not the folder that holds them.",
        files.not_at_the_top,
    ),
    Rule(
        "R9",
        ADVICE,
        "The zoo's site finds models for a program by their links, not by their tags.",
        f"Add {LINK} to the links.",
        description.missing_link(LINK),
    ),
    Rule(
        "N1",
        CANNOT_OPEN,
        "QuPath runs TorchScript, saved models and ONNX, through the Deep Java Library.",
        "Add one of these formats (`bmzpack repair` converts Keras files).",
        weights.none_of(ORDER),
    ),
    Rule(
        "F2",
        CANNOT_OPEN,
        "QuPath reads the weights from the bundle.",
        "Add the file, or take its entry out.",
        weights.in_order(ORDER, files.of_weights(files.missing)),
    ),
    Rule(
        "F3",
        WRONG_RESULT,
        "QuPath does not look at checksums: it runs whatever file is there.",
        "Pack the bundle again from the right files.",
        weights.in_order(ORDER, files.of_weights(files.changed)),
    ),
    Rule(
        "W1",
        CANNOT_OPEN,
        "QuPath unpacks x.zip to the folder x and wants the saved model in it.",
        "Let `bmzpack repair` write the saved model anew.",
        weights.in_order(ORDER, weights.saved_model_layout),
    ),
    Rule(
        "W3",
        CANNOT_OPEN,
        "The Deep Java Library gives the file to ONNX Runtime.",
        "Write it with opset 15 to 17 and IR version 8 (`bmzpack repair` tries).",
        weights.in_order(ORDER, weights.onnx_unreadable),
    ),
    Rule(
        "W4",
        CANNOT_OPEN,
        "The Deep Java Library loads it with torch.jit.",
        "Save the network with torch.jit (`bmzpack repair` converts Keras files).",
        weights.in_order(ORDER, weights.torchscript_archive),
    ),
    Rule(
        "T1",
        CANNOT_OPEN,
        "QuPath's builder takes one input and one output.",
        "Bring them together as channels of one tensor.",
        tensors.more_than_one,
    ),
    Rule(
        "T2",
        CANNOT_OPEN,
        "QuPath takes the channels of the result from the output's channel axis.",
        "Add a channel axis of length 1.",
        tensors.outputs_without_channels,
    ),
    Rule(
        "T5",
        CANNOT_OPEN,
        "QuPath classifies pixels: it needs the axes y and x, without z.",
        "Nothing can be done for a network that gives no plane; use it from Python.",
        lambda facts: [*tensors.no_images(facts), *tensors.volumes(facts)],
    ),
    Rule(
        "T8",
        CANNOT_OPEN,
        "QuPath takes the output for an image whose size follows the input's.",
        "Nothing can be done for a network that gives no image; use it from Python.",
        tensors.sizes_by_data,
    ),
    Rule(
        "P5",
        WRONG_RESULT,
        LEFT_OUT,
        "Write it as scale_linear (`bmzpack pack` does).",
        processing.only("fixed_zero_mean_unit_variance", processing.skipped(OPERATIONS)),
    ),
    Rule(
        "T10",
        DEGRADED,
        "QuPath puts images through in tiles, and every tile gets its own labels.",
        "Use QuPath's own extensions for objects, or Fiji.",
        tensors.labels,
    ),
    Rule(
        "P8",
        DEGRADED,
        LEFT_OUT,
        "Leave ensure_dtype out, or cast inside the network.",
        processing.casts,
    ),
    Rule(
        "P9",
        WRONG_RESULT,
        LEFT_OUT,
        "Put a softmax into the network (`bmzpack pack` does); leave scale_mean_variance out.",
        lambda facts: [
            *processing.only("softmax", processing.skipped(OPERATIONS))(facts),
            *processing.only("scale_mean_variance", processing.skipped(OPERATIONS))(facts),
        ],
    ),
    Rule(
        "P10",
        WRONG_RESULT,
        LEFT_OUT,
        "Leave the operation out.",
        processing.skipped(
            OPERATIONS, but={"softmax", "scale_mean_variance", "fixed_zero_mean_unit_variance", "ensure_dtype"}
        ),
    ),
]
