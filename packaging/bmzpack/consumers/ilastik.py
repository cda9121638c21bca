"""ilastik, whose neural networks run in tiktorch.

Read: tiktorch 26.5.0, which brings bioimageio.core 0.10.2, and ilastik ebbaf9b (2026-07).
"""

from __future__ import annotations

from bmzpack.consumers.conditions import (
    bundle_files,
    metadata,
    tensor_axes,
    tensor_data,
    tensor_sizes,
    validation,
    weights_files,
)
from bmzpack.consumers.consumer import Consumer, link_rule
from bmzpack.consumers.findings import Severity
from bmzpack.consumers.rules import Rule
from bmzpack.engines import rows

LINK = "ilastik/ilastik"
ORDER = ("torchscript", "pytorch_state_dict")

CANNOT_OPEN, WRONG_RESULT, DEGRADED, ADVICE = Severity

RULES = [
    Rule(
        "F1",
        CANNOT_OPEN,
        "bioimageio.core, which tiktorch loads bundles with, looks for the description at the top of the zip.",
        bundle_files.files_in_subfolder,
    ),
    Rule(
        "D1",
        CANNOT_OPEN,
        "tiktorch validates the description with bioimageio.spec and refuses it.",
        metadata.malformed_description,
    ),
    Rule(
        "D2",
        CANNOT_OPEN,
        "bioimageio.core 0.10.2 reads format versions from 0.3 on, and of 0.5 the shape of 0.5.9 and 0.5.10.",
        metadata.format_version_other_than("0.3", "0.4", "0.5"),
    ),
    Rule(
        "R1",
        CANNOT_OPEN,
        "bioimageio.core 0.10.2, as shipped with tiktorch, rejects mappings of source and sha256 (seen).",
        metadata.files_as_mappings,
        remedy="Write the file names alone, and format_version: 0.5.10 (`bmzpack repair` does).",
    ),
    Rule(
        "R5",
        CANNOT_OPEN,
        "ilastik accepts the axis ids batch, time, z, y, x and channel only.",
        lambda contents: [
            *tensor_axes.axes_other_than({"batch", "channel", "time", "z", "y", "x"})(contents),
            *tensor_axes.channels_without_names(contents),
        ],
    ),
    Rule(
        "R6",
        CANNOT_OPEN,
        "bioimageio.spec refuses a halo that leaves nothing of the smallest output.",
        tensor_sizes.halo_covers_whole_output,
    ),
    Rule(
        "R7",
        CANNOT_OPEN,
        "bioimageio.spec refuses a size that refers to an axis which is not there.",
        tensor_sizes.references_to_missing_axes,
    ),
    link_rule(LINK),
    Rule(
        "N1",
        CANNOT_OPEN,
        "tiktorch runs TorchScript and pytorch_state_dict, with PyTorch 2 or later; nothing else.",
        weights_files.no_weights_of(ORDER),
        remedy="Add TorchScript weights (`bmzpack repair` converts Keras files).",
    ),
    Rule(
        "F2",
        CANNOT_OPEN,
        "bioimageio.spec refuses a description that names files which are not there.",
        bundle_files.except_documentation(bundle_files.missing_files),
    ),
    Rule(
        "F3", CANNOT_OPEN, "bioimageio.core compares checksums and refuses other files.", bundle_files.wrong_checksums
    ),
    Rule(
        "W4",
        CANNOT_OPEN,
        "tiktorch loads it with torch.jit.load.",
        weights_files.by_priority(ORDER, weights_files.unreadable_torchscript),
    ),
    Rule(
        "T1",
        CANNOT_OPEN,
        "ilastik's workflow takes one input and gives one output.",
        tensor_axes.several_inputs_or_outputs,
    ),
    Rule("T2", CANNOT_OPEN, "ilastik wants a channel axis on both.", tensor_axes.images_without_channel_axis),
    Rule("T4", CANNOT_OPEN, "bioimageio.core validates them with the description.", tensor_data.unfit_test_tensors),
    Rule("T5", CANNOT_OPEN, "ilastik works on images: it needs the axes y and x.", tensor_axes.tensors_without_y_and_x),
    Rule("T7", CANNOT_OPEN, "bioimageio.spec refuses tensors of one id.", tensor_axes.duplicate_tensor_ids),
    Rule(
        "T8",
        CANNOT_OPEN,
        "ilastik plans its blocks by the description and takes no sizes that depend on the data.",
        tensor_sizes.sizes_known_after_run,
        remedy="Let the sizes refer to the input's axes.",
    ),
    Rule(
        "T9",
        WRONG_RESULT,
        "ilastik gives the result the size of the image, and cuts each block out of the output at the image's places. "
        "An output of another scale does not fit: the log says 'Failed to predict', and the block stays empty "
        "(lazyflow's operators/tiktorch/operators.py, read).",
        tensor_sizes.outputs_of_another_scale,
        remedy="Enlarge the output to the size of the input inside the network (of a patch classifier of kerazoo: "
        "`kerazoo export --enlarge`), or use another program.",
    ),
]

ILASTIK = Consumer(
    key="ilastik",
    name="ilastik",
    versions={"tiktorch": "26.5.0", "bioimageio.core": "0.10.2", "ilastik": "ebbaf9b (2026-07)"},
    order=ORDER,
    engines={"torchscript": (rows.TORCH,), "pytorch_state_dict": (rows.CORE,)},
    rules=RULES,
    specification=Rule(
        "D1",
        CANNOT_OPEN,
        "tiktorch validates the description with bioimageio.spec and refuses it.",
        validation.invalid_apart_from_file_mappings,
    ),
    link=LINK,
    tags=("ilastik",),
    opening="""\
In ilastik 1.4 or later: start a project of the kind *Neural Network Classification (Local)*, add an image under *Input
Data*, drop this zip on the text field of *NN Prediction*, press the arrow beside it, then *Live Predict*.""",
)
