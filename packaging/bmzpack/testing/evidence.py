"""What a verdict takes from the runs of the engines that stand for a program."""

from __future__ import annotations

import dataclasses

from bmzpack.bundle.contents import Contents
from bmzpack.consumers.conditions.weights_files import order_for
from bmzpack.consumers.consumer import Consumer
from bmzpack.consumers.findings import Finding, Report, Severity, worst_first
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.consumers.rule_texts import TITLES
from bmzpack.consumers.rules import ENGINE
from bmzpack.engines.matrix import Cell, Matrix
from bmzpack.testing.judge import SEAM


def with_matrix(report: Report, matrix: Matrix, contents: Contents) -> Report:
    """Add to a report what the engines of its programs say, and the matrix.

    Parameters
    ----------
    report
        What the rules found.
    matrix
        What the engines gave for the same bundle.
    contents
        The bundle.

    Returns
    -------
    Report
        With findings E1, the engine does not reproduce the test output, and R7, tiles have seams.
    """
    consumers = {
        key: dataclasses.replace(
            verdict, findings=worst_first([*verdict.findings, *_findings(CONSUMERS[key], matrix, contents)])
        )
        for key, verdict in report.consumers.items()
    }
    return dataclasses.replace(report, consumers=consumers, matrix=matrix)


def _findings(consumer: Consumer, matrix: Matrix, contents: Contents) -> list[Finding]:
    found = []
    ran: list[tuple[str, str, Cell]] = []
    for name in order_for(consumer.order, contents):
        for row in consumer.engines.get(name, ()):
            cell = matrix.cells.get((row, name))
            if cell and cell.status in ("passed", "failed"):
                ran.append((name, row, cell))
                break
    loads = [name for name, _, cell in ran if cell.max_abs_error is not None]
    taken = loads[0] if loads and consumer.tries_next else ran[0][0] if ran else None
    for name, row, cell in ran:
        first = name == taken
        if cell.status == "failed":
            wrong = cell.max_abs_error is not None
            severity = Severity.WRONG_RESULT if wrong else Severity.CANNOT_OPEN
            found.append(
                Finding(
                    rule="E1",
                    severity=severity if first else Severity.ADVICE,
                    where=f"weights.{name}",
                    found=cell.message,
                    why=f"{row} was run with the test tensors, as this program would.",
                    remedy=ENGINE.remedy,
                    title=ENGINE.title,
                )
            )
        elif cell.seam is not None and not cell.seam <= SEAM:
            found.append(
                Finding(
                    rule="R7",
                    severity=Severity.DEGRADED if first else Severity.ADVICE,
                    where="outputs",
                    found=f"Tiles of an image differ from the whole image by up to {cell.seam:.1e} of the output's "
                    f"range, the declared halo cut off ({name} in {row}).",
                    why="Large images are computed in tiles, and what is cut off them is the halo that the output "
                    "declares.",
                    remedy="Declare half the width of the network's receptive field as the halo, rounded up to the "
                    "step of the sizes.",
                    title=TITLES["R7"],
                )
            )
    return found
