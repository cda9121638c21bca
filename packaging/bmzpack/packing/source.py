"""The ``.keras`` file of a model, also of one in memory."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bmzpack.errors import UserError

if TYPE_CHECKING:
    import keras


@contextlib.contextmanager
def model_file(model: keras.Model | str | os.PathLike[str]) -> Iterator[Path]:
    """The ``.keras`` file of a model; of one in memory a temporary one."""
    if isinstance(model, str | os.PathLike):
        yield Path(model)
        return
    with tempfile.TemporaryDirectory(prefix="bmzpack-") as scratch:
        path = Path(scratch, f"{model.name}.keras")
        _network_of(model).save(path)
        try:
            yield path
        except UserError as error:
            raise UserError(str(error).replace(str(path), f"the model {model.name}")) from error


def _network_of(model: keras.Model) -> keras.Model:
    """The network of a model whose class adds to training only, such as a `train_step` of its own."""
    import keras

    from bmzpack.measure.keras_graph import is_built_of_layers

    if not is_built_of_layers(model) or type(model).__module__.split(".")[0] == "keras":
        return model
    return keras.Model(model.inputs, model.outputs, name=model.name)
