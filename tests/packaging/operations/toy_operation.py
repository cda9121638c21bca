"""An operation in one file: the logistic function, as if Fiji and QuPath lacked it.

It takes the place of one of bmzpack, as bioimageio.spec refuses names that the specification does not have.
"""

import numpy as np

from bmzpack.operations.operation import Operation


class ToySigmoid(Operation):
    """Logistic function of each value."""

    id = "sigmoid"

    def forward(self, image, axes):
        """The function in NumPy."""
        return 1 / (1 + np.exp(-np.asarray(image, np.float64)))


class ToySigmoidInGraph(ToySigmoid):
    """The same, put into the network."""

    needs_graph = True
    has_layer = True

    def layer(self, axes, name):
        """The layer of Keras."""
        import keras

        return keras.layers.Activation("sigmoid", name=name)


def register(operation):
    """The line that an operation has in its registry; Fiji and QuPath lack what their files do not name."""
    from bmzpack.consumers import fiji, qupath
    from bmzpack.consumers.jdll.processing import ARGUMENTS
    from bmzpack.operations.registry import OPERATIONS

    OPERATIONS[operation.id] = operation
    ARGUMENTS.pop(operation.id, None)
    for program in (fiji, qupath):
        program.OPERATIONS.discard(operation.id)
