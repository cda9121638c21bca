"""A network as the blocks of a figure, read from its graph: what each layer makes, at which stage, from what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from bmzpack.measure.keras_graph import first_call, run_through

KINDS: dict[str, tuple[type, ...]] = {
    "input": (layers.InputLayer,),
    "convolution": (layers.Conv2D, layers.SeparableConv2D),
    "depthwise convolution": (layers.DepthwiseConv2D,),
    "pooling": (
        layers.MaxPooling2D,
        layers.AveragePooling2D,
        layers.GlobalAveragePooling2D,
        layers.GlobalMaxPooling2D,
    ),
    "upsampling": (layers.Conv2DTranspose, layers.UpSampling2D),
    "concatenation": (layers.Concatenate,),
    "addition": (layers.Add,),
    "fully connected": (layers.Dense,),
}
"""Layers that are drawn, by the kind of their block; all others belong to the block before them."""


@dataclasses.dataclass
class Block:
    """One box of a figure."""

    kind: str
    """A key of `KINDS`."""
    name: str
    """Name of its first layer."""
    shape: tuple[int, ...]
    """(y, x, channel) or (number,)."""
    stage: int
    """How many changes of resolution lie before it, on the longest way."""
    column: int
    """How many blocks of its stage lie before it, on the longest way."""
    sources: set[int]
    """Numbers of the blocks that it takes from."""
    cropped: bool = False
    """Whether anything that it takes from is cropped first."""
    activation: str = ""
    """Name of its last activation function."""
    layers: int = 1
    """How many drawn layers it stands for."""


def read_blocks(model: keras.Model) -> list[Block]:
    """The blocks of a network, in the order of its graph.

    Parameters
    ----------
    model
        Built for images of one size, (batch, y, x, channel), or for vectors, (batch, number).

    Returns
    -------
    list of Block
        Those that lead to an output other than by weighting its channels (squeeze and excitation).
    """
    blocks: list[Block] = []
    for tensor in model.inputs:
        blocks.append(Block("input", tensor.name, tuple(tensor.shape[1:]), 0, 0, set()))
    starts = [_Made({number}) for number in range(len(blocks))]
    ends = run_through(model, starts, lambda operation: _rule(operation, blocks))
    wanted = set().union(*(end.blocks for end in ends))
    for number in reversed(range(len(blocks))):
        if number in wanted:
            wanted |= blocks[number].sources
    numbers = {old: new for new, old in enumerate(sorted(wanted))}
    return [
        dataclasses.replace(blocks[old], sources={numbers[source] for source in blocks[old].sources}) for old in numbers
    ]


def summarise(blocks: list[Block], most: int = 8) -> list[Block]:
    """Draw every stage of more than so many blocks as one.

    Parameters
    ----------
    blocks
        From `read_blocks`.
    most
        Blocks of a stage.

    Returns
    -------
    list of Block
        In place of a long stage one block of the shape of its last, of the kind that most of them have.
    """
    stages = sorted({block.stage for block in blocks})
    members = {stage: [number for number, block in enumerate(blocks) if block.stage == stage] for stage in stages}
    place: dict[int, int] = {}
    drawn: list[Block] = []
    for stage in stages:
        if len(members[stage]) <= most:
            for number in members[stage]:
                place[number] = len(drawn)
                drawn.append(blocks[number])
            continue
        kinds = [blocks[number].kind for number in members[stage] if "convolution" in blocks[number].kind]
        last = blocks[members[stage][-1]]
        sources = set().union(*(blocks[number].sources for number in members[stage])) - set(members[stage])
        place |= dict.fromkeys(members[stage], len(drawn))
        drawn.append(dataclasses.replace(last, kind="convolution", column=0, sources=sources, layers=len(kinds)))
    return [dataclasses.replace(block, sources={place[source] for source in block.sources}) for block in drawn]


@dataclasses.dataclass(frozen=True)
class _Made:
    """Stands for a tensor: which blocks made it, and whether it was cropped since."""

    blocks: set[int]
    cropped: bool = False


def _rule(operation: Any, blocks: list[Block]) -> Callable[..., Any]:
    """What stands for an operation: it takes and gives `_Made` instead of tensors."""

    def apply(*arguments: Any, **keywords: Any) -> Any:
        given = [item for item in keras.tree.flatten((arguments, keywords)) if isinstance(item, _Made)]
        outputs = first_call(operation).outputs
        shape = tuple(outputs[0].shape[1:])
        if isinstance(operation, layers.Multiply):
            # A weight per channel is no way of its own: the figure shows what is weighted.
            given = [item for item in given if blocks[max(item.blocks)].shape[:-1] == shape[:-1]] or given
        sources = set().union(*(item.blocks for item in given))
        cropped = any(item.cropped for item in given)
        kind = next((kind for kind, types in KINDS.items() if isinstance(operation, types)), None)
        if isinstance(operation, layers.DepthwiseConv2D):
            kind = "depthwise convolution"
        activation = _activation(operation)
        if kind is None or not sources:
            for source in sources if activation else ():
                blocks[source].activation = activation
            made = _Made(sources, cropped or isinstance(operation, layers.Cropping2D))
        else:
            stage = max(blocks[source].stage for source in sources) + _changes_resolution(operation, shape)
            columns = [blocks[source].column + 1 for source in sources if blocks[source].stage == stage]
            name = operation.name
            blocks.append(Block(kind, name, shape, stage, max(columns, default=0), sources, cropped, activation))
            made = _Made({len(blocks) - 1})
        return made if len(outputs) == 1 else [made] * len(outputs)

    return apply


def _changes_resolution(operation: Any, shape: tuple[int, ...]) -> bool:
    steps = getattr(operation, "strides", getattr(operation, "size", 1))
    was_image = len(first_call(operation).inputs[0].shape) == 4
    return max(keras.tree.flatten(steps)) > 1 or (was_image and len(shape) == 1) or isinstance(operation, layers.Dense)


def _activation(operation: Any) -> str:
    if isinstance(operation, layers.ReLU):
        return "relu"
    if type(operation).__name__ == "Greater":
        return "step"
    name = getattr(getattr(operation, "activation", None), "__name__", "linear")
    return "" if name == "linear" else name
