"""Files: brought to where programs look for them; entries of files that are not there taken out."""

from __future__ import annotations

from bmzpack.consumers import core
from bmzpack.consumers.conditions.bundle_files import missing_files
from bmzpack.repairs.work import Work


def layout(work: Work) -> None:
    """F1: bring the files of a folder to the top."""
    if work.root == work.folder:
        return
    name = work.root.name
    taken = [path.name for path in work.root.iterdir() if (work.folder / path.name).exists() and path.name != name]
    if taken:
        work.left("F1", name, f"There is a {taken[0]} at the top and in the folder {name}: only its author can choose.")
        return
    inner = work.root.rename(work.scratch / "inner")
    for path in inner.iterdir():
        path.replace(work.folder / path.name)
    inner.rmdir()
    work.root = work.folder
    work.changed("F1", name, f"The files of the folder {name} are at the top now.")


def file_name(work: Work) -> None:
    """R3: call the description rdf.yaml."""
    if work.file == "rdf.yaml":
        return
    name = work.file
    work.path.replace(work.root / "rdf.yaml")
    work.file = "rdf.yaml"
    work.changed("R3", name, f"{name} is called rdf.yaml now.")


def wrong_files(work: Work) -> None:
    """F3: only the author knows which file is meant."""
    for place in sorted(work.suspects):
        work.left("F3", place, "The file is not the one whose checksum is given; only its author knows which is right.")


def dead_references(work: Work) -> None:
    """F2: take out what names a file that is not there, where something remains that can be run."""
    places = [occurrence.where for occurrence in missing_files(work.contents)]
    lacking: dict[str, list[str]] = {}
    for place in places:
        top, _, rest = place.partition(".")
        name, _, part = rest.partition(".")
        # a list of packages is not needed to run the weights
        if top == "weights" and part != "dependencies" and name in work.rdf["weights"]:
            lacking.setdefault(name, []).append(part or "weights")
    for name, parts in lacking.items():
        if not any(work.trusted(other) for other in core.ORDER if other not in lacking):
            work.left("F2", f"weights.{name}", "The file is missing, and there are no other weights: add it.")
            continue
        del work.rdf["weights"][name]
        work.changed("F2", f"weights.{name}", f"{name} is taken out: its {' and '.join(parts)} file is missing.")
    for place in reversed(places):  # from the end, so that the numbers of covers hold
        name, _, key = place.rpartition(".")
        holder = work.at(name)
        if place.startswith("weights.") and place.split(".")[1] in lacking:
            continue
        # QuPath needs a documentation, be it there or not
        if isinstance(holder, dict) and key in ("dependencies", "sample_tensor"):
            del holder[key]
        elif isinstance(holder, list) and name in ("attachments", "covers"):
            holder.pop(int(key))
            if not holder:
                del work.rdf[name]
        else:
            work.left("F2", place, "The file is missing, and nothing takes its place: add it.")
            continue
        work.changed("F2", place, "The entry is taken out: its file is missing.")
