"""The command `bmzpack`. Every command imports what it needs when it runs, so that help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bmzpack.commands import guarded, import_tensorflow, shown_steps, weights_formats

app = typer.Typer(
    name="bmzpack",
    help="Pack Keras models as BioImage Model Zoo bundles for Fiji, ilastik and QuPath, and test bundles.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")]


@app.command()
def pack(
    model: Annotated[Path, typer.Argument(help="A Keras 3 model.", metavar="MODEL.keras")],
    description: Annotated[Path, typer.Argument(help="What only you can say about it.", metavar="DESCRIPTION.yaml")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle to write, a .zip file.")],
    formats: Annotated[
        str | None,
        typer.Option(help="Weights formats, separated by commas; by default all that this installation can write."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Pack a Keras model; sizes, halo and axes are measured, every weights file is run and compared.

    The smallest description: `name: ...` and `inputs: [{test_image: nuclei.tif}]`; an unknown key is answered by the
    nearest known one.
    """
    from bmzpack.describe.description import read_description
    from bmzpack.files import refuse_existing

    refuse_existing(output, overwrite)
    described = read_description(description)
    names = weights_formats(formats)
    import_tensorflow()
    from bmzpack.consumers.registry import program_names
    from bmzpack.packing.pack import pack as write_bundle

    with shown_steps():
        packed = write_bundle(model, described, output, formats=names, overwrite=overwrite)
    _print_agreement(packed.agreement)
    if packed.missing:
        typer.echo(f"The zoo will ask for what the description does not say: {', '.join(packed.missing)}.")
    programs = ", ".join(packed.programs) or f"none of {program_names()} (see its README.md)"
    typer.echo(f"{packed.path} is written, for {programs}. Next: bmzpack test {packed.path}")


