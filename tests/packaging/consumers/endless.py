"""An ONNX graph without an end."""

from onnx import TensorProto, helper


def counting_for_ever():
    """Nodes from ``raw`` to ``probability``, between them a loop whose condition stays true."""
    scalars = [("n", TensorProto.INT64), ("go", TensorProto.BOOL), ("x", 1), ("still", TensorProto.BOOL), ("y", 1)]
    ends = [helper.make_tensor_value_info(name, kind, []) for name, kind in scalars]
    copies = [helper.make_node("Identity", [a], [b]) for a, b in (("go", "still"), ("x", "y"))]
    body = helper.make_graph(copies, "body", ends[:3], ends[3:])
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    zero = helper.make_node("Constant", [], ["zero"], value=helper.make_tensor("zero", 1, [], [0]))
    loop = helper.make_node("Loop", ["", "yes", "zero"], ["end"], body=body)
    add = helper.make_node("Add", ["raw", "end"], ["probability"])
    return [yes, zero, loop, add]
