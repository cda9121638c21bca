"""Every figure of the lecture draws, at a readable size, and has something on it."""

import io

import numpy as np
import pytest
from PIL import Image

from kerazoo.course import activations, augmentation, convolution, neuron, normalisation, optimisation, splitting
from kerazoo.data.synthetic import nuclei
from kerazoo.evaluation.figures import RESOLUTION

NUCLEI = nuclei(1, 96)[0][..., None]
AND, XOR = (neuron.learn(neuron.POINTS, neuron.PROBLEMS[name], epochs=20) for name in ("AND", "XOR"))
FIGURES = {
    "table": lambda: neuron.draw_table(AND),
    "lines": lambda: neuron.draw_lines(AND),
    "lines of five": lambda: neuron.draw_lines(AND, iterations=5),
    "cycle": lambda: neuron.draw_cycle(XOR),
    "no cycle": lambda: neuron.draw_cycle(AND),
    "activations": activations.draw_activations,
    "softmax": lambda: activations.draw_softmax(np.array([2.0, 0.5, -1.0]), ["Epithelium", "Stroma", "Background"]),
    "convolution": convolution.draw_convolution,
    "edge filter": lambda: convolution.draw_convolution(kernel=np.array([[-1, 0, 1]]), padding=0, place=(2, 0)),
    "descent": lambda: optimisation.draw_descent(optimisation.some_cells(), steps=10),
    "normalisation": lambda: normalisation.draw_normalisation(NUCLEI),
    "division": lambda: splitting.draw_division(30, splitting.divide(30)),
    "curves": lambda: splitting.draw_curves(splitting.Curves(np.linspace(1, 0.1, 20), np.linspace(1, 0.4, 20))),
    "augmentation": lambda: augmentation.draw_augmentation(NUCLEI, augmentation.augment(NUCLEI, number=5)),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure(name):
    file = io.BytesIO()
    FIGURES[name]().savefig(file, dpi=RESOLUTION)
    picture = np.asarray(Image.open(file).convert("L"))
    assert 150 < picture.shape[0] < 1600
    assert 250 < picture.shape[1] < 1800
    marked = (picture < 200).mean()
    assert 0.005 < marked < 0.95
