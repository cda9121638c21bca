"""The notebooks run as they are committed, without outputs, and show their figures."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "zoo" / "notebooks"
FIGURES = {
    "1_neuron_to_backpropagation": 8,
    "2_convolution_and_normalisation": 4,
    "3_classification_and_transfer_learning": 4,
    "4_from_unet_to_instances": 3,
    "5_publish_and_open_in_fiji": 1,
}
"""So many pictures are seen at least."""
LINES = 6
"""Most lines of code in a cell."""


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_there_are_five():
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(FIGURES)


@pytest.mark.parametrize("name", FIGURES)
def test_they_are_lessons(name):
    notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell for cell in code if cell.outputs or cell.execution_count]
    assert max(len(cell.source.splitlines()) for cell in code) <= LINES
    words = sum(len(cell.source.split()) for cell in notebook.cells if cell.cell_type == "markdown")
    assert words > 2 * sum(len(cell.source.split()) for cell in code)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


@pytest.mark.parametrize("name", FIGURES)
def test_they_run(name, tmp_path):
    notebook = read(name)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= FIGURES[name]
    said = "".join(output.text for output in outputs if output.get("name") == "stderr")
    assert "zoo/kerazoo" not in said
    assert "packaging/bmzpack" not in said
