"""The notebooks run as they are committed, without outputs, and show their figures."""

import asyncio
import csv
import io
import os
from base64 import b64decode
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from bmzpack.errors import UserError
from kerazoo.course.copy import FOLDER, copy_notebooks

FIGURES = {
    "1_neuron_to_backpropagation": 11,
    "2_convolution_and_normalisation": 5,
    "3_classification_and_transfer_learning": 6,
    "4_from_unet_to_instances": 7,
    "5_publish_and_open_in_fiji": 2,
}
"""So many pictures are seen."""
LINES = 6
"""Most lines of code in a cell."""


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Every notebook after it has run in a kernel of its own, two at a time, or what went wrong."""

    async def execute(name, free):
        notebook, folder = read(name), tmp_path_factory.mktemp("notebook")
        async with free:
            client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
            await client.async_execute(env={**os.environ, "TMPDIR": str(folder)})
        notebook.metadata["folder"] = str(folder)
        return notebook

    async def execute_all():
        free = asyncio.Semaphore(2)
        return await asyncio.gather(*(execute(name, free) for name in FIGURES), return_exceptions=True)

    return dict(zip(FIGURES, asyncio.run(execute_all()), strict=True))


def test_there_are_five_in_order():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == list(FIGURES)
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    places = [text.index(f"({name}.ipynb)") for name in FIGURES]
    assert places == sorted(places)


@pytest.mark.parametrize("name", FIGURES)
def test_they_are_lessons(name):
    notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert not [cell for cell in code if cell.outputs or cell.execution_count]
    assert max(len(cell.source.splitlines()) for cell in code) <= LINES
    assert not [cell for cell in code if "def " in cell.source or "!" in cell.source]
    assert [cell.id for cell in notebook.cells] == [f"cell-{n:02d}" for n in range(1, len(notebook.cells) + 1)]
    assert len(" ".join(texts).split()) > 2 * sum(len(cell.source.split()) for cell in code)
    assert texts[0].startswith(f"# {name[0]}. ")
    assert "**Take home**" in texts[-1]
    sections = [text for text in "\n".join(texts).split("\n## ")[1:] if not text.startswith("Into Fiji")]
    assert [section for section in sections if "**Question.**" not in section] == []


def test_the_lesson_on_transfer_shows_every_way_and_networks_of_others(executed):
    notebook = executed["3_classification_and_transfer_learning"]
    if isinstance(notebook, Exception):
        raise notebook
    text = "\n".join(cell.source for cell in notebook.cells)
    assert all(
        word in text for word in ("Cellpose", "BioImage Model Zoo", "guessing gets 0.5", "the same program drew")
    )
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    (table,) = [output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {})]
    assert "| 112 x 112 x 16 | bottleneck | 6 | 24 | 2 | 2 |" in table
    folder = Path(notebook.metadata["folder"])
    with next(folder.rglob("comparison.csv")).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["score"] == "balanced_accuracy"]
    assert [row["group"].rpartition(": ")[2] for row in rows] == ["from scratch", "initialise", "freeze", "all"]
    scratch, *transferred = (float(row["mean"]) for row in rows)
    assert abs(scratch - 0.5) < 0.1
    assert min(transferred) > scratch + 0.1


@pytest.mark.parametrize("name", FIGURES)
def test_they_run(executed, name):
    if isinstance(executed[name], Exception):
        raise executed[name]
    outputs = [output for cell in executed[name].cells for output in cell.get("outputs", [])]
    pictures = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == FIGURES[name]
    for picture in pictures:
        assert np.asarray(Image.open(io.BytesIO(b64decode(picture))).convert("L")).std() > 10
    said = "".join(output.text for output in outputs if output.get("name") == "stderr")
    assert "zoo/kerazoo" not in said
    assert "packaging/bmzpack" not in said
    assert "InitializeLog" not in said


def test_they_are_copied_and_a_changed_one_is_kept(tmp_path):
    copied = copy_notebooks(tmp_path / "lessons")
    assert [path.name for path in copied] == [*(f"{name}.ipynb" for name in FIGURES), "README.md"]
    copied[2].write_text("mine", encoding="utf-8")
    copied[0].unlink()
    with pytest.raises(UserError, match="exists already"):
        copy_notebooks(tmp_path / "lessons")
    assert copied[2].read_text(encoding="utf-8") == "mine"
    assert not copied[0].exists()
