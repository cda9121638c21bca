"""QuPath, with its Deep Java Library extension.

Read: qupath-bioimageio-spec d372139, DJL 0.36.
"""

from __future__ import annotations

from bmzpack.consumers.conditions import (
    bundle_files,
    metadata,
    processing,
    qupath_parser,
    tensor_axes,
    weights_files,
)
from bmzpack.consumers.consumer import Consumer
from bmzpack.consumers.findings import Severity
from bmzpack.consumers.rules import Rule, link_rule, shared_rule, torchscript_rule, version_rule
from bmzpack.engines import rows
from bmzpack.weights.tensorflow_saved_model_bundle import SAVED_MODEL

LINK = "bioimageio/qupath"
ORDER = ("torchscript", SAVED_MODEL, "onnx")
OPERATIONS = {"binarize", "clip", "scale_linear", "scale_range", "sigmoid", "zero_mean_unit_variance"}
"""Those that QuPath computes, all as specified."""

CANNOT_OPEN, WRONG_RESULT, DEGRADED, ADVICE = Severity

LEFT_OUT = (
    "QuPath knows binarize, clip, scale_linear, scale_range, sigmoid and zero_mean_unit_variance; it leaves out "
    "others, and says so in its log only."
)

RULES = [
    shared_rule("D1", "QuPath reads the description into objects of fixed types."),
    version_rule("qupath-bioimageio-spec reads the formats 0.4 and 0.5.", "0.4", "0.5"),
    shared_rule("F1", "QuPath looks for the description in the folder or zip that is opened."),
    Rule(
        "D3",
        CANNOT_OPEN,
        "QuPath's parser ends with an exception on entries of another type (from the source code).",
        qupath_parser.entries_of_another_type,
    ),
    Rule(
        "R5",
        CANNOT_OPEN,
        "QuPath needs the type, the size and one of its own ids of every axis, and channel_names (Axes.java, "
        "from the source code).",
        qupath_parser.unread_axes,
    ),
    Rule(
        "R7",
        CANNOT_OPEN,
        "QuPath looks every size that follows another one up, and does not find a batch axis (ReferencedSize, "
        "from the source code).",
        qupath_parser.unread_sizes,
    ),
    Rule(
        "T11",
        CANNOT_OPEN,
        "QuPath knows integers, float32 and float64, and bool for lists of values (Tensors.java, "
        "from the source code).",
        qupath_parser.unknown_data_types,
        remedy="Declare a type that QuPath knows.",
    ),
    Rule(
        "D4",
        CANNOT_OPEN,
        "QuPath's parser ends with 'Required field not found' (observed).",
        qupath_parser.missing_entries,
    ),
    Rule(
        "R1",
        CANNOT_OPEN,
        "QuPath reads the documentation and covers as texts, and ends with an exception on mappings (from the source "
        "code).",
        metadata.files_as_mappings,
        remedy="Write the file names alone, and format_version: 0.5.10 (`bmzpack repair` does).",
    ),
    link_rule(LINK),
    Rule(
        "N1",
        CANNOT_OPEN,
        "QuPath runs TorchScript, saved models and ONNX, through the Deep Java Library.",
        weights_files.no_weights_of(ORDER),
    ),
    shared_rule(
        "F2",
        "QuPath reads the weights from the bundle.",
        condition=weights_files.by_priority(ORDER, bundle_files.only_weights(bundle_files.missing_files)),
    ),
    shared_rule(
        "F3",
        "QuPath does not look at checksums: it runs whatever file is there.",
        severity=WRONG_RESULT,
        condition=weights_files.by_priority(ORDER, bundle_files.only_weights(bundle_files.wrong_checksums)),
    ),
    Rule(
        "W1",
        CANNOT_OPEN,
        "QuPath unpacks x.zip to the folder x and wants the saved model in it.",
        weights_files.by_priority(ORDER, weights_files.misplaced_saved_model),
    ),
    Rule(
        "W3",
        CANNOT_OPEN,
        "The Deep Java Library gives the file to ONNX Runtime.",
        weights_files.by_priority(ORDER, weights_files.unreadable_onnx),
        remedy="Write it with opset 15 to 17 and IR version 8 (`bmzpack repair` tries).",
    ),
    torchscript_rule("The Deep Java Library loads it with torch.jit.", ORDER),
    shared_rule("T1", "QuPath's builder takes one input and one output."),
    Rule(
        "T2",
        CANNOT_OPEN,
        "QuPath takes the channels of the result from the output's channel axis.",
        tensor_axes.outputs_without_channel_axis,
    ),
    Rule(
        "T5",
        CANNOT_OPEN,
        "QuPath classifies pixels: it needs the axes y and x, without z.",
        lambda contents: [*tensor_axes.tensors_without_y_and_x(contents), *tensor_axes.tensors_with_z(contents)],
        remedy="Nothing can be done for a network that gives no plane; use it from Python.",
    ),
    shared_rule("T8", "QuPath takes the output for an image whose size follows the input's."),
    Rule(
        "P11",
        CANNOT_OPEN,
        "QuPath reads gain, offset, mean and std as lists only and other arguments as numbers only, and ends with a "
        "NullPointerException where an operation has no kwargs (observed).",
        qupath_parser.refused_arguments(*(set(qupath_parser.READ) - {"binarize"})),
        remedy="Write gain and offset as lists with one number per channel, and the axis channel (`bmzpack repair` "
        "does), or put the scaling into the network (`bmzpack pack` does).",
    ),
    Rule(
        "P6",
        CANNOT_OPEN,
        "QuPath reads one number, and ends with an exception on lists (Processing.java, from the source code).",
        qupath_parser.refused_arguments("binarize"),
        remedy="Use one threshold, or put the thresholds into the network.",
    ),
    Rule(
        "P3",
        WRONG_RESULT,
        "QuPath takes 100 for a min_percentile that is not given and 0 for a max_percentile, and reads no "
        "reference_tensor (Processing.java, from the source code).",
        qupath_parser.misread_percentiles,
        remedy="Write both percentiles down, and leave the reference tensor out.",
    ),
    Rule(
        "P7",
        WRONG_RESULT,
        "QuPath reads min and max of a clip only, and leaves values as they are without them (Processing.java, "
        "from the source code).",
        qupath_parser.clips_at_percentiles,
        remedy="Give min and max as numbers.",
    ),
    Rule(
        "P5",
        WRONG_RESULT,
        LEFT_OUT,
        processing.only("fixed_zero_mean_unit_variance", processing.skipped(OPERATIONS)),
        remedy="Write it as scale_linear (`bmzpack pack` does).",
    ),
    Rule(
        "T10",
        WRONG_RESULT,
        "QuPath takes the only channel of a result for a probability: what is above 0.5 becomes one object, so that "
        "objects that touch become one (BioimageIoTools, PixelClassifierTools, from the source code).",
        tensor_axes.label_images_from_graph,
        remedy="Use a mask in which objects lie apart (of kerazoo: `kerazoo export --form mask`).",
    ),
    shared_rule("P8", LEFT_OUT),
    Rule(
        "P9",
        WRONG_RESULT,
        LEFT_OUT,
        lambda contents: [
            *processing.only("softmax", processing.skipped(OPERATIONS))(contents),
            *processing.only("scale_mean_variance", processing.skipped(OPERATIONS))(contents),
        ],
    ),
    Rule(
        "P10",
        WRONG_RESULT,
        LEFT_OUT,
        processing.skipped(
            OPERATIONS, but={"softmax", "scale_mean_variance", "fixed_zero_mean_unit_variance", "ensure_dtype"}
        ),
        remedy="Leave the operation out.",
    ),
]

QUPATH = Consumer(
    key="qupath",
    name="QuPath",
    versions={"qupath-bioimageio-spec": "d372139", "Deep Java Library": "0.36"},
    order=ORDER,
    engines={"torchscript": (rows.TORCH,), SAVED_MODEL: (rows.TENSORFLOW,), "onnx": (rows.ONNX,)},
    rules=RULES,
    link=LINK,
    tags=("qupath",),
    opening="""\
In QuPath with the extensions Deep Java Library and Bioimage Model Zoo: unpack this zip, get an engine with *Extensions
> Deep Java Library > Manage DJL engines*, start *Extensions > BioImage Model Zoo > Create pixel classifier (Bioimage
Model Zoo)*, and choose the unpacked `rdf.yaml`.""",
)
