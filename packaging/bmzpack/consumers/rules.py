"""Rules: what has to hold for a consumer to open a bundle, and why."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.conditions import (
    bundle_files,
    metadata,
    older_specifications,
    processing,
    tensor_axes,
    tensor_data,
    tensor_sizes,
    weights_files,
)
from bmzpack.consumers.findings import Condition, Finding, Severity, worst_first

TITLES = {
    "F1": "Files are at the top level of the zip",
    "F2": "Files that rdf.yaml names exist",
    "F3": "Checksums (sha256) match the files",
    "F4": "File names are portable",
    "F5": "Weights and test tensors are files of the bundle",
    "D1": "rdf.yaml is valid",
    "D2": "format_version is supported",
    "D3": "Entries are of the types that the program reads",
    "D4": "Entries that the program needs are there",
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
    "R11": "The program runs the network itself, and no other one for StarDist or Cellpose",
    "R12": "There is a cover image of a size that the zoo shows",
    "R13": "GitHub users need not be looked up",
    "R14": "Entries are ones that the program's version of the specification has",
    "N1": "There is a weights format that the program runs",
    "N2": "There are weights for every platform",
    "N3": "The architecture of a state dict can be loaded",
    "W1": "The saved model has its layout, signature and tensor names",
    "W2": "The saved model is a frozen graph",
    "W3": "The ONNX file has a supported opset, IR version and tensor names",
    "W4": "The TorchScript file is a torch.jit archive",
    "W5": "One weights format has no parent, the others name theirs",
    "W6": "The network can be converted to every weights format",
    "W7": "bioimageio.spec and pydantic are compatible",
    "W8": "The ONNX graph gives its outputs in the order of the description",
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
    "T11": "Outputs have the data type that the network gives",
    "P1": "Normalisations run over all axes but the batch",
    "P2": "No operation is computed over the batch axis",
    "P3": "scale_range does not need exact percentiles",
    "P4": "scale_linear has one gain and one offset",
    "P5": "fixed_zero_mean_unit_variance is written as scale_linear",
    "P6": "binarize has one threshold",
    "P7": "clip has min and max",
    "P8": "ensure_dtype casts to float32 only",
    "P9": "softmax and scale_mean_variance are not declared",
    "P10": "Operations are ones that the program supports",
    "P11": "Arguments of operations are ones that the program takes",
    "P12": "Operations are computed as real numbers",
    "E1": "The engine reproduces the test output",
}
"""What should hold, in a few words, by the id of the rule: the same for all consumers that have it."""
REMEDIES = {
    "F1": "Zip the files themselves, not the folder that holds them.",
    "D1": "Correct the entry.",
    "D2": "Write the description in format 0.5.10.",
    "D3": "Write the entry in the form that the specification gives it.",
    "D4": "Add the entry.",
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
    "N3": "Add TorchScript weights, or an architecture that needs PyTorch alone.",
    "P11": "Write the arguments as the specification has them, and as lists of one number per channel.",
    "R13": "Leave github_user out, and the maintainers who have nothing else.",
    "R14": "Leave the entry out, or write it as the older version has it; or ask users for the newer program.",
    "P12": "Convert images to 32 bits before they are put through, or stay with the released version.",
    "P8": "Leave ensure_dtype out, or cast inside the network.",
    "P9": "Put a softmax into the network (`bmzpack pack` does); leave scale_mean_variance out.",
}
"""What to do, by the id of the rule, where it is the same for most consumers."""

EXAMPLES = {
    "R1": "documentation: README.md            # not {source: README.md, sha256: ...}\nformat_version: 0.5.10",
    "R5": "axes:\n- {type: batch}\n- {type: space, id: y, size: 256}\n- {type: space, id: x, size: 256}\n"
    "- {type: channel, channel_names: [raw]}",
    "R6": "size: {min: 32, step: 16}           # not {min: 40, step: 16}: 40 is no multiple of 16",
    "R7": "size: {tensor_id: raw, axis_id: y}  # not a number\nhalo: 16",
    "R11": "config: {stardist: ...}             # with StarDist in the name, JDLL runs Python StarDist in its place",
    "N3": "architecture: {source: network.py, callable: UNet}   # a file that imports torch alone",
    "T11": "data: {type: float32}               # what the network gives, not what a cast would make of it",
    "P1": "- id: zero_mean_unit_variance\n  kwargs: {axes: [channel, y, x]}",
    "P11": "- id: scale_linear\n  kwargs: {axis: channel, gain: [0.01], offset: [0.0]}",
    "D4": "authors:\n- {name: Ada Lovelace}",
}
"""Entries as they should be, by the id of the rule."""


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
    example: str = ""
    """An entry as it should be; by default that of `EXAMPLES`, if there is one."""
    unreadable: bool = False
    """Whether a description where it does not hold cannot be understood, so that no other rule is to be trusted."""
    on_files_alone: bool = False
    """Whether it can be trusted for a description that cannot be understood, too."""
    only_if_it_opens: bool = False
    """Whether it is left out where the consumer cannot open the bundle."""

    def __post_init__(self) -> None:
        for key, texts in (("remedy", REMEDIES), ("title", TITLES)):
            if not getattr(self, key):
                object.__setattr__(self, key, texts[self.id])
        if not self.example:
            object.__setattr__(self, "example", EXAMPLES.get(self.id, ""))


SHARED = {
    rule.id: rule
    for rule in (
        Rule("F1", Severity.CANNOT_OPEN, "", bundle_files.files_in_subfolder, on_files_alone=True),
        Rule(
            "F2",
            Severity.CANNOT_OPEN,
            "bioimageio.spec refuses a description that names files which are not there.",
            bundle_files.missing_files,
        ),
        Rule("F3", Severity.CANNOT_OPEN, "", bundle_files.wrong_checksums),
        Rule("D1", Severity.CANNOT_OPEN, "", metadata.malformed_description, unreadable=True),
        Rule(
            "R6",
            Severity.CANNOT_OPEN,
            "bioimageio.spec refuses a halo that leaves nothing of the smallest output.",
            tensor_sizes.halo_covers_whole_output,
        ),
        Rule(
            "R7",
            Severity.CANNOT_OPEN,
            "bioimageio.spec refuses a size that refers to an axis which is not there.",
            tensor_sizes.references_to_missing_axes,
        ),
        Rule("T1", Severity.CANNOT_OPEN, "", tensor_axes.several_inputs_or_outputs),
        Rule("T4", Severity.CANNOT_OPEN, "", tensor_data.unfit_test_tensors),
        Rule("T5", Severity.CANNOT_OPEN, "", tensor_axes.tensors_without_y_and_x),
        Rule(
            "T7",
            Severity.CANNOT_OPEN,
            "bioimageio.spec refuses inputs of one id, and keeps outputs by their ids.",
            tensor_axes.duplicate_ids_among_equals,
        ),
        Rule("T8", Severity.CANNOT_OPEN, "", tensor_sizes.sizes_known_after_run),
        Rule(
            "R13",
            Severity.DEGRADED,
            "bioimageio.spec asks api.github.com for every github_user that it does not know; without a connection, or "
            "for an unknown user, the description is not valid (observed).",
            metadata.unverified_github_users,
        ),
        Rule("P8", Severity.DEGRADED, "", processing.casts),
    )
}
"""Rules that several consumers have, by id; those that have a reason have that of bioimageio.spec."""


def shared_rule(
    rule: str,
    why: str = "",
    *,
    severity: Severity | None = None,
    condition: Condition | None = None,
    remedy: str = "",
) -> Rule:
    """A rule of `SHARED` with what a consumer has of its own: mostly the reason alone."""
    shared = SHARED[rule]
    return dataclasses.replace(
        shared,
        why=why or shared.why,
        severity=severity or shared.severity,
        condition=condition or shared.condition,
        remedy=remedy or shared.remedy,
    )


def version_rule(why: str, *known: str) -> Rule:
    """D2: the format version begins with one of these."""
    condition = metadata.format_version_other_than(*known)
    return Rule("D2", Severity.CANNOT_OPEN, why, condition, unreadable=True)


def torchscript_rule(why: str, order: weights_files.Order) -> Rule:
    """W4: the TorchScript file can be read, where a consumer with this order of formats takes it."""
    condition = weights_files.by_priority(order, weights_files.unreadable_torchscript)
    return Rule("W4", Severity.CANNOT_OPEN, why, condition)


def scale_linear_rule() -> Rule:
    """P11: what bioimageio.core has not for format 0.4."""
    return Rule(
        "P11",
        Severity.CANNOT_OPEN,
        "bioimageio.core ends with a NotImplementedError on scale_linear with axes in format 0.4 (observed).",
        processing.old_scale_linear_with_axes,
        remedy="Write the description in format 0.5.",
    )


def older_rules(specification: str) -> list[Rule]:
    """R1, R14 and P10: what an older bioimageio.spec refuses, of a version in `OLDER`."""
    refused, names = OLDER[specification]
    return [
        Rule(
            "R1",
            Severity.CANNOT_OPEN,
            f"bioimageio.spec {specification} refuses mappings of source and sha256 (observed).",
            metadata.files_as_mappings,
            remedy="Write the file names alone, and format_version: 0.5.10 (`bmzpack repair` does).",
        ),
        Rule(
            "R14",
            Severity.CANNOT_OPEN,
            f"bioimageio.spec {specification} does not know them, or needs others (observed).",
            refused,
        ),
        Rule(
            "P10",
            Severity.CANNOT_OPEN,
            f"bioimageio.spec {specification} does not know the operation, or its arguments (observed).",
            older_specifications.operations_not_in(*names),
            remedy="Leave the operation out, or put it into the network.",
        ),
    ]


OLDER: dict[str, tuple[Condition, tuple[str, ...]]] = {
    "0.5.9.1": (older_specifications.not_in_0_5_9, ("cellpose_flow_dynamics", "custom")),
    "0.5.5.4": (older_specifications.not_in_0_5_5, ("cellpose_flow_dynamics", "custom", "stardist_postprocessing")),
    "0.5.4.1": (
        older_specifications.not_in_0_5_4,
        ("cellpose_flow_dynamics", "custom", "softmax", "stardist_postprocessing"),
    ),
}
"""By version of bioimageio.spec: the entries and the operations that it refuses."""


def link_rule(link: str) -> Rule:
    """R9: a bundle names the programs that open it among its links."""
    return Rule(
        "R9",
        Severity.ADVICE,
        "The zoo's site finds models for a program by their links, not by their tags.",
        metadata.missing_link(link),
        remedy=f"Add {link} to the links.",
        only_if_it_opens=True,
    )


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
