"""Bundles of Cellpose that end in labels: by the zoo's operation, or by more operations in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerazoo.models.cellpose.decoding import (
    FLOW_ITERATIONS,
    cluster,
    fill_enclosed,
    integrate,
    logit,
    remove_inconsistent,
)
from kerazoo.models.exchange import LabelsEnding
from kerazoo.models.recipe import Recipe
from kerazoo.models.shared.packed import at_network_size, decoded_batch

CELLPOSE_MINIMUM = 15
"""Pixels of the smallest object by default, which the operation applies before its own minimum."""


def operation(recipe: Recipe) -> LabelsEnding:
    """The zoo's operation ``cellpose_flow_dynamics``, which takes outputs (batch, channel, y, x)."""
    decoding = at_network_size(recipe).decoding
    kwargs = {
        "cellprob_threshold": _finite_logit(decoding.threshold),
        "flow_threshold": decoding.flow_error,
        "do_3D": False,
        "min_size": max(decoding.minimum_size, 1),
        "output_dtype": "uint16",
    }

    def labels(output: np.ndarray) -> np.ndarray:
        found = [_as_cellpose(image.transpose(1, 2, 0), kwargs) for image in output]
        return np.stack(found)[:, None].astype(np.uint16)

    return LabelsEnding(labels, {"id": "cellpose_flow_dynamics", "kwargs": kwargs}, channels_first=True)


def labels_in_graph(recipe: Recipe) -> LabelsEnding:
    """TensorFlow operations that make cells of the output."""
    recipe = at_network_size(recipe)
    decoding = recipe.decoding
    arguments = {
        "threshold": _finite_logit(decoding.threshold),
        "flow_error": decoding.flow_error,
        "minimum_size": decoding.minimum_size,
        "iterations": FLOW_ITERATIONS,
    }
    return LabelsEnding(
        lambda output: decoded_batch(output, recipe, "float32"),
        function="kerazoo.models.cellpose.graph:find_flow_objects",
        torch_function="kerazoo.models.cellpose.torch_graph:find_flow_objects",
        arguments=arguments,
    )


def _finite_logit(probability: float) -> float:
    """Beyond what any network says for 0 and 1, of which a description cannot hold the logit."""
    return float(np.clip(logit(probability), -1000, 1000))


def _as_cellpose(output: np.ndarray, kwargs: dict[str, Any]) -> np.ndarray:
    """Labels in the order of steps of Cellpose 3, to the number: it finds small objects by their rank.

    Once an object has been removed for its flows, the labels have gaps, and others than the small ones are removed for
    being small (see `kerazoo.models.cellpose.decoding.find_flow_objects`).
    """
    inside = output[..., 2] > kwargs["cellprob_threshold"]
    labels = cluster(integrate(output, inside, FLOW_ITERATIONS), inside)
    if kwargs["flow_threshold"] > 0:
        labels = remove_inconsistent(labels, output, kwargs["flow_threshold"])
    for least in (CELLPOSE_MINIMUM, kwargs["min_size"]):
        labels = _without_small_ranks(fill_enclosed(_without_small_ranks(labels, least)), least)
    return labels


def _without_small_ranks(labels: np.ndarray, least: int) -> np.ndarray:
    values, areas = np.unique(labels[labels > 0], return_counts=True)
    table = np.zeros(labels.max() + 1, np.int32)
    kept = values[~np.isin(values, np.flatnonzero(areas < least) + 1)]
    table[kept] = np.arange(1, len(kept) + 1)
    return table[labels]
