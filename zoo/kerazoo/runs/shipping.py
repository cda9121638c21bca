"""From a run to a trained network that comes with the package: weights in half precision, one sample, no paths."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from bmzpack.errors import UserError
from bmzpack.files import temporary_folder
from kerazoo.data.survey import survey
from kerazoo.models.trained import FOLDER
from kerazoo.runs.records import Origin
from kerazoo.runs.run import Run

LARGEST = 15_000_000
"""Bytes of a trained network."""


def ship(run: Run, name: str, sample: str, origin: Origin, root: Path = FOLDER) -> Path:
    """Write a trained network.

    Parameters
    ----------
    run
        A run that has come to its end.
    name
        Such as ``nuclei``; the network is then called ``model/nuclei``.
    sample
        Id of the validation image that comes with it.
    origin
        The images of which it was made.
    root
        Where the networks of all models lie.

    Returns
    -------
    Path
        The folder of the trained network; one that is there is replaced.

    Raises
    ------
    UserError
        The run has not come to its end, has no such image, or its network is too large.
    """
    if run.unfinished:
        raise UserError(run.unfinished)
    pairs = {pair.id: pair for pair in run.held_out()}
    if sample not in pairs:
        raise UserError(f"{run.path} has no validation image {sample}: choose from {', '.join(pairs)}.")
    pair, target = pairs[sample], root / run.recipe.model / name
    with temporary_folder() as folder:
        new = Run(folder / name)
        new.path.mkdir()
        _write_half_precision(run.model_path, new.model_path)
        if new.model_path.stat().st_size > LARGEST:
            raise UserError(f"{run.path}: the network takes more than {LARGEST:,} bytes: train a narrower one.")
        files = {"image": pair.image, "mask": pair.mask}
        kept = {kind: f"sample_{kind}{path.suffix}" for kind, path in files.items() if path is not None}
        for kind, file in kept.items():
            shutil.copyfile(files[kind], new.path / file)
        seen = [{"id": entry.id, "image": Path(entry.image).name, "sha256": entry.sha256} for entry in run.split.train]
        known = kept | ({} if pair.category is None else {"class": pair.category})
        new.write("split", {"train": seen, "validation": [{"id": pair.id, **known}]})
        (new.path / "config.yaml").write_text(yaml.safe_dump(_configuration(run), sort_keys=False), encoding="utf-8")
        new.write("recipe", run.recipe.model_dump(mode="json"))
        machine = run.environment.as_json()
        new.write(
            "environment",
            {key: value for key, value in machine.items() if key not in ("command", "started", "platform")},
        )
        record = run.record.as_json()
        new.write("record", {key: value for key, value in record.items() if key != "validation"})
        objects = survey(run.config.data).objects
        measured = origin.model_copy(update={"diameter": round(objects.diameter, 1)}) if objects else origin
        new.update_record(origin=measured.as_json())
        shutil.copyfile(run.history_path, new.history_path)
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(new.path, target)
    return target


def _configuration(run: Run) -> dict[str, Any]:
    """The configuration with the names of its files and folders only."""
    content = run.config.model_dump(mode="json", exclude_unset=True)
    for key in ("images", "masks", "folder", "table"):
        if content["data"].get(key):
            content["data"][key] = Path(content["data"][key]).name
    if content["model"].get("weights") != "imagenet":
        content["model"]["weights"] = None  # it has its own
    return content


def _write_half_precision(source: Path, target: Path) -> None:
    """A ``.keras`` file whose weights take half the place; Keras reads them into float32."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith(".h5"):
                content = _half(content)
            new.writestr(zipfile.ZipInfo(entry.filename), content, zipfile.ZIP_DEFLATED)


def _half(content: bytes) -> bytes:
    with temporary_folder() as folder:
        path = folder / "weights.h5"
        path.write_bytes(content)
        with h5py.File(path) as old, h5py.File(folder / "half.h5", "w") as new:
            _copy(old, new)
        return (folder / "half.h5").read_bytes()


def _copy(old: h5py.Group, new: h5py.Group) -> None:
    new.attrs.update(old.attrs)
    for name, item in old.items():
        if isinstance(item, h5py.Group):
            _copy(item, new.create_group(name))
            continue
        array = np.asarray(item)
        if array.dtype == np.float32:
            half = array.astype(np.float16)
            array = half if np.isfinite(half).all() else array
        new.create_dataset(name, data=array).attrs.update(item.attrs)
