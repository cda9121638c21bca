"""A weights format in one file: networks of one 1 x 1 convolution as a zip of their two arrays, and an engine of NumPy.

It takes the name of a format of the specification that bmzpack does not write, as bioimageio.spec refuses others.
"""

import numpy as np

NAME = "tensorflow_js"


def write(network, path):
    """Write the kernel and the bias."""
    kernel, bias = network.model.layers[-1].get_weights()
    with path.open("wb") as file:
        np.savez(file, kernel=kernel[0, 0], bias=bias)
    return {"tensorflow_version": "2.20.0"}


def load(job, inputs, outputs):
    """The convolution in NumPy."""
    with np.load(job["weights"]) as stored:
        kernel, bias = stored["kernel"], stored["bias"]
    return lambda tensors: [tensors[inputs[0]] @ kernel + bias]


def refusal(contents, path, trust):
    """Arrays only compute."""
    return None


def register():
    """The line that a format and an engine have in their registries."""
    from bmzpack.engines import ENGINES, Engine
    from bmzpack.weights import FORMATS, Format

    ENGINES["toy"] = Engine("toy", "Toy (NumPy)", load)
    FORMATS[NAME] = Format(NAME, "weights.npz.zip", "toy", refusal, write, engine="toy")
