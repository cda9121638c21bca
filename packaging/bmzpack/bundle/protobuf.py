"""Reading the few fields of ONNX and TensorFlow files that a check needs, without ONNX and TensorFlow.

Both are protocol buffers. Weights are passed over, so that a file of any size takes no time and no memory.
Field numbers: onnx.proto (ONNX 1.x), saved_model.proto, meta_graph.proto, graph.proto (TensorFlow 2.x).
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator

Buffer = bytes | memoryview
Fields = Callable[[Buffer], Iterator[tuple[int, int | memoryview]]]

MOST_FIELDS = 2_000_000
"""Fields that are read of a file: networks of thousands of layers have some ten thousands."""
MOST_NODES = 100_000
"""Steps of a graph."""
LONGEST_TEXT = 10_000
"""Bytes of a name."""
MOST_AXES = 64
"""Largest number of axes of a tensor or window."""

ONNX_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    10: "float16",
    11: "float64",
}
TENSORFLOW_TYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 9: "int64", 19: "float16"}


class Unreadable(ValueError):
    """The bytes are not such a file."""


@dataclasses.dataclass(frozen=True)
class GraphTensor:
    """An input or output of a graph."""

    dtype: str
    shape: tuple[int | str | None, ...] | None
    """Names of sizes as text; None for any size, None altogether for any number of axes."""


@dataclasses.dataclass(frozen=True)
class Node:
    """A step of an ONNX graph."""

    operation: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, tuple[int, ...] | str]
    """Integers and words."""
    constant: tuple[float, ...]
    """What a node holds that is a small constant."""


@dataclasses.dataclass(frozen=True)
class OnnxFile:
    """What an ONNX file says of itself."""

    ir_version: int
    opset: int
    """Version of ONNX' own operators."""
    domains: set[str]
    """Other operators' domains."""
    inputs: dict[str, GraphTensor]
    outputs: dict[str, GraphTensor]
    nodes: list[Node]
    constants: dict[str, tuple[float, ...]]
    """Small tensors of numbers, by name; empty where one is large or of another kind."""
    external: list[str]
    """Files outside, in which weights are kept."""


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """What a TensorFlow saved model says of itself."""

    tags: list[set[str]]
    """The tags of every graph."""
    inputs: dict[str, GraphTensor]
    """Inputs of the signature ``serving_default`` of the graph with the tag ``serve``."""
    outputs: dict[str, GraphTensor]
    signatures: set[str]
    operations: set[str]
    """Names of all operations, also inside functions."""


