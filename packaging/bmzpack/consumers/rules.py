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


@dataclasses.dataclass(frozen=True)
class Rule:
    """A rule of one consumer."""

    id: str
    """The same for all consumers that a defect concerns."""
    severity: Severity
    why: str
    """What the consumer does, in which version."""
    remedy: str
    condition: Condition
    title: str = ""
    """What should hold, in a few words; by default the one in `TITLES`."""

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", TITLES[self.id])


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
