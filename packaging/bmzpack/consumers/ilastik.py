"""ilastik, whose neural networks run in tiktorch.

Read: tiktorch 26.5.0, which brings bioimageio.core 0.10.2, and ilastik ebbaf9b (2026-07).
"""

from __future__ import annotations

from bmzpack.consumers.conditions import (
    bundle_files,
    python_sources,
    tensor_axes,
    tensor_sizes,
    validation,
    weights_files,
)
from bmzpack.consumers.consumer import Consumer, Release
from bmzpack.consumers.findings import Severity
from bmzpack.consumers.rules import (
    Rule,
    link_rule,
    older_rules,
    scale_linear_rule,
    shared_rule,
    torchscript_rule,
    version_rule,
)
from bmzpack.engines import rows

LINK = "ilastik/ilastik"
ORDER = ("torchscript", "pytorch_state_dict")

PACKAGES = python_sources.TORCH | {
    *("bioimageio", "h5py", "imageio", "matplotlib", "networkx", "pandas", "PIL", "pydantic", "pytorch3dunet"),
    *("requests", "scipy", "skimage", "sklearn", "tifffile", "tqdm", "xarray", "yaml"),
}
"""What ilastik's environment has."""

CANNOT_OPEN, WRONG_RESULT, DEGRADED, ADVICE = Severity

RULES = [
    shared_rule(
        "F1", "bioimageio.core, which tiktorch loads bundles with, looks for the description at the top of the zip."
    ),
    shared_rule("D1", "tiktorch validates the description with bioimageio.spec and refuses it."),
    version_rule(
        "bioimageio.core 0.10.2 reads format versions from 0.3 on, and of 0.5 the shape of 0.5.9 and 0.5.10.",
        "0.3",
        "0.4",
        "0.5",
    ),
    *older_rules("0.5.9.1"),
    Rule(
        "R5",
        CANNOT_OPEN,
        "ilastik accepts the axis ids batch, time, z, y, x and channel only.",
        lambda contents: [
            *tensor_axes.axes_other_than({"batch", "channel", "time", "z", "y", "x"})(contents),
            *tensor_axes.channels_without_names(contents),
        ],
    ),
    shared_rule("R6"),
    shared_rule("R7"),
    link_rule(LINK),
    Rule(
        "N1",
        CANNOT_OPEN,
        "tiktorch runs TorchScript and pytorch_state_dict, with PyTorch 2 or later; nothing else.",
        weights_files.no_weights_of(ORDER),
        remedy="Add TorchScript weights (`bmzpack repair` converts Keras files).",
    ),
    Rule(
        "N3",
        CANNOT_OPEN,
        "ilastik imports the architecture in its own environment, and installs no dependencies: in the zoo's runs all "
        "such models failed (ilastik 1.4.1.post1 and 1.4.2rc1).",
        python_sources.lacking_packages(ORDER, PACKAGES, environment=True, severity=CANNOT_OPEN),
    ),
    shared_rule("R13"),
    scale_linear_rule(),
    shared_rule("F2", condition=bundle_files.except_documentation(bundle_files.missing_files)),
    shared_rule("F3", "bioimageio.core compares checksums and refuses other files."),
    torchscript_rule("tiktorch loads it with torch.jit.load.", ORDER),
    shared_rule("T1", "ilastik's workflow takes one input and gives one output."),
    Rule("T2", CANNOT_OPEN, "ilastik wants a channel axis on both.", tensor_axes.images_without_channel_axis),
    shared_rule("T4", "bioimageio.core validates them with the description."),
    shared_rule("T5", "ilastik works on images: it needs the axes y and x."),
    shared_rule("T7"),
    shared_rule(
        "T8",
        "ilastik plans its blocks by the description and takes no sizes that depend on the data.",
        remedy="Let the sizes refer to the input's axes.",
    ),
    Rule(
        "T9",
        WRONG_RESULT,
        "ilastik gives the result the size of the image, and cuts each block out of the output at the image's places. "
        "An output of another scale does not fit: the log says 'Failed to predict', and the block stays empty "
        "(lazyflow's operators/tiktorch/operators.py, from the source code).",
        tensor_sizes.outputs_of_another_scale,
        remedy="Enlarge the output to the size of the input inside the network (of a patch classifier of kerazoo: "
        "`kerazoo export --enlarge`), or use another program.",
    ),
    Rule(
        "T10",
        DEGRADED,
        "ilastik puts images through in blocks, and every block gets its own labels; it takes them for probabilities "
        "between 0 and 1 (lazyflow's operators/tiktorch/operators.py, from the source code).",
        tensor_axes.label_images_from_graph,
        remedy="Use a mask in which objects lie apart (of kerazoo: `kerazoo export --form mask`), or Fiji.",
    ),
]

ILASTIK = Consumer(
    key="ilastik",
    name="ilastik",
    versions={"ilastik": "1.4.2rc1 and ebbaf9b (2026-07)", "tiktorch": "26.5.0", "bioimageio.core": "0.10.2"},
    order=ORDER,
    releases=[
        Release(
            "ilastik 1.4.1.post1",
            {"ilastik": "1.4.1.post1", "bioimageio.core": "0.8.0", "bioimageio.spec": "0.5.4.1"},
            [
                *older_rules("0.5.4.1"),
                Rule(
                    "N3",
                    DEGRADED,
                    "In the zoo's runs ilastik 1.4.1.post1 could not import the architecture of 42 of 52 models that "
                    "have a state dict and no TorchScript; one of them ran.",
                    python_sources.state_dict_without_torchscript,
                ),
            ],
            without=frozenset({"R1", "P10", "R14"}),
        )
    ],
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
