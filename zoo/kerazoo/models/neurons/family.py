"""The perceptron and the multilayer perceptron as a family: for vectors of measurements, trained in Python."""

from __future__ import annotations

from kerazoo.models.family import Family
from kerazoo.models.neurons.about import MODELS


class Neurons(Family):
    """Networks that take one vector of measurements; no command trains them."""

    name = "neurons"
    models = MODELS
