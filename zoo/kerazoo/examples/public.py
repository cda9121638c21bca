"""Public data sets by name: downloaded once, checked, unpacked into a cache."""

from __future__ import annotations

import dataclasses
import difflib
import os
import zipfile
from pathlib import Path

import pooch

from bmzpack.errors import UserError


@dataclasses.dataclass(frozen=True)
class PublicSet:
    """A data set that is one zip file."""

    name: str
    title: str
    url: str
    sha256: str
    folder: str
    """What the zip file unpacks to."""
    parts: tuple[str, ...]
    """Folders in it that hold `images` and `masks` each."""
    licence: str
    citation: str


PUBLIC_SETS = (
    PublicSet(
        name="nuclei_dsb2018",
        title="Fluorescence nuclei of the Data Science Bowl 2018, the subset and split of StarDist",
        url="https://github.com/stardist/stardist/releases/download/0.1.0/dsb2018.zip",
        # as recorded by torch_em, which downloads the same file; not measured by us yet
        sha256="e44921950edce378063aa4457e625581ba35b4c2dbd9a07c19d48900129f386f",
        folder="dsb2018",
        parts=("train", "test"),
        licence="CC0-1.0",
        citation="Caicedo et al. (2019), Nature Methods 16:1247; subset: Schmidt et al. (2018), MICCAI",
    ),
)


def list_public() -> list[PublicSet]:
    """All public data sets that can be fetched."""
    return list(PUBLIC_SETS)


def fetch(name: str, cache: str | Path | None = None) -> dict[str, Path]:
    """Download a public data set, or find it in the cache.

    Parameters
    ----------
    name
        A name of `list_public`.
    cache
        Where downloads are kept; by default the environment variable KERAZOO_CACHE, else the user's cache folder.

    Returns
    -------
    dict of str to Path
        A folder for every part of the set, such as ``train``; it holds ``images`` and ``masks``.

    Raises
    ------
    UserError
        There is no such set, it cannot be downloaded, or the download has not the recorded checksum.
    """
    names = [known.name for known in PUBLIC_SETS]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
        raise UserError(f"There is no public data set {name!r}; did you mean {near!r}? All: {', '.join(names)}.")
    chosen = PUBLIC_SETS[names.index(name)]
    place = Path(cache or os.environ.get("KERAZOO_CACHE") or pooch.os_cache("kerazoo")) / chosen.name
    archive = chosen.url.rsplit("/", 1)[-1]
    log = pooch.get_logger()
    level = log.level
    log.setLevel("WARNING")
    try:
        pooch.retrieve(
            chosen.url, f"sha256:{chosen.sha256}", fname=archive, path=place, processor=pooch.Unzip(extract_dir=".")
        )
    except ValueError as error:
        raise UserError(
            f"{chosen.url} has not the recorded checksum ({' '.join(str(error).split())}): try again, and report it if "
            "that does not help."
        ) from error
    except (OSError, zipfile.BadZipFile) as error:  # the exceptions of requests are OSErrors
        raise UserError(
            f"{chosen.url} cannot be downloaded ({type(error).__name__}): connect to the internet, or download it on "
            f"another computer and put it at {place / archive}."
        ) from error
    finally:
        log.setLevel(level)
    return {part: place / chosen.folder / part for part in chosen.parts}
