"""The command `kerazoo`. Every command imports what it needs when it runs, so that help and listings are instant."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from bmzpack.cli import check, repair, upload
from bmzpack.commands import guarded, import_tensorflow, shown_steps, weights_formats
from kerazoo.cli_options import Axes, Channel, Fill, Folder, Images, Masks, Overwrite, RefineWith, Series, Table

app = typer.Typer(
    name="kerazoo",
    epilog="Exit codes: 0 done, 1 a test failed, 2 an error that you can correct, 130 interrupted.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from kerazoo import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train Keras networks on your microscopy images and pack them for Fiji, ilastik and QuPath."""


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="The name of a network, to be described.")] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the networks of the zoo, or describe one and its arguments."""
    from kerazoo.models.registry import get_model, list_models
    from kerazoo.reports import printed

    entries = list_models() if name is None else [get_model(name)]
    if json:
        typer.echo(json_module.dumps([entry.as_dict() for entry in entries], indent=2))
    elif name is None:
        printed.models(entries)
    else:
        if entries[0].builder is not None:
            import_tensorflow()
        printed.model(entries[0])


@app.command()
def init(
    model: Annotated[str, typer.Argument(help="A network of `kerazoo models`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The configuration to write.")],
    images: Images = None,
    masks: Masks = None,
    folder: Folder = None,
    table: Table = None,
    backbone: Annotated[str | None, typer.Option(help="An ImageNet encoder of the network.")] = None,
    weights: Annotated[str | None, typer.Option(help="`imagenet`, a weights file, a trained network, or none.")] = None,
    annotation: Annotated[
        str | None, typer.Option(help="What a mask's values mean: labels, classes or binary; else it is measured.")
    ] = None,
    background: Annotated[int | None, typer.Option(help="The mask value of the background.")] = None,
    ignore: Annotated[int | None, typer.Option(help="The mask value of pixels without annotation.")] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="A class and its mask value or colour; once for each.", metavar="NAME=VALUE"),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Larger mask values are foreground.")] = None,
    split_labels: Annotated[
        bool | None, typer.Option("--split-labels/--whole-labels", help="Whether every piece of a label is an object.")
    ] = None,
    axes: Axes = None,
    channel: Channel = None,
    series: Series = None,
    fill: Fill = None,
    minutes: Annotated[float, typer.Option(help="How long the training may take on this machine.")] = 20,
    overwrite: Overwrite = False,
) -> None:
    """Measure annotated images, and write a commented configuration."""
    from kerazoo.configuration.options import class_settings
    from kerazoo.configuration.shown import show
    from kerazoo.configuration.write import write_config

    path = write_config(
        model,
        images,
        masks,
        output,
        folder=folder,
        table=table,
        backbone=backbone,
        weights=weights,
        background=background,
        ignore=ignore,
        threshold=threshold,
        split_labels=split_labels,
        **({"annotation": annotation} | class_settings(classes or ())),
        axes=axes,
        channel=channel,
        series=series,
        fill=fill,
        minutes=minutes,
        overwrite=overwrite,
        say=typer.echo,
        show=show,
    )
    typer.echo(f"{path} is written. Check its settings, then: kerazoo train {path}")


@app.command("annotations")
def convert_annotations(
    folder: Annotated[Path, typer.Argument(help="Folder of annotations, or a COCO file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the masks.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the images; by default that of the annotations.")
    ] = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="Write a value for each class, instead of one for each object.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Convert annotations of ImageJ, QuPath, LabelMe, Cellpose or COCO to label images."""
    from kerazoo.files.annotations.convert import convert_annotations as convert

    for line in convert(folder, output, images=images, classes=classes, overwrite=overwrite):
        typer.echo(line)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="The configuration, as `kerazoo init` writes it.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The run folder.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="A change such as training.epochs=5; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a network; the run folder defaults to runs/NAME of the configuration."""
    from kerazoo.commands import train as run_training
    from kerazoo.models.configure import read_config
    from kerazoo.reports import printed

    settings = read_config(config, changes or ())
    run_path = output or Path("runs") / config.stem

    import_tensorflow()
    run = run_training(settings, run_path, resume=resume, overwrite=overwrite)
    printed.scores(run.record.scores, "validation")
    typer.echo(f"The run is in {run.path}. Next: kerazoo report {run.path}; kerazoo export {run.path} -o model.zip")


@app.command()
def evaluate(
    source: Annotated[Path, typer.Argument(help="A run folder, a bundle, or classical2d.")],
    images: Images = None,
    masks: Masks = None,
    folder: Folder = None,
    table: Table = None,
    axes: Axes = None,
    refine_with: RefineWith = None,
    through: Annotated[
        list[str] | None,
        typer.Option(
            help="Score what this program makes of a bundle as well: fiji, ilastik, qupath or core; can be repeated.",
            metavar="PROGRAM",
        ),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the scores to this file, or alone to standard output: -")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Score a trained network, or what needs no training, on annotated images."""
    _warn_of_unfinished(source)
    import_tensorflow()
    from kerazoo.evaluation.evaluate import evaluate as score
    from kerazoo.evaluation.evaluate import remarks
    from kerazoo.reports import printed

    result = score(
        source,
        images,
        masks,
        folder=folder,
        table=table,
        axes=axes,
        refine_with=refine_with,
        through=through or (),
        json=None if json == Path("-") else json,
        overwrite=overwrite,
        progress=json != Path("-"),
    )
    for sentence in remarks(result):
        typer.echo(sentence, err=True)
    if json == Path("-"):
        typer.echo(json_module.dumps(result, indent=2))
        return
    printed.evaluation(result)


