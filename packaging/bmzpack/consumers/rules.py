"""Rules: what has to hold for a consumer to open a bundle, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.findings import Finding, Occurrence, Severity, worst_first

Condition = Callable[[Contents], Iterable[Occurrence]]
"""Finds the places of a bundle where a rule does not hold."""

TITLES = {
    "F1": "The files are at the top of the zip",
    "F2": "All files are in the bundle",
    "F3": "Files are those that the description means",
    "F4": "File names are plain",
    "F5": "Weights and test tensors are in the bundle",
    "D1": "The description is valid",
    "D2": "The format version is one that the program reads",
    "R1": "Documentation and covers are plain texts",
    "R2": "There is a nickname, and no id but the zoo's",
    "R3": "The description is called rdf.yaml",
    "R4": "Versions have three numbers",
    "R5": "Axes are batch, channel, z, y, x and channels have names",
    "R6": "Sizes are such that images can be divided into tiles",
    "R7": "Output sizes follow the input's, with the halo of the network",
    "R8": "Sample tensors are the test tensors",
    "R9": "The links name the program",
    "R10": "The description says what the zoo asks for",
    "R11": "StarDist and Cellpose models are known as such",
    "R12": "There is a cover",
    "N1": "There are weights that the program runs",
    "N2": "There are weights for every computer",
    "W1": "The saved model is found in its zip, with the tensors' names",
    "W2": "The saved model is frozen",
    "W3": "The ONNX file is one that the program runs",
    "W4": "The TorchScript file holds a program",
    "W5": "One format is the original, the others name their parent",
    "W6": "The network can be written in every format",
    "W7": "bioimageio.spec is installed with a pydantic that it works with",
    "T1": "There is one input and one output",
    "T2": "Input and output have a channel axis",
    "T3": "The network takes float32",
    "T4": "Test tensors fit the description",
    "T5": "Inputs and outputs are images",
    "T6": "The network takes the sizes that the description allows",
    "T7": "Every tensor has an id of its own",
    "T8": "Output sizes are known before the run",
    "T9": "Outputs have the size that the program expects",
    "T10": "Tiles of an image can be put together",
    "P1": "zero_mean_unit_variance runs over all axes",
    "P2": "No operation runs over the batch axis",
    "P3": "Scaling does not need exact percentiles",
    "P4": "scale_linear has one gain and one offset",
    "P5": "fixed_zero_mean_unit_variance is written as scale_linear",
    "P6": "binarize has one threshold",
    "P7": "clip has min and max",
    "P8": "ensure_dtype asks for float32 only",
    "P9": "There is no softmax or scale_mean_variance",
    "P10": "Every operation is one of the program's",
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
