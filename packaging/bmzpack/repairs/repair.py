"""Mending a bundle so that it opens in more programs: everything that needs no word of its author.

The original is never touched. Nothing that computes is taken into the new bundle before it was run and gave the
bundle's own test output; nothing of the bundle is executed that is more than a network.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bmzpack.bundle import archive
from bmzpack.bundle.contents import opened
from bmzpack.consumers.conditions.metadata import malformed_description
from bmzpack.consumers.findings import Report
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.consumers.verdicts import check_contents
from bmzpack.errors import UserError, harmless
from bmzpack.files import new_file, refuse_existing, temporary_folder
from bmzpack.repairs import axis_scales, entries, file_layout, input_sizes, processing, upgrade, weights_conversion
from bmzpack.repairs.work import Change, Work, copied
from bmzpack.testing.check import check

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["REPAIRS", "Change", "Repaired", "repair", "show"]

FIRST: tuple[Callable[[Work], None], ...] = (file_layout.layout, file_layout.file_name, entries.forms)
"""Repairs of every bundle; the others only where the description can be understood."""
REPAIRS: tuple[Callable[[Work], None], ...] = (
    file_layout.wrong_files,
    file_layout.dead_references,
    entries.versions,
    upgrade.upgrade,
    entries.plain_files,
    entries.axis_ids,
    axis_scales.scales,
    entries.names,
    entries.stardist,
    entries.channel_names,
    entries.samples,
    processing.fixed_statistics,
    processing.arguments,
    weights_conversion.saved_model,
    weights_conversion.onnx,
    weights_conversion.missing_formats,
    input_sizes.sizes,
    entries.parents,
    entries.links,
)
"""In the order in which they are done: what is run has to be described rightly before."""


@dataclasses.dataclass(frozen=True)
class Repaired:
    """What has been done to a bundle."""

    path: Path | None
    """The new bundle; None where nothing was to be mended, nothing could be, or nothing was to be written."""
    changes: list[Change]
    unmended: list[Change]
    """What was tried and cannot be mended, and why; `after` has all that remains, with the remedies."""
    before: Report
    after: Report


def repair(
    bundle: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    overwrite: bool = False,
) -> Repaired:
    """Mend what can be mended in a bundle without its author, and write a new one.

    Parameters
    ----------
    bundle
        A bundle's ``.zip``, its folder, or the ``rdf.yaml`` in it, packed by any program; it stays as it is.
    output
        The ``.zip`` to write. Where there is nothing to change, none is written.
    dry_run
        Do all of it, with every conversion and every run, but write nothing.
    overwrite
        Whether an existing ``output`` may be replaced.

    Returns
    -------
    Repaired
        What was changed, what could not be, and the check before and after.

    Raises
    ------
    UserError
        There is no bundle, it was made to harm, or the output cannot be written; nothing is left behind.
    """
    output = Path(output)
    if output.suffix != ".zip":
        raise UserError(f"{output}: a bundle is a zip file, name it {output.name}.zip.")
    if output.exists() and output.resolve() == Path(bundle).resolve():
        raise UserError(f"{output} is the bundle itself, which stays as it is: choose another name with -o.")
    if Path(bundle).is_dir() and output.resolve().is_relative_to(Path(bundle).resolve()):
        raise UserError(f"{output} is inside the bundle {bundle}, which stays as it is: choose another place with -o.")
    if not dry_run:
        refuse_existing(output, overwrite)
    with temporary_folder() as temporary:
        folder, scratch = temporary / "bundle", temporary / "scratch"
        folder.mkdir()
        scratch.mkdir()
        with opened(bundle) as original:
            before = check_contents(original, bundle=str(bundle))
            copied(original.folder, folder)
            work = Work(folder, folder / original.root.relative_to(original.folder) / original.file, scratch)
        for mend in FIRST:
            mend(work)
        for mend in () if [*malformed_description(work.contents)] else REPAIRS:
            mend(work)
        if not work.changes:
            return Repaired(None, [], work.unmended, before, before)
        _ = work.contents  # writes the description
        target = temporary / output.name if dry_run else output
        with new_file(target, overwrite) as written:
            archive.write(work.root, written)
            after = dataclasses.replace(check(written), bundle=str(output))
    return Repaired(None if dry_run else output, work.changes, work.unmended, before, after)


def show(repaired: Repaired, console: Console) -> None:
    """Print what was changed, what cannot be mended, and the verdicts before and after.

    Parameters
    ----------
    repaired
        From `repair`.
    console
        Where to; nothing from the bundle is taken for markup.
    """
    from rich.text import Text

    def write(text: str, style: str = "") -> None:
        # "?" for what the console's encoding lacks
        encoding, text = console.encoding, harmless(text)
        console.print(Text(text.encode(encoding, "replace").decode(encoding), style), soft_wrap=True)

    if repaired.changes:
        write("Mended:", "bold")
    for change in repaired.changes:
        write(f"  {change.rule}  {change.where}: {change.what}")
    if repaired.unmended:
        write("Cannot be repaired here:", "bold")
    for change in repaired.unmended:
        write(f"  {change.rule}  {change.where}: {change.what}")
    remaining = [
        (finding.rule, finding.where, finding.found, finding.remedy)
        for verdict in repaired.after.consumers.values()
        for finding in verdict.findings
    ]
    if remaining:
        write("Remains for the author:", "bold")
    for rule, where, found, remedy in dict.fromkeys(remaining):
        write(f"  {rule}  {where}: {found} {remedy}")
    for name, verdict in repaired.after.consumers.items():
        earlier = repaired.before.consumers[name].verdict
        now = verdict.verdict
        write(f"{CONSUMERS[name].name}: {now}{'' if now == earlier else f' (before: {earlier})'}")
    if not repaired.changes and not remaining:
        write("Nothing needs to be repaired: no bundle is written.")
    elif not repaired.changes:
        write("Nothing can be repaired without the author: no bundle is written.")
