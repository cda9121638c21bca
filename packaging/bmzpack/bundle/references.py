"""What the graphs in TensorFlow and ONNX files run, and what they refer to outside themselves.

A protocol buffer may give a field several times; readers then take the last one, or join them. Here each of them
counts, so that nothing can be hidden behind another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from bmzpack.bundle.protobuf import Buffer, Fields, bounded_fields, bytes_of

CHECKPOINTS = {"Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints"}
"""Operations of TensorFlow that write files, which every graph with variables has for its checkpoints."""


@dataclasses.dataclass
class _Node:
    names: set[str]
    operations: set[str]
    inputs: set[str]
    functions: set[str]
    """That its attributes name."""


@dataclasses.dataclass
class _Graph:
    """A graph of TensorFlow with its functions."""

    nodes: list[_Node] = dataclasses.field(default_factory=list)
    functions: dict[str, list[_Node]] = dataclasses.field(default_factory=dict)
    roots: set[str] = dataclasses.field(default_factory=set)
    """Nodes and functions with which loading and running begin."""


def tensorflow_operations(buffer: Buffer) -> set[str]:
    """Operations in a ``saved_model.pb``; those of `CHECKPOINTS` only where loading or running gets to them.

    A graph is entered by its signatures, its collections (which hold what initialises it), what restores it, and the
    functions that its objects name. What saves it is entered by none of them.

    Raises
    ------
    Unreadable
        It is no saved model.
    """
    fields = bounded_fields()
    found: set[str] = set()
    for meta in _every(fields, buffer, 2):
        graph = _read(fields, meta)
        nodes = [*graph.nodes, *(node for inner in graph.functions.values() for node in inner)]
        operations = {operation for node in nodes for operation in node.operations}
        found |= operations - CHECKPOINTS
        if operations & CHECKPOINTS:
            found |= _run(graph) & CHECKPOINTS
    return found


def onnx_references(buffer: Buffer) -> tuple[set[str], set[str]]:
    """Files in which an ONNX file keeps weights, and domains of operators that it uses and does not define itself.

    Raises
    ------
    Unreadable
        It is no ONNX file.
    """
    fields = bounded_fields()
    files: set[str] = set()
    used: set[str] = set()
    defined: set[str] = set()
    for number, value in fields(buffer):
        if number == 7:
            _walk_graph(fields, bytes_of(value), files, used)
        elif number == 20:  # training
            for part, graph in fields(bytes_of(value)):
                if part in (1, 2):
                    _walk_graph(fields, bytes_of(graph), files, used)
        elif number == 25:
            defined |= set(_texts(fields, bytes_of(value), 10))
            for node in _every(fields, bytes_of(value), 7):
                _walk_node(fields, node, files, used)
            for default in _every(fields, bytes_of(value), 11):
                _walk_attribute(fields, default, files, used)
    return files, used - defined


def _walk_graph(fields: Fields, graph: Buffer, files: set[str], used: set[str]) -> None:
    for number, value in fields(graph):
        if number == 1:
            _walk_node(fields, bytes_of(value), files, used)
        elif number == 5:
            files |= _outside(fields, bytes_of(value))
        elif number == 15:
            files |= _outside_sparse(fields, bytes_of(value))


def _walk_node(fields: Fields, node: Buffer, files: set[str], used: set[str]) -> None:
    domains = set(_texts(fields, node, 7))
    used |= domains or {""}
    for attribute in _every(fields, node, 5):
        _walk_attribute(fields, attribute, files, used)


def _walk_attribute(fields: Fields, attribute: Buffer, files: set[str], used: set[str]) -> None:
    for number, value in fields(attribute):
        if number in (5, 10):
            files |= _outside(fields, bytes_of(value))
        elif number in (22, 23):
            files |= _outside_sparse(fields, bytes_of(value))
        elif number in (6, 11):
            _walk_graph(fields, bytes_of(value), files, used)


def _outside(fields: Fields, tensor: Buffer) -> set[str]:
    """Locations of a tensor; an empty one where it is said to be outside without a place."""
    found: set[str] = set()
    external = False
    for number, value in fields(tensor):
        if number == 13:
            external = True
            if "location" in _texts(fields, bytes_of(value), 1):
                found |= set(_texts(fields, bytes_of(value), 2)) or {""}
        elif number == 14:
            external |= value != 0
    return found or ({""} if external else set())


def _outside_sparse(fields: Fields, tensor: Buffer) -> set[str]:
    parts = [*_every(fields, tensor, 1), *_every(fields, tensor, 2)]
    return {place for part in parts for place in _outside(fields, part)}


def _read(fields: Fields, meta: Buffer) -> _Graph:
    graph = _Graph()
    objects: list[bytes] = []
    for number, value in fields(meta):
        if number == 2:
            _add(fields, bytes_of(value), graph)
        elif number == 3:
            graph.roots |= set(_texts(fields, bytes_of(value), 3))
        elif number == 4:
            for content in _every(fields, bytes_of(value), 2):
                for nodes in _every(fields, content, 1):
                    graph.roots |= set(_texts(fields, nodes, 1))
        elif number == 5:
            for signature in _every(fields, bytes_of(value), 2):
                for output in _every(fields, signature, 2):
                    for tensor in _every(fields, output, 2):
                        graph.roots |= set(_texts(fields, tensor, 1))
        elif number == 7:
            objects.append(bytes(bytes_of(value)))
    graph.roots |= {name for name in graph.functions if any(name.encode() in content for content in objects)}
    return graph


def _add(fields: Fields, message: Buffer, graph: _Graph) -> None:
    """Nodes and functions of a GraphDef."""
    for number, value in fields(message):
        if number == 1:
            graph.nodes.append(_node(fields, bytes_of(value)))
        elif number == 2:
            for function in _every(fields, bytes_of(value), 1):
                nodes = [_node(fields, node) for node in _every(fields, function, 3)]
                attributes = {key for entry in _every(fields, function, 5) for key in _texts(fields, entry, 1)}
                for name in (name for entry in _every(fields, function, 1) for name in _texts(fields, entry, 1)):
                    graph.functions.setdefault(name, []).extend(nodes)
                    if "api_implements" in attributes:  # TensorFlow may put it in the place of another function
                        graph.roots.add(name)


def _node(fields: Fields, message: Buffer) -> _Node:
    node = _Node(set(), set(), set(), set())
    for number, value in fields(message):
        if number in (1, 2, 3):
            (node.names, node.operations, node.inputs)[number - 1].add(_text(value))
        elif number == 5:
            for attribute in _every(fields, bytes_of(value), 2):
                for part, content in fields(attribute):
                    if part == 10:
                        node.functions |= set(_texts(fields, bytes_of(content), 1))
                    elif part == 1:
                        for function in _every(fields, bytes_of(content), 9):
                            node.functions |= set(_texts(fields, function, 1))
    return node


def _run(graph: _Graph) -> set[str]:
    """Operations that are got to from the roots."""
    named: dict[str, list[_Node]] = {}
    for node in graph.nodes:
        for name in node.names:
            named.setdefault(name, []).append(node)
    found: set[str] = set()
    seen: set[str] = set()
    waiting = list(graph.roots)
    while waiting:
        name = waiting.pop().lstrip("^").split(":")[0]
        if name in seen:
            continue
        seen.add(name)
        for node in named.get(name, []):
            waiting += node.inputs
        # of a function every node counts
        for node in [*named.get(name, []), *graph.functions.get(name, [])]:
            found |= node.operations
            waiting += node.functions | (node.operations & graph.functions.keys())
    return found


def _every(fields: Fields, message: Buffer, number: int) -> Iterator[memoryview]:
    return (bytes_of(value) for found, value in fields(message) if found == number)


def _texts(fields: Fields, message: Buffer, number: int) -> Iterator[str]:
    return (_text(value) for found, value in fields(message) if found == number)


def _text(value: int | memoryview) -> str:
    return bytes(bytes_of(value)).decode("utf-8", "replace")
