"""The model that is packed: loaded so that it computes in float32 and exports well, and what formats are made from."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from bmzpack.engines import TensorNames
from bmzpack.errors import UserError
from bmzpack.measure.keras_graph import all_layers

if TYPE_CHECKING:
    from bmzpack.weights.frozen import Frozen


class Network:
    """A model in the process that writes it.

    Parameters
    ----------
    model
        Computes in float32.
    names
        Tensor ids.
    labels
        A function that makes labels of the output, see `bmzpack.operations.labels.LabelsPostprocessing.in_graph`.
    """

    def __init__(self, model: keras.Model, names: TensorNames, labels: Mapping[str, Any] | None = None) -> None:
        self.model = model
        self.names = names
        self.labels = labels

    @functools.cached_property
    def frozen(self) -> Frozen:
        """The TensorFlow graph, which ends in labels where there is a function that makes them."""
        from bmzpack.weights.frozen import freeze, freeze_with_labels

        if self.labels:
            return freeze_with_labels(self.model, self.names.inputs[0], self.labels)
        return freeze(self.model, self.names.inputs)


def load(path: Path) -> keras.Model:
    """Load a ``.keras`` file without what only training needs, computing in float32.

    Raises
    ------
    UserError
        The file cannot be loaded, or an output is not float32.
    """
    try:
        model: Any = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise UserError(f"{path} cannot be loaded by Keras {keras.__version__}: {one_line(error)}") from error
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs, model.outputs, name=model.name)
    if any(layer.compute_dtype != "float32" for layer in all_layers(model)):
        weights = model.get_weights()
        model = keras.saving.deserialize_keras_object(_single_precision(keras.saving.serialize_keras_object(model)))
        model.set_weights(weights)
    for name, tensor in zip(model.output_names, model.outputs, strict=True):
        if tensor.dtype != "float32":
            raise UserError(
                f"{path}: the output {name!r} is {tensor.dtype}, but Fiji, ilastik and QuPath read float32: "
                "end the model with a cast to float32."
            )
    return model


def _single_precision(item: Any) -> Any:
    if isinstance(item, dict):
        if item.get("class_name") == "DTypePolicy":
            return item | {"config": {"name": "float32"}}
        return {key: _single_precision(value) for key, value in item.items()}
    if isinstance(item, (list, tuple)):
        return type(item)(_single_precision(value) for value in item)
    return item


def one_line(error: Exception) -> str:
    """Kind and beginning of an error's message, which in Keras runs over many lines."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300].rstrip('.')}"
