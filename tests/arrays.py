"""Networks with one output in tests: its array in place of a dict of arrays."""

import numpy as np

from kerazoo.models import registry
from kerazoo.models.recipe import Recipe


def only(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """The array of the only output."""
    (array,) = outputs.values()
    return array


def decode(output: np.ndarray, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The result of the only output."""
    return registry.decode({"output": output}, recipe, shape)
