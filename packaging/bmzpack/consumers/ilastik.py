"""ilastik, whose neural networks run in tiktorch.

Read: tiktorch 26.5.0, which brings bioimageio.core 0.10.2, and ilastik ebbaf9b (2026-07).
"""

from __future__ import annotations

from bmzpack.consumers.conditions import bundle_files as files
from bmzpack.consumers.conditions import metadata as description
from bmzpack.consumers.conditions import tensor_axes as tensors
from bmzpack.consumers.conditions import weights_files as weights
from bmzpack.consumers.findings import Rule, Severity

NAME = "ilastik"
LINK = "ilastik/ilastik"
ORDER = ("torchscript", "pytorch_state_dict")

CANNOT_OPEN, WRONG_RESULT, DEGRADED, ADVICE = Severity

RULES = [
    Rule(
        "F1",
        CANNOT_OPEN,
        "bioimageio.core, which tiktorch loads bundles with, looks for the description at the top of the zip.",
        "Zip the files themselves, not the folder that holds them.",
        files.not_at_the_top,
    ),
    Rule(
        "D1",
        CANNOT_OPEN,
        "tiktorch validates the description with bioimageio.spec and refuses it.",
        "Correct the entry.",
        description.unreadable,
    ),
    Rule(
        "D2",
        CANNOT_OPEN,
        "bioimageio.core 0.10.2 reads format versions from 0.3 on, and of 0.5 the shape of 0.5.9 and 0.5.10.",
        "Write the description in format 0.5.10.",
        description.versions_besides("0.3", "0.4", "0.5"),
    ),
    Rule(
        "R1",
        CANNOT_OPEN,
        "bioimageio.core 0.10.2, as shipped with tiktorch, rejects mappings of source and sha256 (seen).",
        "Write the file names alone, and format_version: 0.5.10 (`bmzpack repair` does).",
        description.files_in_mappings,
    ),
    Rule(
        "R5",
        CANNOT_OPEN,
        "ilastik accepts the axis ids batch, time, z, y, x and channel only.",
        "Use the axes batch, z, y, x and channel only, with channel_names.",
        lambda facts: [
            *tensors.axes_besides({"batch", "channel", "time", "z", "y", "x"})(facts),
            *tensors.unnamed_channels(facts),
        ],
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
        "R9",
        ADVICE,
        "The zoo's site finds models for a program by their links, not by their tags.",
        f"Add {LINK} to the links.",
        description.missing_link(LINK),
    ),
    Rule(
        "N1",
        CANNOT_OPEN,
        "tiktorch runs TorchScript and pytorch_state_dict, with PyTorch 2 or later; nothing else.",
        "Add TorchScript weights (`bmzpack repair` converts Keras files).",
        weights.none_of(ORDER),
    ),
    Rule(
        "F2",
        CANNOT_OPEN,
        "bioimageio.spec refuses a description that names files which are not there.",
        "Add the file, or take its entry out.",
        files.of_all_but_documentation(files.missing),
    ),
    Rule(
        "F3",
        CANNOT_OPEN,
        "bioimageio.core compares checksums and refuses other files.",
        "Pack the bundle again from the right files.",
        files.changed,
    ),
    Rule(
        "W4",
        CANNOT_OPEN,
        "tiktorch loads it with torch.jit.load.",
        "Save the network with torch.jit (`bmzpack repair` converts Keras files).",
        weights.in_order(ORDER, weights.torchscript_archive),
    ),
    Rule(
        "T1",
        CANNOT_OPEN,
        "ilastik's workflow takes one input and gives one output.",
        "Bring them together as channels of one tensor.",
        tensors.more_than_one,
    ),
    Rule(
        "T2",
        CANNOT_OPEN,
        "ilastik wants a channel axis on both.",
        "Add a channel axis of length 1.",
        tensors.without_channels,
    ),
    Rule(
        "T4",
        CANNOT_OPEN,
        "bioimageio.core validates them with the description.",
        "Write the test tensors anew with the network's own input and output.",
        tensors.test_tensors,
    ),
    Rule(
        "T5",
        CANNOT_OPEN,
        "ilastik works on images: it needs the axes y and x.",
        "Nothing can be done for a network that gives no image; use it from Python.",
        tensors.no_images,
    ),
    Rule(
        "T7",
        CANNOT_OPEN,
        "bioimageio.spec refuses tensors of one id.",
        "Give every tensor another id.",
        tensors.same_ids,
    ),
    Rule(
        "T8",
        CANNOT_OPEN,
        "ilastik plans its blocks by the description and takes no sizes that depend on the data.",
        "Let the sizes refer to the input's axes.",
        tensors.sizes_by_data,
    ),
    Rule(
        "T9",
        WRONG_RESULT,
        "ilastik gives the result the size of the image, and cuts each block out of the output at the image's places. "
        "An output of another scale does not fit: the log says 'Failed to predict', and the block stays empty "
        "(lazyflow's operators/tiktorch/operators.py, read).",
        "Enlarge the output to the size of the input inside the network (of a patch classifier of kerazoo: `kerazoo "
        "export --enlarge`), or use another program.",
        tensors.outputs_of_another_scale,
    ),
]

SPECIFICATION = Rule(
    "D1",
    CANNOT_OPEN,
    "tiktorch validates the description with bioimageio.spec and refuses it.",
    "Correct the entry.",
    description.invalid_besides_files,
)
"""Looked at last: what another rule has said already is not said again."""