@app.command()
def predict(
    source: Annotated[Path, typer.Argument(help="A run folder, a bundle, or classical2d.")],
    images: Annotated[
        list[Path],
        typer.Argument(help="Images (2D or stacks), folders, or patterns such as 'day1/*.tif'.", metavar="IMAGE..."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")],
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Write the network's output too.")] = False,
    tile: Annotated[int | None, typer.Option(help="Side of the tiles in pixels.")] = None,
    stride: Annotated[
        int | None,
        typer.Option(help="Distance of the patches of a classifier's map in pixels, by default their size."),
    ] = None,
    diameter: Annotated[
        float | None,
        typer.Option(help="Median diameter of the objects in pixels (cellpose2d, omnipose2d); by default as trained."),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="`points`: find all objects, each from a point in its middle, with Segment Anything."),
    ] = None,
    refine_with: RefineWith = None,
    points: Annotated[
        Path | None, typer.Option(help="A CSV file of points in objects of the image, for Segment Anything.")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="A CSV file of boxes around objects of the image, for Segment Anything.")
    ] = None,
    rois: Annotated[bool, typer.Option("--rois", help="Write the objects' outlines for ImageJ's ROI Manager.")] = False,
    geojson: Annotated[bool, typer.Option("--geojson", help="Write the objects for QuPath.")] = False,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write pictures with outlines or classes.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", help="Look into folders within folders.")] = False,
    axes: Axes = None,
    channel: Channel = None,
    series: Series = None,
    fill: Fill = None,
    overwrite: Overwrite = False,
) -> None:
    """Write label images or class maps of new images as TIFF, and a table of all objects or classes."""
    _warn_of_unfinished(source)
    from kerazoo.runs.trained import find_run

    if find_run(source) is not None or refine_with is not None:
        import_tensorflow()
    from kerazoo.inference.predict import predict as run_prediction

    written = run_prediction(
        source,
        images,
        output,
        probabilities=probabilities,
        tile=tile,
        stride=stride,
        diameter=diameter,
        mode=mode,
        refine_with=refine_with,
        points=points,
        boxes=boxes,
        rois=rois,
        geojson=geojson,
        overlay=overlay,
        recursive=recursive,
        axes=axes,
        channel=channel or (),
        series=series,
        fill=fill,
        overwrite=overwrite,
        progress=True,
        show=lambda line: typer.echo(line, err=True),
    )
    for path in written:
        typer.echo(str(path))


