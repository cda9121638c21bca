"""From a TensorFlow graph to an ONNX file, with tf2onnx: fast, repeatable, and named by tensor ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
import tf2onnx.optimizer

from bmzpack.engines import TensorNames
from bmzpack.measure.keras_graph import all_layers
from bmzpack.weights.frozen import Frozen

Handlers = dict[str, tuple[Any, list[Any]]]
"""By operation of TensorFlow: what writes it, in place of tf2onnx' own."""


def convert(frozen: Frozen, path: Path, names: TensorNames, opset: int, handlers: Handlers | None = None) -> None:
    """Write a graph whose ends are in the order of ``names``.

    Parameters
    ----------
    frozen
        The graph.
    path
        The file.
    names
        Tensor ids.
    opset
        Version of the operators.
    handlers
        From `handlers_for`, where the graph is that of a network of Keras.
    """
    inputs = [tensor.name for tensor in frozen.inputs]
    outputs = [tensor.name for tensor in frozen.outputs]
    with frozen.graph.as_default():
        converted = tf2onnx.tfonnx.process_tf_graph(
            frozen.graph,
            opset=opset,
            input_names=inputs,
            output_names=outputs,
            tensors_to_rename=dict(zip([*inputs, *outputs], [*names.inputs, *names.outputs], strict=True)),
            custom_op_handlers=handlers or _HANDLERS,
        )
        exported = _optimised(converted).make_model("", graph_name="model")
    _canonicalise(exported.graph)
    for tensor in [*exported.graph.input, *exported.graph.output]:
        _name_sizes(tensor)
    onnx.checker.check_model(exported)
    path.write_bytes(exported.SerializeToString(deterministic=True))


def _optimised(graph: Any) -> Any:
    """Run the optimisers of tf2onnx until nothing changes.

    Its own loop copies all weights for every optimiser and every round: 20 of 30 s for a network of 31 million. It
    takes out identities in every round, and where that leaves a reshape as an output, the next round breaks it. And
    what becomes of a graph depends on the order of its nodes, which is that of a Python set.
    """
    factories = dict(tf2onnx.optimizer._get_optimizers())
    last = factories.pop("remove_identity")
    changed = True
    while changed:
        changed = False
        for factory in factories.values():
            graph, has_changed = _apply(factory, graph)
            changed |= has_changed
    return _apply(last, graph)[0]


def _apply(factory: Any, graph: Any) -> tuple[Any, bool]:
    graph.reset_nodes(sorted(graph.get_nodes(), key=lambda node: node.name))
    optimiser = factory()
    graph = optimiser._optimize(graph)
    graph.delete_unused_nodes(graph.outputs)
    return graph, optimiser.graph_been_opt


def handlers_for(model: keras.Model) -> Handlers:
    """Handlers of operations that tf2onnx has not, or does not do well in a network of Keras."""
    handlers = dict(_HANDLERS)
    transposed = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.Conv2DTranspose)]
    if all(layer.output_padding is None and layer.data_format == "channels_last" for layer in transposed):
        handlers["Conv2DBackpropInput"] = (_transposed_convolution, [])
    return handlers


def _transposed_convolution(context: Any, node: Any, name: str, arguments: list[Any]) -> None:
    """A transposed convolution of Keras' own output size; tf2onnx pads and cuts it to a size computed at run time."""
    strides = node.get_attr("strides").ints[1:3]
    dilations = node.get_attr("dilations").ints[1:3] if "dilations" in node.attr else [1, 1]
    kernel_shape = context.get_shape(node.input[1])[:2]
    pads, output_padding = [0, 0, 0, 0], [0, 0]
    for axis, (stride, dilation, size) in enumerate(zip(strides, dilations, kernel_shape, strict=True)):
        window = (size - 1) * dilation + 1
        output_padding[axis] = max(stride - window, 0)
        if node.get_attr("padding").s == b"SAME":
            surplus = max(window - stride, 0)
            pads[axis], pads[axis + 2] = surplus // 2, surplus - surplus // 2
    image = context.make_node("Transpose", [node.input[2]], attr={"perm": [0, 3, 1, 2]})
    kernel = context.make_node("Transpose", [node.input[1]], attr={"perm": [3, 2, 0, 1]})
    shapes, types = node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    result = context.make_node(
        "ConvTranspose",
        [image.output[0], kernel.output[0], *node.input[3:]],  # tf2onnx has put the bias there
        attr={
            "strides": strides,
            "dilations": dilations,
            "kernel_shape": kernel_shape,
            "pads": pads,
            "output_padding": output_padding,
        },
        dtypes=types,
        shapes=[[shapes[0][position] for position in (0, 3, 1, 2)]],
    )
    context.make_node(
        "Transpose",
        [result.output[0]],
        attr={"perm": [0, 2, 3, 1]},
        outputs=node.output,
        name=node.name,
        shapes=shapes,
        dtypes=types,
    )


