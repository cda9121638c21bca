"""The receptive radius read from a graph is the one that is seen when ONNX Runtime runs it."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from bmzpack.bundle.protobuf import read_onnx
from bmzpack.measure.receptive_field import receptive_radius

SIZE, MIDDLE = 576, 288


class Builder:
    """A graph of one channel whose weights are all positive, so that nothing cancels."""

    def __init__(self):
        self.nodes, self.weights, self.count = [], [], 0

    def step(self, operation, *names, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(operation, list(names), [f"t{self.count}"], **attributes))
        return f"t{self.count}"

    def weight(self, values):
        array = np.asarray(values, np.float32)
        name = f"w{len(self.weights)}"
        self.weights.append(onnx.numpy_helper.from_array(array, name))
        return name

    def convolution(self, name, window, **attributes):
        height, width = window
        kernel = self.weight(np.full((1, 1, height, width), 1 / (height * width)))
        return self.step("Conv", name, kernel, kernel_shape=list(window), **attributes)

    def transposed(self, name, window, stride, **attributes):
        kernel = self.weight(np.full((1, 1, window, window), 1 / window**2))
        return self.step("ConvTranspose", name, kernel, kernel_shape=[window] * 2, strides=[stride] * 2, **attributes)

    def resized(self, name, factor, mode):
        scales = self.weight([1.0, 1.0, factor, factor])
        how = "half_pixel" if mode == "linear" else "asymmetric"
        nearest = {"nearest_mode": "floor"} if mode == "nearest" else {}
        return self.step("Resize", name, "", scales, mode=mode, coordinate_transformation_mode=how, **nearest)

    def finished(self, name):
        nodes = [*self.nodes, helper.make_node("Identity", [name], ["out"])]
        ends = [[helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, 1, None, None])] for end in ("in", "out")]
        graph = helper.make_graph(nodes, "graph", *ends, initializer=self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
        return model.SerializeToString()


def seen(content, axis):
    """How far a change of one half of the image reaches into the other, on both sides."""
    session = onnxruntime.InferenceSession(content)
    rims = []
    for half in (slice(0, MIDDLE), slice(MIDDLE, SIZE)):
        image = np.zeros((1, 1, SIZE, SIZE), np.float32)
        place = [slice(None)] * 4
        place[axis] = half
        image[tuple(place)] = 1e6
        [found] = session.run(None, {"in": image})
        if found.shape != image.shape:
            return None
        changed = np.flatnonzero(np.abs(found).max(tuple({0, 1, 2, 3} - {axis})) > 1e-6)
        rims.append(changed.max() - MIDDLE + 1 if half.start == 0 else MIDDLE - changed.min())
    return max(0, *rims)


@st.composite
def networks(draw):
    """Encoders and decoders with a skip connection, of windows that need not be square."""
    build = Builder()
    window = st.sampled_from([(1, 1), (3, 3), (3, 5), (2, 3), (7, 1)])
    pads = st.sampled_from(["SAME_UPPER", "SAME_LOWER"])

    def block(name):
        height, width = draw(window)
        dilation = draw(st.sampled_from([1, 1, 2, 3]))
        if dilation == 1:
            name = build.convolution(name, (height, width), auto_pad=draw(pads))
        else:
            # ONNX Runtime does not dilate with automatic padding
            around = [dilation * (size - 1) // 2 for size in (height, width)]
            rest = [
                dilation * (size - 1) - size_before for size, size_before in zip((height, width), around, strict=True)
            ]
            name = build.convolution(name, (height, width), dilations=[dilation] * 2, pads=[*around, *rest])
        return build.step("Relu", name)

    skip = name = block("in")
    factors = draw(st.lists(st.sampled_from([2, 2, 3, 4]), max_size=2))
    for factor in factors:
        match draw(st.sampled_from(["MaxPool", "AveragePool", "Conv"])):
            case "Conv":
                name = build.convolution(name, (3, 3), auto_pad="SAME_UPPER", strides=[factor] * 2)
            case pool:
                name = build.step(pool, name, kernel_shape=[factor] * 2, strides=[factor] * 2)
        name = block(name)
    for factor in reversed(factors):
        match draw(st.sampled_from(["nearest", "linear", "transposed", "overlapping"])):
            case "transposed":
                name = build.transposed(name, factor, factor)
            case "overlapping":
                name = build.transposed(name, factor + 2, factor, pads=[1, 1, 1, 1])
            case mode:
                name = build.resized(name, float(factor), mode)
        name = block(name)
    return build.finished(build.step("Add", name, skip) if draw(st.booleans()) else name)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(networks(), st.sampled_from([-1, -2]))
def test_as_seen(content, place):
    assert receptive_radius(read_onnx(content), "out", place) == seen(content, 4 + place)


@pytest.mark.parametrize("operation", ["GlobalAveragePool", "InstanceNormalization", "valid"])
def test_unknown(operation):
    """The whole image is seen, or the output is smaller than the input: there is nothing to say about a halo."""
    build = Builder()
    if operation == "valid":
        name = build.convolution("in", (3, 3))
    elif operation == "GlobalAveragePool":
        name = build.step("Mul", "in", build.step(operation, "in"))
    else:
        name = build.step(operation, "in", build.weight([1.0]), build.weight([0.0]))
    assert receptive_radius(read_onnx(build.finished(name)), "out", -1) is None
