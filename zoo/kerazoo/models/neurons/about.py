"""The perceptron and the multilayer perceptron: what the registry, cards, bundles and reports say."""

from __future__ import annotations

from kerazoo.models.entry import Card, Model

_PERCEPTRON = """\
import numpy as np
import kerazoo

x, y = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], "float32"), np.array([0, 1, 1, 1])
model = kerazoo.create_model("perceptron", features=2)
model.fit(x, y, batch_size=1, shuffle=False, epochs=10, verbose=0)
model.predict(x, verbose=0)"""
_MLP = """\
import numpy as np
import keras
import kerazoo

x, y = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], "float32"), np.array([0, 1, 1, 0])
keras.utils.set_random_seed(1)
model = kerazoo.create_model("mlp", features=2, classes=2)
model.compile(keras.optimizers.Adam(0.1), "sparse_categorical_crossentropy")
model.fit(x, y, epochs=50, verbose=0)
model.predict(x, verbose=0).argmax(axis=1)"""

MODELS = (
    Model(
        name="perceptron",
        title="Perceptron",
        task="measurements",
        builder="kerazoo.models.neurons.perceptron:perceptron",
        parameters=3,
        paper="Rosenblatt 1958",
        citation="Rosenblatt (1958), The Perceptron: A Probabilistic Model for Information Storage and Organization in "
        "the Brain",
        doi="10.1037/h0042519",
        purpose="One artificial neuron with a step function and Rosenblatt's learning rule: the first system of the "
        "lecture, for teaching.",
        limits=(
            "It separates classes by one straight line (a plane with more measurements); XOR is never learned.",
            "Its answer is 0 or 1, without any probability.",
        ),
        output="activation",
        card=Card(output="0 or 1.", program=_PERCEPTRON),
    ),
    Model(
        name="mlp",
        title="Multilayer perceptron",
        task="measurements",
        builder="kerazoo.models.neurons.mlp:mlp",
        parameters=114,
        paper="Rumelhart et al. 1986",
        citation="Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors",
        doi="10.1038/323533a0",
        purpose="Two hidden layers trained by backpropagation: solves what one neuron cannot, and classifies tables of "
        "measurements.",
        limits=(
            "It takes numbers that were measured before, not images; features on different scales should be "
            "standardised first.",
        ),
        card=Card(program=_MLP),
    ),
)