def _complementary_error_function(context: Any, node: Any, name: str, arguments: list[Any]) -> None:
    """ONNX has no Erfc, which Keras' gelu uses: 1 - Erf."""
    error = context.make_node("Erf", node.input)
    one = context.make_const(tf2onnx.utils.make_name("one"), tf.as_dtype(tf.float32).as_numpy_dtype(1))
    shapes, types = node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    context.make_node(
        "Sub", [one.output[0], error.output[0]], outputs=node.output, name=node.name, shapes=shapes, dtypes=types
    )


def _canonicalise(graph: onnx.GraphProto) -> None:
    """Order and name nodes and weights by their way to the outputs; tf2onnx follows the order of Python sets."""
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # control flow, which no layer for images has: its body refers to names outside
    weights = {tensor.name: tensor for tensor in graph.initializer}
    sources = {output: node for node in graph.node for output in node.output}
    names = {value.name: value.name for value in [*graph.input, *graph.output]} | {"": ""}
    ordered: list[onnx.NodeProto] = []
    kept: dict[tuple, str] = {}

    def name_weight(tensor: onnx.TensorProto) -> None:
        content = (tensor.data_type, *tensor.dims, onnx.numpy_helper.to_array(tensor).tobytes())
        names[tensor.name] = kept.setdefault(content, f"weight_{len(kept)}")

    pending = [sources[value.name] for value in reversed(graph.output)]
    placed: set[str] = set()
    while pending:
        node = pending[-1]
        before = [sources[name] for name in node.input if name in sources and sources[name].output[0] not in placed]
        if before:
            pending.extend(reversed(before))
            continue
        pending.pop()
        if node.output[0] in placed:
            continue
        placed.add(node.output[0])
        for name in node.input:
            if name in weights and name not in names:
                name_weight(weights[name])
        for number, name in enumerate(node.output):
            names.setdefault(name, f"{node.op_type}_{len(ordered)}" + (f"_{number}" if number else ""))
        renamed = onnx.NodeProto()
        renamed.CopyFrom(node)
        renamed.name = f"{node.op_type}_{len(ordered)}"
        renamed.input[:] = [names[name] for name in node.input]
        renamed.output[:] = [names[name] for name in node.output]
        ordered.append(renamed)
    stored = {names[name]: tensor for name, tensor in weights.items() if name in names}
    tensors = []
    for name in kept.values():
        tensors.append(onnx.TensorProto())
        tensors[-1].CopyFrom(stored[name])
        tensors[-1].name = name
    for field, values in (("node", ordered), ("initializer", tensors)):
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    graph.ClearField("value_info")


def _name_sizes(tensor: onnx.ValueInfoProto) -> None:
    axes = tensor.type.tensor_type.shape.dim
    names = ["batch", *"zyx"[5 - len(axes) :], "channel"] if 3 <= len(axes) <= 5 else []
    for position, axis in enumerate(axes):
        if not axis.HasField("dim_value"):
            name = names[position] if names else f"axis{position}"
            axis.dim_param = "batch" if position == 0 else f"{tensor.name}_{name}"


def _square(context: Any, node: Any, name: str, arguments: list[Any]) -> None:
    """A power, where tf2onnx writes the product of a tensor with itself.

    Where its optimisers take a transposition through both factors, they turn the recorded shape twice, and with sides
    of one pixel make a wrong reshape of it.
    """
    two = context.make_const(
        f"{node.name}_exponent", np.array(2, tf2onnx.utils.map_onnx_to_numpy_type(node.output_dtypes[0]))
    )
    shapes, types = node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    context.make_node(
        "Pow", [node.input[0], two.output[0]], name=node.name, outputs=node.output, shapes=shapes, dtypes=types
    )


def _sum_by_label(context: Any, node: Any, name: str, arguments: list[Any]) -> None:
    """Sums of single values added up where they belong; tf2onnx makes a table of all labels and all their values."""
    values, labels, count = node.input
    if context.get_rank(values) != 1 or context.opset < 16:
        tf2onnx.onnx_opset.reduction.SegmentSum.version_13(context, node)
        return
    shapes, types = node.output_shapes, node.output_dtypes
    context.remove_node(node.name)
    count = context.make_node("Cast", [count], attr={"to": onnx.TensorProto.INT64}).output[0]
    shape = context.make_node("Reshape", [count, context.make_const(f"{node.name}_one", np.array([1])).output[0]])
    zero = onnx.helper.make_tensor("value", types[0], [1], [0])
    sums = context.make_node("ConstantOfShape", shape.output, attr={"value": zero})
    context.make_node(
        "ScatterElements",
        [sums.output[0], labels, values],
        attr={"axis": 0, "reduction": "add"},
        name=node.name,
        outputs=node.output,
        shapes=shapes,
        dtypes=types,
    )


_HANDLERS: Handlers = {
    "Erfc": (_complementary_error_function, []),
    "Square": (_square, []),
    "UnsortedSegmentSum": (_sum_by_label, []),
}
