"""How far a network looks, read from its ONNX graph.

All that lies on one side of a border is followed through the graph along one axis, as a mask. How far it gets beyond
the border is the rim of a tile that differs from the whole image (as `bmzpack.geometry` does it for Keras networks).
"""

from __future__ import annotations

import numpy as np

from bmzpack.contract.wire import Node, OnnxFile

BORDER = 2304
"""Pixels: a multiple of most networks' steps."""
MOST_NODES, LARGEST, LONGEST = 5000, 64, 8 * BORDER
"""Steps, windows and sizes up to which a graph is followed."""

# fmt: off
POINTWISE = {
    "Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Div", "Dropout", "Elu", "Erf", "Exp",
    "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "LogSoftmax", "Max", "Mean", "Min",
    "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Reshape", "Round", "Selu", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "ThresholdedRelu", "Transpose", "Unsqueeze",
    "Where",
}
# fmt: on
"""Operations that look at no neighbours, as networks on images use them."""
POOLS = {"AveragePool", "LpPool", "MaxPool"}


def receptive_radius(file: OnnxFile, output: str, place: int) -> int | None:
    """Pixels that an output looks beyond a tile, or None where that is not known.

    Parameters
    ----------
    file
        What the ONNX file says.
    output
        Name of the output.
    place
        Of the axis, counted from the last of the spatial ones: -1 for x, -2 for y, -3 for z.

    Returns
    -------
    int | None
        The larger one of both sides. None where the output has another size than the input, where every pixel depends
        on the whole image, and where the graph has operations that are not followed.
    """
    before = np.arange(2 * BORDER) < BORDER
    left, right = (_followed(file, output, zone, place) for zone in (before, ~before))
    if left is None or right is None or len(left) != len(before) or left.all() or right.all():
        return None
    return max(int(left[BORDER:].sum()), int(right[:BORDER].sum()))


def _followed(file: OnnxFile, output: str, zone: np.ndarray, place: int) -> np.ndarray | None:
    """What a zone of the inputs reaches in an output."""
    if len(file.nodes) > MOST_NODES:
        return None
    reached: dict[str, np.ndarray | None] = dict.fromkeys(file.inputs, zone)
    # sizes that the graph computes from those of its tensors
    sizes: dict[str, int] = {}
    for node in file.nodes:
        given = [reached[name] for name in node.inputs if name in reached]
        try:
            if given and node.operation != "Shape":
                reached |= dict.fromkeys(node.outputs, _passed(node, given, file, sizes, place))
            else:
                sizes |= _computed(node, given, file, sizes)
        except (IndexError, KeyError, TypeError, ValueError):  # attributes of other numbers and types than ONNX has
            reached |= dict.fromkeys(node.outputs)
    return reached.get(output)


def _computed(node: Node, given: list[np.ndarray | None], file: OnnxFile, sizes: dict[str, int]) -> dict[str, int]:
    """The size that is the result of a step, by its name."""
    found = {sizes[name] for name in node.inputs if name in sizes}
    if node.operation == "Shape" and given and given[0] is not None:
        size = len(given[0])
    elif node.operation in ("Cast", "Concat", "Gather", "Identity", "Slice", "Squeeze", "Unsqueeze") and found:
        # of the axes that are put together some are not resized
        size = max(found)
    elif node.operation == "Mul" and len(found) == 1:
        factors = {factor for name in node.inputs for factor in file.constants.get(name, ())}
        if len(factors) != 1:
            return {}
        size = int(found.pop() * factors.pop())
    else:
        return {}
    return dict.fromkeys(node.outputs, size)


