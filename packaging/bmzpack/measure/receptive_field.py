"""Receptive field of a network, read from its ONNX graph.

All that lies on one side of a border is followed through the graph along one axis, as a mask. How far it gets beyond
the border is the rim of a tile that differs from the whole image (as `bmzpack.measure.geometry` does it for Keras
networks).

Networks of one size may cut their image into patches, which become a batch: every patch then has a mask of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from bmzpack.bundle.protobuf import Node, OnnxFile

BORDER = 2304
"""Pixels: a multiple of most networks' steps."""
MOST_NODES, LARGEST, LONGEST = 5000, 64, 8 * BORDER
"""Steps, windows and sizes up to which a graph is followed."""
LARGEST_TENSOR, MOST_WORK = 2**24, 2**27
"""Pixels, of all channels, of an image that is followed along all axes, and of all results together."""

# fmt: off
POINTWISE = {
    "Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Div", "Dropout", "Elu", "Erf", "Exp",
    "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "LogSoftmax", "Max", "Mean", "Min",
    "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Reshape", "Round", "Selu", "Sigmoid", "Softmax",
    "Softplus", "Softsign", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "ThresholdedRelu", "Transpose", "Unsqueeze",
    "Where",
}
# fmt: on
"""Operations on every pixel by itself, as networks on images use them."""
POOLS = {"AveragePool", "LpPool", "MaxPool"}


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What a zone of the image reaches in a tensor."""

    mask: np.ndarray
    """(patches, length) bool: along the axis, in every patch that the image was cut into."""
    full: np.ndarray | None = None
    """The same along all axes of the tensor, for a batch of one image, while that is known."""


def receptive_radius(file: OnnxFile, output: str, place: int, positions: tuple[int, int] | None = None) -> int | None:
    """Pixels of an output that depend on what lies beyond the edge of a tile, or None where that is not known.

    Parameters
    ----------
    file
        What the ONNX file says.
    output
        Name of the output.
    place
        Place of the axis, counted from the last of the spatial ones: -1 for x, -2 for y, -3 for z.
    positions
        Places of the axis in the input and in the output, for networks that cut their image into patches.

    Returns
    -------
    int | None
        The larger one of both sides. None where the output's size is no multiple or part of the input's, where every
        pixel depends on the whole image, and where the graph has operations that are not followed.
    """
    shape = _cut_shape(file)
    if shape is None or positions is None or positions[0] >= len(shape):
        return _radius(file, output, place, 2 * BORDER, None, None)
    return _radius(file, output, place, shape[positions[0]], shape, positions)


def _radius(
    file: OnnxFile,
    output: str,
    place: int,
    length: int,
    shape: tuple[int, ...] | None,
    positions: tuple[int, int] | None,
) -> int | None:
    """As `receptive_radius`, in an image of a length along the axis, and of a shape where that is known."""
    border = length // 2
    for _ in range(2):
        before = np.arange(length) < border
        left, right = (
            _line(_followed(file, output, zone, place, shape, positions), positions) for zone in (before, ~before)
        )
        if left is None or right is None or left.all() or right.all():
            return None
        if length % len(left) and len(left) % length:
            return None
        middle = len(left) // 2
        if middle * length == border * len(left):
            return max(int(left[middle:].sum()), int(right[:middle].sum()))
        border = middle * length // len(left)  # between two patches
    return None


def _cut_shape(file: OnnxFile) -> tuple[int, ...] | None:
    """The shape of the input of a network that cuts its image into patches, with a batch of one."""
    shapes = [end.shape for end in file.inputs.values()]
    if len(shapes) != 1 or shapes[0] is None:
        return None
    shape = (1, *(size for size in shapes[0][1:] if isinstance(size, int) and size > 0))
    targets = [file.constants.get(node.inputs[1], ()) for node in file.nodes if _reshapes(node)]
    if len(shape) < len(shapes[0]) or all(len(target) <= len(shape) for target in targets):
        return None
    return shape if math.prod(shape) <= LARGEST_TENSOR else None


def _reshapes(node: Node) -> bool:
    return node.operation == "Reshape" and len(node.inputs) > 1


def _line(seen: _Seen | None, positions: tuple[int, int] | None) -> np.ndarray | None:
    """What is reached along the axis of an output."""
    if seen is None:
        return None
    if seen.full is not None and positions is not None:
        return _along(seen.full, positions[1])
    return seen.mask[0] if len(seen.mask) == 1 else None


def _along(full: np.ndarray, position: int) -> np.ndarray | None:
    if position >= full.ndim:
        return None
    return np.asarray(full.any(tuple(n for n in range(full.ndim) if n != position)))


def _followed(
    file: OnnxFile,
    output: str,
    zone: np.ndarray,
    place: int,
    shape: tuple[int, ...] | None,
    positions: tuple[int, int] | None,
) -> _Seen | None:
    """What a zone of the inputs reaches in an output."""
    if len(file.nodes) > MOST_NODES:
        return None
    start = _Seen(zone[np.newaxis])
    if shape is not None and positions is not None:
        along = [len(zone) if n == positions[0] else 1 for n in range(len(shape))]
        start = _Seen(start.mask, np.broadcast_to(zone.reshape(along), shape))
    reached: dict[str, _Seen | None] = dict.fromkeys(file.inputs, start)
    # sizes that the graph computes from those of its tensors
    sizes: dict[str, int] = {}
    work = 0
    for node in file.nodes:
        sources = [reached[name] for name in node.inputs if name in reached]
        try:
            if sources and node.operation != "Shape":
                result = _passed(node, sources, file, sizes, place)
                work += 0 if result is None else result.mask.size if result.full is None else result.full.size
                reached |= dict.fromkeys(node.outputs, result if work <= MOST_WORK else None)
            else:
                sizes |= _computed(node, sources, file, sizes)
        except (IndexError, KeyError, TypeError, ValueError):  # attributes of other numbers and types than ONNX has
            reached |= dict.fromkeys(node.outputs)
    return reached.get(output)


def _computed(node: Node, sources: list[_Seen | None], file: OnnxFile, sizes: dict[str, int]) -> dict[str, int]:
    """The size that is the result of a step, by its name."""
    found = {sizes[name] for name in node.inputs if name in sizes}
    if node.operation == "Shape" and sources and sources[0] is not None:
        size = sources[0].mask.shape[1]
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


def _passed(node: Node, sources: list[_Seen | None], file: OnnxFile, sizes: dict[str, int], place: int) -> _Seen | None:
    seen = _joined(sources)
    if seen is None:
        return None
    if node.operation in ("Reshape", "Transpose", "Squeeze", "Unsqueeze") and (seen.full is not None or _is_cut(seen)):
        return _rearranged(seen, node, file)
    if node.operation in POINTWISE:
        return seen
    if node.operation == "Slice" and _is_cut(seen) and tuple(file.constants.get(node.inputs[3], ())) == (1,):
        # some of the channels of each patch
        return seen
    mask = seen.mask if seen.full is None else _of_windows(seen.full, place)
    if len(mask) > 1:
        if node.operation.startswith(("Flatten", "Global", "Reduce")):
            return _Seen(_anywhere(mask))
        if node.operation in ("Gemm", "MatMul") and mask.shape[1] == 1:
            return _Seen(mask)
    if node.operation.startswith("Reduce") and node.attributes.get("axes") == (1,):
        # over the channels
        return _Seen(mask)
    windowed = _windowed(mask, node, file, sizes, place)
    return None if windowed is None else _Seen(windowed)


def _windowed(mask: np.ndarray, node: Node, file: OnnxFile, sizes: dict[str, int], place: int) -> np.ndarray | None:
    if node.operation == "Conv" or node.operation in POOLS:
        return _convolved(mask, node, place)
    if node.operation == "ConvTranspose":
        return _transposed(mask, node, place)
    if node.operation in ("Resize", "Upsample"):
        return _resized(mask, node, file, sizes, place)
    length = mask.shape[1]
    if node.operation == "Pad":
        pads = node.attributes.get("pads") or file.constants[node.inputs[1]]
        before, after = int(pads[len(pads) // 2 + place]), int(pads[place])
        return np.pad(mask, ((0, 0), (before, after))) if max(before, after) <= LARGEST else None
    if node.operation == "DepthToSpace":
        size = _attribute(node, "blocksize", place, 0)
        return np.repeat(mask, size, 1) if length * size <= LONGEST else None
    if node.operation == "SpaceToDepth":
        return mask.reshape(len(mask), -1, _attribute(node, "blocksize", place, 0)).max(2)
    return None


def _joined(sources: list[_Seen | None]) -> _Seen | None:
    known = [seen for seen in sources if seen is not None]
    if not known or len(known) < len(sources):
        return None
    if len(known) == 1:
        return known[0]
    fulls = [seen.full for seen in known if seen.full is not None]
    if fulls:
        if len(fulls) < len(known) or len({full.shape for full in fulls}) > 1:
            return None
        return _Seen(known[0].mask, functools.reduce(np.logical_or, fulls))
    lengths = {seen.mask.shape[1] for seen in known} - ({1} if _is_cut(known[0]) else set())
    if len({len(seen.mask) for seen in known}) > 1 or len(lengths) > 1:
        return None
    return _Seen(functools.reduce(np.logical_or, (seen.mask for seen in known)))


def _is_cut(seen: _Seen) -> bool:
    return len(seen.mask) > 1


def _of_windows(full: np.ndarray, place: int) -> np.ndarray:
    """The mask of a tensor whose last axes are those of space, as windows want it."""
    position = full.ndim + place
    return np.asarray(full.any(tuple(n for n in range(1, full.ndim) if n != position)))


def _rearranged(seen: _Seen, node: Node, file: OnnxFile) -> _Seen | None:
    """Do with a mask of all axes what the operation does with the tensor."""
    full = seen.full
    target = tuple(int(size) for size in file.constants.get(node.inputs[1], ())) if _reshapes(node) else ()
    if full is None:
        if not _reshapes(node):  # between layouts of a patch
            return seen
        if not target or (target[0] != 1 and sum(size != 1 for size in target[1:]) <= 1):
            # a patch becomes a vector, of a length that may be computed, or one pixel
            return _Seen(_anywhere(seen.mask))
        if seen.mask.shape[1] > 1 or len(seen.mask) * target[-1] > LARGEST_TENSOR:
            return None
        full = np.broadcast_to(seen.mask, (len(seen.mask), target[-1]))
    if node.operation == "Transpose":
        full = full.transpose(_numbers(node.attributes["perm"]))
    elif target:
        full = full.reshape([full.shape[n] if size == 0 else size for n, size in enumerate(target)])
    else:
        axes = _numbers(node.attributes.get("axes") or file.constants[node.inputs[1]])
        full = np.squeeze(full, axes) if node.operation == "Squeeze" else np.expand_dims(full, axes)
    return _Seen(_anywhere(full.reshape(len(full), -1)), full)


def _anywhere(mask: np.ndarray) -> np.ndarray:
    return np.asarray(mask.any(1, keepdims=True))


def _numbers(values: Sequence[float] | str) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


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
    stride, length = _attribute(node, "strides", place, 1), mask.shape[1]
    offsets, before, after = _window(node, place, length, stride, -(-length // max(1, stride)))
    padded = np.pad(mask, ((0, 0), (before, after)))
    if _attribute(node, "ceil_mode", place, 0):
        padded = np.pad(padded, ((0, 0), (0, (offsets[-1] + 1 - padded.shape[1]) % stride)))
    count = (padded.shape[1] - offsets[-1] - 1) // stride + 1
    seen = (padded[:, offset : offset + stride * (count - 1) + 1 : stride] for offset in offsets)
    return functools.reduce(np.logical_or, seen)


def _transposed(mask: np.ndarray, node: Node, place: int) -> np.ndarray:
    stride, more = _attribute(node, "strides", place, 1), _attribute(node, "output_padding", place, 0)
    length = mask.shape[1]
    offsets, before, after = _window(node, place, length * stride - more, stride, length)
    if not 0 <= more <= LARGEST or length * stride > LONGEST:
        raise ValueError
    found = np.zeros((len(mask), stride * (length - 1) + offsets[-1] + 1 + more), bool)
    for offset in offsets:
        found[:, offset : offset + stride * (length - 1) + 1 : stride] |= mask
    return found[:, before : found.shape[1] - after]


def _resized(mask: np.ndarray, node: Node, file: OnnxFile, sizes: dict[str, int], place: int) -> np.ndarray | None:
    length = mask.shape[1]
    scales = next((file.constants[name] for name in node.inputs[1:3] if file.constants.get(name)), ())
    size = next((sizes[name] for name in node.inputs if name in sizes), 0)
    factor = scales[place] if len(scales) > -place else size / length
    mode = node.attributes.get("mode", "nearest")
    if factor != int(factor) or not 1 <= factor <= LONGEST / length or mode not in ("nearest", "linear"):
        return None
    if mode == "nearest" or factor == 1:
        return np.repeat(mask, int(factor), 1)
    source = (np.arange(length * int(factor)) + 0.5) / factor - 0.5
    low, high = np.clip([np.floor(source), np.ceil(source)], 0, length - 1).astype(int)
    return mask[:, low] | mask[:, high]