@app.command("test")
def run_test(
    bundle: Annotated[Path, typer.Argument(help="A bundle, zipped or unpacked.", metavar="BUNDLE.zip")],
    json: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
    overwrite: Overwrite = False,
    trust: Annotated[bool, typer.Option("--trust", help="Execute Python code that is in the bundle.")] = False,
) -> None:
    """Run every weights format of a bundle through bioimageio.core and through its own engine."""
    from rich.console import Console
    from rich.table import Table

    from bmzpack.errors import harmless
    from bmzpack.testing.test import test

    with shown_steps():
        report = test(bundle, json=json, overwrite=overwrite, trust=trust)
    table = Table("format", "bioimageio.core", "engine", "error", "seconds")
    for name, entry in report.formats.items():
        error = "-" if entry.max_abs_error is None else f"{entry.max_abs_error:.1e}"
        table.add_row(harmless(name), entry.core, entry.engine, error, f"{entry.seconds:.1f}")
    console = Console()
    console.print(table)
    for name, entry in report.formats.items():
        for message in entry.messages:
            console.print(harmless(f"{name}: {message}"), markup=False, highlight=False, soft_wrap=True)
    if report.remote:
        typer.echo(f"Not downloaded, as it is not part of the bundle: {', '.join(report.remote[:5])}")
    typer.echo(f"{bundle} {'passed' if report.passed else 'FAILED'}.")
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def check(
    bundle: Annotated[
        Path | None, typer.Argument(help="A bundle by any author, zipped or unpacked, or its rdf.yaml.")
    ] = None,
    consumer: Annotated[
        str | None,
        typer.Option(help="Programs, separated by commas, such as fiji,ilastik,qupath,core; by default all of them."),
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Run the test tensors in the programs' engines, too.")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="With --run: execute Python code that is in the bundle.")
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the report to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page for your browser.")] = None,
    overwrite: Overwrite = False,
    overview: Annotated[
        bool, typer.Option("--list", help="List the programs, the versions that were looked at, and the rules.")
    ] = False,
) -> None:
    """Say which programs can open a bundle, and what to do where one cannot; exit code 1 if one cannot."""
    import contextlib
    import json as json_module

    from rich.console import Console

    from bmzpack.consumers import explain, page, terminal
    from bmzpack.errors import UserError
    from bmzpack.files import new_file, refuse_existing
    from bmzpack.testing.check import check as run_check

    if overview:
        typer.echo(explain.overview())
        return
    if bundle is None:
        raise UserError("Name a bundle, such as model.zip; --list names the programs and rules.")
    for path in (json, html):
        if path is not None:
            refuse_existing(path, overwrite)
    consumers = None if consumer is None else [name.strip() for name in consumer.split(",") if name.strip()]
    with shown_steps() if run else contextlib.nullcontext():
        report = run_check(bundle, consumers=consumers, run=run, trust=trust)
    terminal.show(report, Console())
    contents = {json: lambda: json_module.dumps(report.as_dict(), indent=2) + "\n", html: lambda: page.render(report)}
    for path, content in contents.items():
        if path is not None:
            with new_file(path, overwrite) as written:
                written.write_text(content(), encoding="utf-8")
    if any(verdict.verdict == "fails" for verdict in report.consumers.values()):
        raise typer.Exit(1)


@app.command()
def explain(
    rule: Annotated[str | None, typer.Argument(help="The id of a rule, such as R6.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Write the pages of all rules, in Markdown.")] = False,
) -> None:
    """Say why a rule of the check matters, to which programs, and what to do."""
    from bmzpack.consumers.explain import explain as page_of
    from bmzpack.consumers.explain import explain_all
    from bmzpack.errors import UserError

    if rule is None and not every:
        raise UserError("Name a rule, such as R6, or --all; `bmzpack check --list` names all of them.")
    typer.echo(page_of(rule) if rule is not None else explain_all())


@app.command()
def describe(
    model: Annotated[Path, typer.Argument(help="A Keras 3 model.", metavar="MODEL.keras")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The description to write, a .yaml file.")],
    overwrite: Overwrite = False,
) -> None:
    """Write a description of a model to fill in, with every key and what it means, for `bmzpack pack`."""
    from bmzpack.describe.template import write_template

    write_template(model, output, overwrite=overwrite)
    typer.echo(f"{output} is written. Fill in name and test_image, then: bmzpack pack {model} {output} -o bundle.zip")


@app.command()
def repair(
    bundle: Annotated[Path, typer.Argument(help="A bundle by any author; it stays as it is.", metavar="BUNDLE.zip")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle to write, a .zip file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Do everything but write.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Repair what can be repaired without the author; weights are run before they are kept. Prints every change."""
    from rich.console import Console

    from bmzpack.repairs.repair import repair as run
    from bmzpack.repairs.repair import show

    with shown_steps():
        repaired = run(bundle, output, dry_run=dry_run, overwrite=overwrite)
    show(repaired, Console())
    if not repaired.changes and any(verdict.verdict == "fails" for verdict in repaired.after.consumers.values()):
        raise typer.Exit(1)


@app.command()
def doctor() -> None:
    """Say what protects this computer from untrusted files."""
    from bmzpack.engines import sandbox

    if obstacle := sandbox.obstacle():
        typer.echo(
            f"Untrusted weights are not confined: {obstacle}. Saved models, TorchScript and PyTorch weights are run "
            "with --trust only; for all others there are only limits of memory, files and time."
        )
        raise typer.Exit(1)
    typer.echo(
        f"Untrusted weights are confined by {sandbox.protection()}: they can read only themselves and the libraries, "
        "can write only into a folder that is removed, and have no network."
    )


@app.command()
def upload(
    bundle: Annotated[Path, typer.Argument(help="A bundle.", metavar="BUNDLE.zip")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would become public, send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Make a new entry in place of that of an unfinished upload.")
    ] = False,
) -> None:
    """Offer a bundle to the BioImage Model Zoo; the token comes from BIOIMAGEIO_HYPHA_UPLOAD_TOKEN."""
    from bmzpack.publish.upload import ask
    from bmzpack.publish.upload import upload as run

    run(bundle, dry_run=dry_run, again=again, confirm=(lambda _: True) if yes else ask, show=typer.echo)


def _print_agreement(agreement: dict[str, dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("format", "error (of the range)", "latency")
    for name, entry in agreement.items():
        table.add_row(name, f"{entry['max_abs_error']:.1e}", f"{entry['seconds'] * 1e3:.3g} ms")
    Console().print(table)


def main() -> None:
    """Run the command."""
    guarded(app)
