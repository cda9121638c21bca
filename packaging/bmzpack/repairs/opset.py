"""ONNX files of newer opsets, in the operators of an older one.

`onnx.version_converter` does most of it. It has no way back for some operators of image networks: those that the older
opset has too are passed by it as they are, and those that are made of others are written out.
"""

from __future__ import annotations

import onnx
from onnx import defs, helper, inliner, shape_inference, version_converter

PASSED = {"ConstantOfShape", "Pad", "Split"}
"""Changed since opset 17 in what they take besides, not in what they compute."""
HIDDEN = "bmzpack.hidden"


def lowered(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Write a model in an older opset.

    Parameters
    ----------
    model
        A model of any newer opset; it is changed.
    opset
        The older one.

    Raises
    ------
    RuntimeError, onnx.version_converter.ConvertError
        An operator cannot be written in it. One that was passed and cannot be run is found out when the model is run.
    """
    used = {node.op_type for node in model.graph.node if node.domain in ("", "ai.onnx")}
    if newer := sorted(name for name in used if not _exists(name, opset)):
        model = _written_out(model, newer)
    for node in model.graph.node:
        if node.op_type in PASSED and node.domain in ("", "ai.onnx"):
            node.domain = HIDDEN  # the converter leaves the operators of others as they are
    model.opset_import.append(helper.make_opsetid(HIDDEN, 1))
    model = version_converter.convert_version(model, opset)
    for node in model.graph.node:
        if node.domain == HIDDEN:
            node.domain = ""
            kept = [attribute for attribute in node.attribute if attribute.name != "num_outputs"]  # of Split
            del node.attribute[:]
            node.attribute.extend(kept)
    domains = [entry for entry in model.opset_import if entry.domain != HIDDEN]
    del model.opset_import[:]
    model.opset_import.extend(domains)
    return model


def _exists(name: str, opset: int) -> bool:
    try:
        defs.get_schema(name, opset)
    except defs.SchemaError:
        return False
    return True


def _written_out(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The operators of these names as the simpler ones that they are made of."""
    known = {value.name for value in [*model.graph.input, *model.graph.value_info]}
    model.graph.value_info.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in model.graph.initializer
        if tensor.name not in known
    )
    typed = shape_inference.infer_shapes(model)  # which of the forms is written out depends on the types
    return inliner.inline_selected_functions(typed, [("", name) for name in names], inline_schema_functions=True)
