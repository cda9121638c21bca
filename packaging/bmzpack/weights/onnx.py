"""ONNX for the runtime inside Fiji: opset 15, IR version 8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import onnx
import tensorflow as tf
import tf2onnx
import tf2onnx.optimizer

from bmzpack.engines import TensorNames
from bmzpack.weights.frozen import frozen_graph

OPSET = 15


def write(model: keras.Model, path: Path, names: TensorNames) -> dict[str, str | int]:
    """Write ``path``, inputs and outputs named by tensor id, batch and unknown sizes open and named."""
    graph = frozen_graph(model, tuple(names.inputs), tuple(names.outputs))
    inputs = [tensor.name for tensor in graph.get_collection("inputs")]
    outputs = [tensor.name for tensor in graph.get_collection("outputs")]
    with graph.as_default():
        converted = tf2onnx.tfonnx.process_tf_graph(
            graph,
            opset=OPSET,
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=dict(zip([*inputs, *outputs], [*names.inputs, *names.outputs], strict=True)),
            custom_op_handlers={"Erfc": (_complementary_error_function, [])},
        )
        exported = _optimised(converted).make_model("", graph_name="model")
    for tensor in [*exported.graph.input, *exported.graph.output]:
        _name_sizes(tensor)
    onnx.checker.check_model(exported)
    path.write_bytes(exported.SerializeToString(deterministic=True))
    return {"opset_version": OPSET}


def _optimised(graph: Any) -> Any:
    """Run the optimisers of tf2onnx until nothing changes.

    Its own loop copies all weights for every optimiser and every round: 20 of 30 s for a network of 31 million.
    """
    changed = True
    while changed:
        changed = False
        for factory in tf2onnx.optimizer._get_optimizers().values():
            optimiser = factory()
            graph = optimiser._optimize(graph)
            graph.delete_unused_nodes(graph.outputs)
            changed |= optimiser.graph_been_opt
    return graph


def _complementary_error_function(context: Any, node: Any, name: str, arguments: list[Any]) -> None:
    """ONNX has no Erfc, which Keras' gelu uses: 1 - Erf."""
    error = context.make_node("Erf", node.input)
    one = context.make_const(tf2onnx.utils.make_name("one"), tf.as_dtype(tf.float32).as_numpy_dtype(1))
    shapes, types = node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    context.make_node(
        "Sub", [one.output[0], error.output[0]], outputs=node.output, name=node.name, shapes=shapes, dtypes=types
    )


def _name_sizes(tensor: onnx.ValueInfoProto) -> None:
    axes = tensor.type.tensor_type.shape.dim
    names = ["batch", *"zyx"[5 - len(axes) :], "channel"] if 3 <= len(axes) <= 5 else []
    for position, axis in enumerate(axes):
        if not axis.HasField("dim_value"):
            name = names[position] if names else f"axis{position}"
            axis.dim_param = "batch" if position == 0 else f"{tensor.name}_{name}"