@app.command()
def convert(
    kind: Annotated[str, typer.Argument(help="cellpose, omnipose, sam or stardist.")],
    checkpoint: Annotated[
        Path, typer.Argument(help="A file that the package saved, or the folder of a StarDist model.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The run folder to write.")],
    channels: Annotated[
        int | None,
        typer.Option(help="Channels of the images, by default 1; Cellpose and Omnipose take one or two, SAM 1 or 3."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a run of official weights of Cellpose, Omnipose, Segment Anything, micro-sam or StarDist."""
    import_tensorflow()
    from kerazoo.training.convert import convert as run_conversion

    run = run_conversion(kind, checkpoint, output, channels=channels, overwrite=overwrite)
    typer.echo(f"{run.path} is ready. Next: kerazoo predict {run.path} IMAGE... -o DIR")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The bundle to write, a .zip file.")],
    formats: Annotated[
        str | None,
        typer.Option(help="Weights formats, separated by commas; by default all that this installation can write."),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="An image for the test tensors, where the run has no validation images.")
    ] = None,
    enlarge: Annotated[
        bool, typer.Option("--enlarge", help="Make a classifier's map as large as the image, which ilastik needs.")
    ] = False,
    form: Annotated[
        str,
        typer.Option(
            help="Of networks for single objects: maps (what the network gives, for plugins), raw (an operation of the "
            "zoo makes labels in Python), labels (the graph ends in the label image), or mask (objects that touch lie "
            "apart, for ilastik and QuPath); of Segment Anything also prompts (boxes to masks) and embedding."
        ),
    ] = "maps",
    overwrite: Overwrite = False,
) -> None:
    """Pack a run as a BioImage Model Zoo bundle."""
    names = weights_formats(formats)
    _warn_of_unfinished(run)
    import_tensorflow()
    from kerazoo.exporting.export import export as pack_run

    with shown_steps():
        path = pack_run(run, output, formats=names, image=image, enlarge=enlarge, form=form, overwrite=overwrite)
    typer.echo(f"{path} is written. Next: bmzpack test {path}")


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write one self-contained HTML page about a run."""
    from kerazoo.commands import report as write_report

    _warn_of_unfinished(run)
    typer.echo(str(write_report(run)))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders of one task.", metavar="RUN...")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The figure, a .png; a .csv table is written too.")],
    score: Annotated[str | None, typer.Option(help="The score that is shown, such as accuracy.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare runs in a figure and a table; those that differ only by their seeds are taken together."""
    from kerazoo.reports import printed
    from kerazoo.reports.comparison import compare as compare_runs

    result = compare_runs(runs, output, score=score, overwrite=overwrite)
    printed.groups(result)
    typer.echo(f"{output} and {output.with_suffix('.csv')} are written.")


@app.command()
def record(
    runs: Annotated[list[Path], typer.Argument(help="Runs that differ by their seeds only.", metavar="RUN...")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The record to write: model_cards/records/NAME/DATASET.json.")
    ],
    dataset: Annotated[str, typer.Option("--dataset", help="What the images are called.")],
    licence: Annotated[str, typer.Option("--licence", help="Their licence, such as CC-BY-4.0.")],
    command: Annotated[str, typer.Option("--command", help="What was typed to train, without absolute paths.")],
    source: Annotated[str | None, typer.Option(help="Where the images can be had.")] = None,
    variant: Annotated[
        str | None,
        typer.Option(help="What sets these runs apart from others on the same images, such as: from scratch."),
    ] = None,
    remark: Annotated[str | None, typer.Option(help="A sentence that must be known to judge the scores.")] = None,
    tests: Annotated[
        list[Path] | None,
        typer.Option("--test", help="Scores on further images, from `evaluate --json`; one file for each run."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Keep what the model card says about finished runs."""
    from kerazoo.reports.cards.records import write_record

    written = write_record(
        runs,
        output,
        dataset=dataset,
        licence=licence,
        command=command,
        source=source,
        variant=variant,
        remark=remark,
        tests=tests or (),
        overwrite=overwrite,
    )
    typer.echo(f"{output} is written, of {len(written.runs)} runs of {written.model}. Next: kerazoo cards")


@app.command()
def cards(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the cards, with its folder `records`.")],
    check_only: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail where a card is not current.")
    ] = False,
) -> None:
    """Render a card and a figure for every model, from the registry and the records."""
    import_tensorflow()
    from kerazoo.reports.cards.write import stale_cards, write_cards

    if not check_only:
        typer.echo("\n".join(map(str, write_cards(output))) or f"All cards in {output} are current.")
    elif stale := stale_cards(output):
        typer.echo(f"Not current in {output}: {', '.join(stale)}. Render them with: kerazoo cards -o {output}")
        raise typer.Exit(1)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for all results.")] = Path("demo"),
    overwrite: Overwrite = False,
) -> None:
    """Train, evaluate, pack, check and predict on a synthetic example, in a few minutes."""
    from kerazoo.demo import demo as run_demo

    run_demo(output, overwrite)


@app.command()
def notebooks(
    folder: Annotated[Path, typer.Argument(help="Where they go.", metavar="FOLDER")], overwrite: Overwrite = False
) -> None:
    """Copy the lessons of the lecture, five notebooks, to a folder of your own."""
    from kerazoo.course.copy import copy_notebooks

    copied = copy_notebooks(folder, overwrite)
    typer.echo(
        f"{len(copied)} files are in {folder}. Next: pip install 'kerazoo[notebooks]', then jupyter lab {folder}"
    )


app.command()(check)
app.command()(repair)
app.command()(upload)


def _warn_of_unfinished(source: Path) -> None:
    from kerazoo.runs.run import Run

    run = Run(source)
    if run.is_there and (sentence := run.unfinished):
        typer.echo(f"Warning: {sentence}", err=True)


def main() -> None:
    """Run the command."""
    guarded(app)
