"""Every figure of the lecture draws, at a readable size, and has something on it."""

import io

import numpy as np
import pytest
from PIL import Image

from kerazoo.course import (
    activations,
    augmentation,
    backpropagation,
    convolution,
    neuron,
    normalisation,
    optimisation,
    results,
    splitting,
)
from kerazoo.examples.synthetic import nuclei
from kerazoo.models.neurons.mlp import mlp
from kerazoo.reports.figures import RESOLUTION

NUCLEI, LABELS = nuclei(1, 96)[0][..., None], nuclei(1, 96)[1]
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
    "filters": lambda: convolution.draw_filters(NUCLEI),
    "backpropagation": lambda: backpropagation.draw_step(
        backpropagation.backpropagate(backpropagation.WEIGHTS, [1, 1], 0)
    ),
    "answers": lambda: backpropagation.draw_answers(mlp(), neuron.PROBLEMS["XOR"]),
    "explicit programming": lambda: results.draw_classical(NUCLEI),
    "objects": lambda: results.draw_objects(NUCLEI[..., 0], {"annotation": LABELS, "nothing": 0 * LABELS}),
    "decoding": lambda: results.draw_decoding(NUCLEI, np.eye(3)[(LABELS > 0).astype(int)], LABELS),
    "classes": lambda: results.draw_classes(NUCLEI, {"map": (LABELS > 0)[::8, ::8].astype(int)}, ["glass", "nuclei"]),
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