def fields(buffer: Buffer) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: numbers as integers, everything else as a view on its bytes."""
    view = memoryview(buffer)
    position, end = 0, len(view)
    while position < end:
        key, position = _varint(view, position)
        # readers in C++ cut it to 32 bits, and would see another field
        if not 8 <= key < 1 << 32:
            raise Unreadable("it has a field of a number that does not exist")
        kind = key & 7
        if kind == 0:
            value, position = _varint(view, position)
            yield key >> 3, value
            continue
        if kind == 2:
            size, position = _varint(view, position)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise Unreadable("it is no protocol buffer")
        if position + size > end:
            raise Unreadable("it ends too early")
        yield key >> 3, view[position : position + size]
        position += size


def bounded_fields() -> Fields:
    """`fields` that refuse a file of more parts than a network has, so that none takes long to read."""
    read = 0

    def bounded(buffer: Buffer) -> Iterator[tuple[int, int | memoryview]]:
        nonlocal read
        for field in fields(buffer):
            read += 1
            if read > MOST_FIELDS:
                raise Unreadable("it has more parts than a network has")
            yield field

    return bounded


def read_onnx(buffer: Buffer) -> OnnxFile:
    """Read what an ONNX file says of itself.

    Raises
    ------
    Unreadable
        It is no ONNX file.
    """
    fields = bounded_fields()
    ir_version = opset = 0
    domains: set[str] = set()
    graph: Buffer = b""
    for number, value in fields(buffer):
        if number == 1 and isinstance(value, int):
            ir_version = value
        elif number == 7:
            graph = bytes_of(value)
        elif number == 8:
            entry = dict(fields(bytes_of(value)))
            domain = _text(entry.get(1, memoryview(b"")))
            if domain in ("", "ai.onnx"):
                opset = int(_number(entry.get(2, 0)))
            else:
                domains.add(domain)
    if not graph or not ir_version:
        raise Unreadable("it holds no ONNX graph")
    return _onnx_graph(fields, graph, ir_version, opset, domains)


def _onnx_graph(fields: Fields, graph: Buffer, ir_version: int, opset: int, domains: set[str]) -> OnnxFile:
    inputs: dict[str, GraphTensor] = {}
    outputs: dict[str, GraphTensor] = {}
    weights: set[str] = set()
    external, nodes, used = [], [], set()
    constants: dict[str, tuple[float, ...]] = {}
    for number, value in fields(graph):
        if number == 5:
            name, places = _onnx_weight(fields, bytes_of(value))
            weights.add(name)
            external += places
            constants[name] = _onnx_numbers(fields, bytes_of(value))[1]
        elif number in (11, 12):
            name, end = _onnx_tensor(fields, bytes_of(value))
            (inputs if number == 11 else outputs)[name] = end
        elif number == 1:
            domain, node = _onnx_node(fields, bytes_of(value))
            used.add(domain)
            nodes.append(node)
            if len(nodes) > MOST_NODES:
                raise Unreadable("it has more steps than a network has")
            constants |= dict.fromkeys(node.outputs, node.constant) if node.constant else {}
    # before IR 4 weights are listed among the inputs
    inputs = {name: end for name, end in inputs.items() if name not in weights}
    return OnnxFile(ir_version, opset, domains & used, inputs, outputs, nodes, constants, external)


def _onnx_weight(fields: Fields, message: Buffer) -> tuple[str, list[str]]:
    name, places = "", []
    for number, value in fields(message):
        if number == 8:
            name = _text(value)
        elif number == 13:
            entry = dict(fields(bytes_of(value)))
            if _text(entry.get(1, memoryview(b""))) == "location":
                places.append(_text(entry.get(2, memoryview(b""))))
    return name, places


def _onnx_node(fields: Fields, message: Buffer) -> tuple[str, Node]:
    texts: dict[int, list[str]] = {1: [], 2: [], 4: [], 7: []}
    attributes: dict[str, tuple[int, ...] | str] = {}
    numbers: tuple[float, ...] = ()
    for number, value in fields(message):
        if number in texts:
            texts[number].append(_text(value))
        elif number == 5:
            name, found, constant = _onnx_attribute(fields, bytes_of(value))
            attributes |= {} if found is None else {name: found}
            numbers = constant or numbers
    return "".join(texts[7]), Node("".join(texts[4]), texts[1], texts[2], attributes, numbers)


def _onnx_attribute(fields: Fields, message: Buffer) -> tuple[str, tuple[int, ...] | str | None, tuple[float, ...]]:
    name, ints, word, constant = "", [], None, ()
    for number, value in fields(message):
        if number == 1:
            name = _text(value)
        elif number in (3, 8):
            ints += [size - 2**64 if size >= 2**63 else size for size in _packed(value)]
        elif number == 4 and len(bytes_of(value)) <= LONGEST_TEXT:
            word = _text(value)
        elif number == 5:
            constant = _onnx_numbers(fields, bytes_of(value))[1]
    if len(ints) > MOST_AXES:
        raise Unreadable("it has a window of more axes than there are")
    return name, tuple(ints) or word, constant


def _onnx_numbers(fields: Fields, message: Buffer) -> tuple[str, tuple[float, ...]]:
    """Name and values of a small tensor of float32, int32 or int64."""
    name, kind, raw = "", 0, b""
    for number, value in fields(message):
        if number == 8:
            name = _text(value)
        elif number == 2:
            kind = _number(value)
        elif number in (4, 9) and isinstance(value, memoryview) and len(value) <= 8 * MOST_AXES:
            raw = bytes(value)
    letter = {1: "f", 6: "i", 7: "q"}.get(kind)
    return name, tuple(number for (number,) in struct.iter_unpack(f"<{letter}", raw)) if letter else ()


def _onnx_tensor(fields: Fields, message: Buffer) -> tuple[str, GraphTensor]:
    name, dtype, shape = "", "unknown", None
    for number, value in fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for kind, tensor in fields(bytes_of(value)):
                if kind != 1:
                    continue
                for n, part in fields(bytes_of(tensor)):
                    if n == 1:
                        dtype = ONNX_TYPES.get(int(_number(part)), "unknown")
                    elif n == 2:
                        shape = tuple(
                            _onnx_size(fields, bytes_of(size)) for m, size in fields(bytes_of(part)) if m == 1
                        )
    return name, GraphTensor(dtype, shape)


def _onnx_size(fields: Fields, message: Buffer) -> int | str | None:
    for number, value in fields(message):
        if number == 1:
            return int(_number(value))
        if number == 2:
            return _text(value)
    return None


def read_saved_model(buffer: Buffer) -> SavedModel:
    """Read what a ``saved_model.pb`` says of itself.

    Raises
    ------
    Unreadable
        It is no saved model.
    """
    fields = bounded_fields()
    tags, operations, signatures = [], set(), {}
    for number, value in fields(buffer):
        if number != 2:
            continue
        own: set[str] = set()
        found: dict[str, Buffer] = {}
        for part, content in fields(bytes_of(value)):
            if part == 1:
                own |= {_text(tag) for n, tag in fields(bytes_of(content)) if n == 4}
            elif part == 2:
                operations |= _operations(fields, bytes_of(content))
            elif part == 5:
                entry = dict(fields(bytes_of(content)))
                found[_text(entry.get(1, memoryview(b"")))] = bytes_of(entry.get(2, memoryview(b"")))
        tags.append(own)
        if "serve" in own:
            signatures = found
    if not tags:
        raise Unreadable("it holds no TensorFlow graph")
    serving: dict[int, dict[str, GraphTensor]] = {1: {}, 2: {}}
    for number, value in fields(signatures.get("serving_default", b"")):
        if number in serving:
            entry = dict(fields(bytes_of(value)))
            serving[number][_text(entry.get(1, memoryview(b"")))] = _tensor_info(
                fields, bytes_of(entry.get(2, memoryview(b"")))
            )
    return SavedModel(tags, serving[1], serving[2], set(signatures), operations)


def _operations(fields: Fields, graph: Buffer) -> set[str]:
    found = set()
    for number, value in fields(graph):
        if number == 1:
            found |= _node_operation(fields, bytes_of(value))
        elif number == 2:
            for part, function in fields(bytes_of(value)):
                if part == 1:
                    nodes = (node for n, node in fields(bytes_of(function)) if n == 3)
                    found |= {operation for node in nodes for operation in _node_operation(fields, bytes_of(node))}
    return found


def _node_operation(fields: Fields, node: Buffer) -> set[str]:
    for number, value in fields(node):
        if number == 2:
            return {_text(value)}
    return set()


def _tensor_info(fields: Fields, message: Buffer) -> GraphTensor:
    dtype, shape = "unknown", None
    for number, value in fields(message):
        if number == 2:
            dtype = TENSORFLOW_TYPES.get(int(_number(value)), "unknown")
        elif number == 3:
            known, sizes = True, []
            for n, part in fields(bytes_of(value)):
                if n == 3:
                    known = not part
                elif n == 2:
                    size = dict(fields(bytes_of(part))).get(1, 0)
                    signed = int(_number(size))
                    sizes.append(None if signed >= 1 << 63 else signed)
            shape = tuple(sizes) if known else None
    return GraphTensor(dtype, shape)


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(view) and shift < 70:
        byte = view[position]
        position += 1
        result |= (byte & 127) << shift
        if byte < 128:
            # no program writes a number longer than it is: somebody hides something
            if (byte == 0 and shift) or result >= 1 << 64:
                raise Unreadable("it has numbers that are written in a way that readers understand differently")
            return result, position
        shift += 7
    raise Unreadable("it is no protocol buffer")


def _packed(value: int | memoryview) -> Iterator[int]:
    if isinstance(value, int):
        yield value
        return
    if len(value) > 10 * MOST_AXES:
        raise Unreadable("it has a window of more axes than there are")
    position = 0
    while position < len(value):
        number, position = _varint(value, position)
        yield number


def bytes_of(value: int | memoryview) -> memoryview:
    """The bytes of a field that is a message or a text."""
    if isinstance(value, int):
        raise Unreadable("it is no protocol buffer of this kind")
    return value


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise Unreadable("it is no protocol buffer of this kind")
    return value


def _text(value: int | memoryview) -> str:
    content = bytes_of(value)
    if len(content) > LONGEST_TEXT:
        raise Unreadable("it has a name without end")
    return bytes(content).decode("utf-8", "replace")
