"""Rules: what has to hold for a consumer to open a bundle, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.findings import Finding, Occurrence, Severity, worst_first

Condition = Callable[[Contents], Iterable[Occurrence]]
"""Finds the places of a bundle where a rule does not hold."""

TITLES = {
    "F1": "Files are at the top level of the zip",
    "F2": "Files that rdf.yaml names exist",
    "F3": "Checksums (sha256) match the files",
    "F4": "File names are portable",
    "F5": "Weights and test tensors are files of the bundle",
    "D1": "rdf.yaml is valid",
    "D2": "format_version is supported",
    "R1": "documentation and covers are plain file names",
    "R2": "There is a nickname, and no id other than the zoo's",
    "R3": "The description is called rdf.yaml",
    "R4": "Framework versions are text with three numbers",
    "R5": "Axis ids are batch, channel, z, y, x, and channels have channel_names",
    "R6": "Input sizes (min, step) and halo allow tiling",
    "R7": "Output sizes refer to the input, and the halo covers the receptive field",
    "R8": "Sample tensors equal the test tensors",
    "R9": "links has the program's entry in the zoo",
    "R10": "Metadata is complete for the zoo",
    "R11": "StarDist and Cellpose models are recognised",
    "R12": "There is a cover image of a size that the zoo shows",
    "N1": "There is a weights format that the program runs",
    "N2": "There are weights for every platform",
    "W1": "The saved model has its layout, signature and tensor names",
    "W2": "The saved model is a frozen graph",
    "W3": "The ONNX file has a supported opset, IR version and tensor names",
    "W4": "The TorchScript file is a torch.jit archive",
    "W5": "One weights format has no parent, the others name theirs",
    "W6": "The network can be converted to every weights format",
    "W7": "bioimageio.spec and pydantic are compatible",
    "T1": "There is one input and one output",
    "T2": "Inputs and outputs have a channel axis",
    "T3": "Inputs of the network are float32",
    "T4": "Test tensors match the description",
    "T5": "Inputs and outputs are images with the axes y and x",
    "T6": "Tensor shapes of the network match the description",
    "T7": "Tensor ids are unique",
    "T8": "Output sizes do not depend on the data",
    "T9": "Outputs have the size that the program expects",
    "T10": "Outputs can be stitched from tiles",
    "P1": "zero_mean_unit_variance is computed over all axes",
    "P2": "No operation is computed over the batch axis",
    "P3": "scale_range does not need exact percentiles",
    "P4": "scale_linear has one gain and one offset",
    "P5": "fixed_zero_mean_unit_variance is written as scale_linear",
    "P6": "binarize has one threshold",
    "P7": "clip has min and max",
    "P8": "ensure_dtype casts to float32 only",
    "P9": "softmax and scale_mean_variance are not declared",
    "P10": "Operations are ones that the program supports",
    "E1": "The engine reproduces the test output",
}
"""What should hold, in a few words, by the id of the rule: the same for all consumers that have it."""
REMEDIES = {
    "F1": "Zip the files themselves, not the folder that holds them.",
    "D1": "Correct the entry.",
    "D2": "Write the description in format 0.5.10.",
    "R5": "Use the axes batch, z, y, x and channel only, with channel_names.",
    "R6": "Choose a larger min, a multiple of step.",
    "R7": "Let the sizes refer to the input's axes.",
    "N1": "Add one of these formats (`bmzpack repair` converts Keras files).",
    "F2": "Add the file, or take its entry out.",
    "F3": "Pack the bundle again from the right files.",
    "W1": "Let `bmzpack repair` write the saved model anew.",
    "W2": "Let `bmzpack repair` freeze it.",
    "W4": "Save the network with torch.jit (`bmzpack repair` converts Keras files).",
    "T1": "Bring them together as channels of one tensor.",
    "T2": "Add a channel axis of length 1.",
    "T4": "Write the test tensors anew with the network's own input and output.",
    "T5": "Nothing can be done for a network that gives no image; use it from Python.",
    "T7": "Give every tensor another id.",
    "T8": "Nothing can be done for a network that gives no image; use it from Python.",
    "P8": "Leave ensure_dtype out, or cast inside the network.",
    "P9": "Put a softmax into the network (`bmzpack pack` does); leave scale_mean_variance out.",
}
"""What to do, by the id of the rule, where it is the same for most consumers."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule of one consumer."""

    id: str
    """The same for all consumers that a defect concerns."""
    severity: Severity
    why: str
    """What the consumer does, in which version."""
    condition: Condition
    remedy: str = ""
    """What to do; by default that of `REMEDIES`."""
    title: str = ""
    """What should hold, in a few words; by default that of `TITLES`."""

    def __post_init__(self) -> None:
        for key, texts in (("remedy", REMEDIES), ("title", TITLES)):
            if not getattr(self, key):
                object.__setattr__(self, key, texts[self.id])


def apply(rules: Sequence[Rule], contents: Contents) -> list[Finding]:
    """All places where rules do not hold, worst first."""
    return worst_first(
        Finding(
            rule=rule.id,
            severity=occurrence.severity or rule.severity,
            where=occurrence.where,
            found=occurrence.found,
            why=rule.why,
            remedy=occurrence.remedy or rule.remedy,
            title=rule.title,
        )
        for rule in rules
        for occurrence in rule.condition(contents)
    )
