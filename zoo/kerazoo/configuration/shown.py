"""What `kerazoo init` says of a data set: a table of what was found, and what speaks against it."""

from __future__ import annotations

from kerazoo.data.survey import Survey

_MEANINGS = {
    "labels": "label images: a value for each object",
    "binary": "black and white: objects or not",
    "classes": "a value for each class",
    "image": "none: every image has one class",
}


def findings(measured: Survey) -> list[tuple[str, str, str]]:
    """What was found: what it is about, what it is, and the options that overrule it."""
    (low, high), plural = measured.intensity, "s" * (measured.channels > 1)
    values = f"{' and '.join(measured.dtypes)} from {low:g} to {high:g}"
    grey = f", {measured.grey} of them stored as colour, but grey" if measured.grey else ""
    images = f"{measured.images} of {measured.sizes}, {values}, {measured.channels} channel{plural}{grey}"
    rows = [
        ("images", images, "--axes --channel --series"),
        ("masks", f"{_MEANINGS[measured.annotation]} ({measured.reason})", "--annotation"),
    ]
    settings = measured.settings
    if measured.annotation in ("labels", "binary"):
        threshold = settings.get("threshold")
        ground = f"{settings.get('background', 0)}" if threshold is None else f"up to {threshold:g}"
        rows.append(("background", ground, "--background" if threshold is None else "--threshold"))
    if measured.objects is not None:
        (few, median, many), usual = measured.objects.counts, measured.objects.areas[1]
        text = f"{few} to {many} per image, median {median}, median area {usual:.0f} pixels"
        split = ", each piece of a label" if settings.get("split_labels") else ""
        rows.append(("objects", text + split, "--split-labels"))
    elif measured.annotation == "classes":
        values = settings.get("class_values") or range(len(settings["classes"]))
        shares = (
            f"{name}={value} {share:.1%}"
            for name, value, share in zip(settings["classes"], values, measured.fractions.values(), strict=True)
        )
        rows.append(("classes", ", ".join(shares), "--class"))
    if settings.get("ignore") is not None:
        rows.append(("not annotated", str(settings["ignore"]), "--ignore"))
    if measured.example:
        rows.append(("for example", measured.example, ""))
    return rows


def show(measured: Survey) -> None:
    """Print the table, and the warnings on standard error."""
    from rich.console import Console
    from rich.table import Table

    table = Table("found", "", "overrule with", show_lines=False)
    for row in findings(measured):
        table.add_row(*row)
    Console().print(table)
    warnings = list(measured.warnings)
    if measured.images == 1:
        warnings.append(
            "There is only one image, but training needs two, one of them to validate: cut it into parts, such as its "
            "left and its right half, or annotate another."
        )
    for warning in warnings:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"Warning: {warning}", markup=False)
