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
from bmzpack.consumers.rule_texts import EXAMPLES, REMEDIES, TITLES


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
    """How it should be; by default that of `EXAMPLES`."""
    unreadable: bool = False
    """Whether a description where it does not hold cannot be understood, so that no other rule is to be trusted."""
    on_files_alone: bool = False
    """Whether it can be trusted for a description that cannot be understood, too."""
    only_if_it_opens: bool = False
    """Whether it is left out where the consumer cannot open the bundle."""

    def __post_init__(self) -> None:
        for key, texts in (("remedy", REMEDIES), ("title", TITLES), ("example", EXAMPLES)):
            if not getattr(self, key):
                object.__setattr__(self, key, texts[self.id])


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


ENGINE = Rule(
    "E1",
    Severity.CANNOT_OPEN,
    "`bmzpack check --run` puts the test tensors through the program's own engine, where it is installed.",
    lambda contents: (),
)
"""What is found by running, not by reading: for `bmzpack explain`."""


@dataclasses.dataclass(frozen=True)
class Older:
    """What an older bioimageio.spec refuses."""

    refused: Condition
    what: str
    """In words."""
    operations: tuple[str, ...]


OLDER = {
    "0.5.9.1": Older(
        older_specifications.not_in_0_5_9,
        "takes identifiers only as names of channels, and inputs without pad and output_of",
        ("cellpose_flow_dynamics", "custom"),
    ),
    "0.5.5.4": Older(
        older_specifications.not_in_0_5_5,
        "has no weights keras_v3, not as a parent either, no external_data and no clip without min and max, and takes "
        "even halos only; besides what 0.5.9 refuses",
        ("cellpose_flow_dynamics", "custom", "stardist_postprocessing"),
    ),
    "0.5.4.1": Older(
        older_specifications.not_in_0_5_4,
        "needs authors, cite, description, documentation, license and test tensors; besides what 0.5.5 refuses",
        ("cellpose_flow_dynamics", "custom", "softmax", "stardist_postprocessing"),
    ),
}
"""By version of bioimageio.spec."""


def older_rules(specification: str) -> list[Rule]:
    """R1, R14 and P10: what an older bioimageio.spec refuses, of a version in `OLDER`."""
    older, name = OLDER[specification], f"bioimageio.spec {specification}"
    return [
        Rule(
            "R1",
            Severity.CANNOT_OPEN,
            f"{name} refuses mappings of source and sha256 (observed).",
            metadata.files_as_mappings,
            remedy="Write the file names alone, and format_version: 0.5.10 (`bmzpack repair` does).",
        ),
        Rule("R14", Severity.CANNOT_OPEN, f"{name} {older.what} (observed).", older.refused),
        Rule(
            "P10",
            Severity.CANNOT_OPEN,
            f"{name} does not know the operation, or not with these arguments (observed).",
            older_specifications.operations_not_in(*older.operations),
            remedy="Leave the operation out, or put it into the network.",
        ),
    ]


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