def _passed(
    node: Node, given: list[np.ndarray | None], file: OnnxFile, sizes: dict[str, int], place: int
) -> np.ndarray | None:
    mask = _joined(given)
    if mask is None or node.operation in POINTWISE:
        return mask
    if node.operation.startswith("Reduce") and node.attributes.get("axes") == (1,):
        # over the channels
        return mask
    if node.operation == "Conv" or node.operation in POOLS:
        return _convolved(mask, node, place)
    if node.operation == "ConvTranspose":
        return _transposed(mask, node, place)
    if node.operation in ("Resize", "Upsample"):
        return _resized(mask, node, file, sizes, place)
    if node.operation == "Pad":
        pads = node.attributes.get("pads") or file.constants[node.inputs[1]]
        before, after = int(pads[len(pads) // 2 + place]), int(pads[place])
        return np.pad(mask, (before, after)) if max(before, after) <= LARGEST else None
    if node.operation == "DepthToSpace":
        size = _attribute(node, "blocksize", place, 0)
        return np.repeat(mask, size) if len(mask) * size <= LONGEST else None
    if node.operation == "SpaceToDepth":
        return mask.reshape(-1, _attribute(node, "blocksize", place, 0)).max(1)
    return None


def _joined(masks: list[np.ndarray | None]) -> np.ndarray | None:
    known = [mask for mask in masks if mask is not None]
    if not known or len(known) < len(masks) or len({len(mask) for mask in known}) > 1:
        return None
    return np.max(known, axis=0)


def _attribute(node: Node, name: str, place: int, default: int) -> int:
    """The value for an axis: some have one for each, some one for all."""
    values = node.attributes.get(name) or (default,)
    if isinstance(values, str):
        raise TypeError
    return values[place if len(values) > 1 else 0]


def _window(node: Node, place: int, length: int, stride: int, whole: int) -> tuple[np.ndarray, int, int]:
    """Offsets of a window, and what is padded before and after.

    ``length`` is the size that is padded, ``whole`` that of the other side with padding for the same size.
    """
    window, dilation = _attribute(node, "kernel_shape", place, 0), _attribute(node, "dilations", place, 1)
    reach = dilation * (window - 1) + 1
    if not (0 < window <= LARGEST and 0 < stride <= LARGEST and 0 < reach <= BORDER):
        raise ValueError
    pads, automatic = node.attributes.get("pads"), str(node.attributes.get("auto_pad", "NOTSET"))
    if automatic.startswith("SAME"):
        total = max(0, (whole - 1) * stride + reach - length)
        small = total // 2
        before, after = (small, total - small) if automatic == "SAME_UPPER" else (total - small, small)
    elif isinstance(pads, tuple) and len(pads) % 2 == 0:
        before, after = pads[len(pads) // 2 + place], pads[place]
    else:
        before = after = 0
    if before < 0 or after < 0 or max(before, after) > BORDER:
        raise ValueError
    return dilation * np.arange(window), before, after


def _convolved(mask: np.ndarray, node: Node, place: int) -> np.ndarray:
    stride = _attribute(node, "strides", place, 1)
    offsets, before, after = _window(node, place, len(mask), stride, -(-len(mask) // max(1, stride)))
    padded = np.pad(mask, (before, after))
    if _attribute(node, "ceil_mode", place, 0):
        padded = np.pad(padded, (0, (offsets[-1] + 1 - len(padded)) % stride))
    count = (len(padded) - offsets[-1] - 1) // stride + 1
    return np.max([padded[offset : offset + stride * (count - 1) + 1 : stride] for offset in offsets], axis=0)


def _transposed(mask: np.ndarray, node: Node, place: int) -> np.ndarray:
    stride, more = _attribute(node, "strides", place, 1), _attribute(node, "output_padding", place, 0)
    offsets, before, after = _window(node, place, len(mask) * stride - more, stride, len(mask))
    if not 0 <= more <= LARGEST or len(mask) * stride > LONGEST:
        raise ValueError
    found = np.zeros(stride * (len(mask) - 1) + offsets[-1] + 1 + more, bool)
    for offset in offsets:
        found[offset : offset + stride * (len(mask) - 1) + 1 : stride] |= mask
    return found[before : len(found) - after]


def _resized(mask: np.ndarray, node: Node, file: OnnxFile, sizes: dict[str, int], place: int) -> np.ndarray | None:
    scales = next((file.constants[name] for name in node.inputs[1:3] if file.constants.get(name)), ())
    size = next((sizes[name] for name in node.inputs if name in sizes), 0)
    factor = scales[place] if len(scales) > -place else size / len(mask)
    mode = node.attributes.get("mode", "nearest")
    if factor != int(factor) or not 1 <= factor <= LONGEST / len(mask) or mode not in ("nearest", "linear"):
        return None
    if mode == "nearest" or factor == 1:
        return np.repeat(mask, int(factor))
    source = (np.arange(len(mask) * int(factor)) + 0.5) / factor - 0.5
    low, high = np.clip([np.floor(source), np.ceil(source)], 0, len(mask) - 1).astype(int)
    return mask[low] | mask[high]
