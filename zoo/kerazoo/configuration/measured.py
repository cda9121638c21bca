"""The section `data`: where images and annotations are, and in comments what was measured on them."""

from __future__ import annotations

from pathlib import Path

from kerazoo.config import DataConfig
from kerazoo.data.survey import Survey
from kerazoo.models.proposal import Settings, as_yaml, lines_of


def data_lines(data: DataConfig, measured: Survey, folder: Path) -> list[str]:
    """The lines of the section.

    Parameters
    ----------
    data
        The places, and the axes.
    measured
        The data set.
    folder
        That of the configuration, absolute.
    """
    places = {name: getattr(data, name) for name in ("images", "masks", "folder", "table")}
    settings: Settings = {name: as_yaml(_path(path, folder)) for name, path in places.items() if path is not None}
    annotation = {"annotation": (measured.annotation, measured.reason)}
    axes: Settings = {"axes": (as_yaml(data.axes), "of TIFF files that do not state them, such as CYX")}
    axes |= {
        name: getattr(data, name) for name in ("series", "channel", "fill") if getattr(data, name) not in (None, [])
    }
    channels = {"channels": measured.channels}
    size = f"  # {measured.sizes}, {' and '.join(measured.dtypes)}"
    (low, high), (dark, bright) = measured.intensity, measured.percentiles
    values = f"values {low:g} to {high:g}"
    typical = f"typically {dark:g} to {bright:g} (percentiles 1 and 99.8)"
    if measured.categories is not None:
        first, last = settings | annotation | axes, channels
        return [*lines_of(first), f"{size}, {values}", *lines_of(last), *_category_lines(measured)]
    first, last = settings | axes, channels | annotation
    annotated = _value_lines(measured) if measured.objects is None else _object_lines(measured)
    doubts = [f"  # WARNING: {warning}" for warning in measured.warnings]
    return [*lines_of(first), size, f"  # {values}, {typical}", *lines_of(last), *doubts, *annotated]


def _category_lines(measured: Survey) -> list[str]:
    categories = measured.categories
    assert categories is not None
    counts = ", ".join(f"{name}: {count}" for name, count in zip(categories.names, categories.counts, strict=True))
    of_masks = measured.annotation == "classes"
    what, hint = ("patches", "; name the classes in this order") if of_masks else ("images", "")
    settings = {"classes": categories.names} | _mask_settings(measured)
    lines = [f"  # {what} of each class: {counts}{hint}", *lines_of(settings)]
    if categories.size_tells_class:
        lines += [
            f"  # WARNING: the size of an image alone tells the class of {categories.guessed:.0%} of them, chance of "
            f"{categories.by_chance:.0%}. Where a class follows from",
            "  # how images were made (size, microscope, day), that is learned in place of what is on them.",
        ]
    return lines


def _value_lines(measured: Survey) -> list[str]:
    names = measured.settings["classes"]
    values = measured.settings.get("class_values") or range(len(names))
    shares = ", ".join(
        f"{value}: {share:.1%}" for value, share in zip(values, measured.fractions.values(), strict=True)
    )
    settings = {"classes": names} | _mask_settings(measured)
    return [f"  # pixels of each value: {shares}; name the classes in this order", *lines_of(settings)]


def _mask_settings(measured: Survey) -> Settings:
    """How the values of the masks are read, where that is not the usual way."""
    reasons = {
        "class_values": "mask value or colour of every class, in this order",
        "background": "the mask value of the background",
        "ignore": "the mask value of pixels without annotation",
        "threshold": "larger mask values are foreground",
        "split_labels": "every connected piece of a label is an object of its own",
    }
    return {
        name: (as_yaml(measured.settings[name]), reason)
        for name, reason in reasons.items()
        if measured.settings.get(name) not in (None, False, [], 0) or (name == "ignore" and name in measured.settings)
    }


def _object_lines(measured: Survey) -> list[str]:
    objects = measured.objects
    assert objects is not None
    (few, median, many), (small, usual, large) = objects.counts, objects.areas
    lines = [
        f"  # {few} to {many} objects per image, median {median}, on {measured.fractions[1]:.1%} of the pixels",
        f"  # median area {usual:.0f} pixels (diameter {objects.diameter:.0f}), percentiles 1 and 99: {small:.0f} and "
        f"{large:.0f}",
        *lines_of(_mask_settings(measured)),
    ]
    if objects.empty:
        reason = f"{objects.empty} masks are empty: set true if nothing is on their images"
        lines += lines_of({"empty_masks": (False, reason)})
    return lines


def _path(path: Path, folder: Path) -> str:
    """Relative to the configuration where it lies below it, so that both can be moved together."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
