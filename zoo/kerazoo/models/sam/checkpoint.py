"""Official weights of Segment Anything, tensor by tensor into the networks of this zoo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np

from bmzpack.errors import UserError

Arrays = dict[str, np.ndarray]
Source = tuple[str, ...]
"""Names in the file of what becomes one tensor."""

_LINEAR = {"weight": "kernel", "bias": "bias"}
_NORM = {"weight": "gamma", "bias": "beta"}


def assign_encoder(network: keras.Model, tensors: Arrays, path: Path, prefix: str = "image_encoder.") -> None:
    """Give an encoder of `kerazoo.models.sam.encoder` the weights of the official one.

    Parameters
    ----------
    network
        Of the same sizes.
    tensors
        The state dict; tensors that are used are taken out.
    path
        The file, for messages.
    prefix
        Of the names.

    Raises
    ------
    UserError
        A tensor is missing, or has another shape.
    """
    _assign(network, _encoder_names(network), tensors, path, prefix)


def assign_decoder(network: keras.Model, tensors: Arrays, path: Path) -> None:
    """Give a mask decoder of `kerazoo.models.sam.mask_decoder` the weights of the official one and of its prompts.

    Parameters and errors as for `assign_encoder`.
    """
    _assign(network, _decoder_names(network), tensors, path, "")


Names = Iterator[tuple[str, str, Source, Callable[..., np.ndarray]]]
"""Layer, variable, the tensors that make it, and how."""


def _encoder_names(network: keras.Model) -> Names:
    layers = {layer.name for layer in network.layers}
    yield "position_embedding", "embeddings", ("pos_embed",), lambda a: a.reshape(-1, a.shape[-1])
    yield from _convolution("patch_embedding", "patch_embed.proj")
    number = 0
    while f"block{number}_norm1" in layers:
        ours, theirs = f"block{number}", f"blocks.{number}"
        yield from _norm(f"{ours}_norm1", f"{theirs}.norm1")
        yield from _norm(f"{ours}_norm2", f"{theirs}.norm2")
        yield from _linear(f"{ours}_attention_qkv", f"{theirs}.attn.qkv")
        yield from _linear(f"{ours}_attention_projection", f"{theirs}.attn.proj")
        yield f"{ours}_attention_positions_y", "embeddings", (f"{theirs}.attn.rel_pos_h",), np.asarray
        yield f"{ours}_attention_positions_x", "embeddings", (f"{theirs}.attn.rel_pos_w",), np.asarray
        yield from _linear(f"{ours}_mlp1", f"{theirs}.mlp.lin1")
        yield from _linear(f"{ours}_mlp2", f"{theirs}.mlp.lin2")
        number += 1
    for place, name in enumerate(("convolution1", "norm1", "convolution2", "norm2")):
        pairs = _norm if name.startswith("norm") else _kernel
        yield from pairs(f"neck_{name}", f"neck.{place}")


def _decoder_names(network: keras.Model) -> Names:
    prompt, decoder = "prompt_encoder", "mask_decoder"
    kinds = [f"{prompt}.not_a_point_embed", *(f"{prompt}.point_embeddings.{kind}" for kind in range(4))]
    yield "point_kinds", "embeddings", tuple(f"{kind}.weight" for kind in kinds), _rows
    yield "frequencies", "kernel", (f"{prompt}.pe_layer.positional_encoding_gaussian_matrix",), np.asarray
    yield "no_mask", "embeddings", (f"{prompt}.no_mask_embed.weight",), np.asarray
    for place, name in ((0, "convolution1"), (1, "norm1"), (3, "convolution2"), (4, "norm2"), (6, "convolution3")):
        pairs = _norm if name.startswith("norm") else _convolution
        yield from pairs(f"mask_{name}", f"{prompt}.mask_downscaling.{place}")
    tokens = f"{decoder}.iou_token.weight", f"{decoder}.mask_tokens.weight"
    yield "output_tokens", "embeddings", tokens, _rows
    number, layers = 0, {layer.name for layer in network.layers}
    while f"layer{number}_self" in layers:
        ours, theirs = f"layer{number}", f"{decoder}.transformer.layers.{number}"
        yield from _attention(network, f"{ours}_self", f"{theirs}.self_attn")
        yield from _attention(network, f"{ours}_to_image", f"{theirs}.cross_attn_token_to_image")
        yield from _attention(network, f"{ours}_to_tokens", f"{theirs}.cross_attn_image_to_token")
        for norm in range(1, 5):
            yield from _norm(f"{ours}_norm{norm}", f"{theirs}.norm{norm}")
        for place in (1, 2):
            yield from _linear(f"{ours}_mlp_{place - 1}", f"{theirs}.mlp.lin{place}")
        number += 1
    yield from _attention(network, "final_to_image", f"{decoder}.transformer.final_attn_token_to_image")
    yield from _norm("final_norm", f"{decoder}.transformer.norm_final_attn")
    yield from _convolution("upscaling1", f"{decoder}.output_upscaling.0")
    yield from _norm("upscaling_norm", f"{decoder}.output_upscaling.1")
    yield from _convolution("upscaling2", f"{decoder}.output_upscaling.3")
    for place in range(3):
        yield from _linear(f"quality_{place}", f"{decoder}.iou_prediction_head.layers.{place}")
        for mask in range(4):
            yield from _linear(f"mask{mask}_{place}", f"{decoder}.output_hypernetworks_mlps.{mask}.layers.{place}")


def _norm(layer: str, name: str) -> Names:
    for theirs, ours in _NORM.items():
        yield layer, ours, (f"{name}.{theirs}",), np.asarray


def _linear(layer: str, name: str) -> Names:
    for theirs, ours in _LINEAR.items():
        yield layer, ours, (f"{name}.{theirs}",), np.transpose


def _kernel(layer: str, name: str) -> Names:
    yield layer, "kernel", (f"{name}.weight",), lambda a: a.transpose(2, 3, 1, 0)


def _convolution(layer: str, name: str) -> Names:
    yield from _kernel(layer, name)
    yield layer, "bias", (f"{name}.bias",), np.asarray


def _attention(network: keras.Model, layer: str, name: str) -> Names:
    """The four projections of a `keras.layers.MultiHeadAttention`; its variables are named by the path within it."""
    for ours, theirs in (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"), ("attention_output", "out_proj")):
        yield layer, f"{ours}/kernel", (f"{name}.{theirs}.weight",), np.transpose
        yield layer, f"{ours}/bias", (f"{name}.{theirs}.bias",), np.asarray


def _rows(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays)


def _assign(network: keras.Model, names: Names, tensors: Arrays, path: Path, prefix: str) -> None:
    for layer, variable, sources, make in names:
        target = _variable(network.get_layer(layer), variable)
        missing = [prefix + source for source in sources if prefix + source not in tensors]
        if missing:
            raise UserError(f"{path} has no {missing[0]}: it is not a checkpoint of Segment Anything of this size.")
        array = make(*(tensors.pop(prefix + source) for source in sources))
        if array.size != np.prod(target.shape):
            raise UserError(
                f"{path}: {prefix + sources[0]} has the shape {array.shape}, where {layer} has {tuple(target.shape)}."
            )
        target.assign(array.reshape(target.shape))


def _variable(layer: keras.layers.Layer, name: str) -> keras.Variable:
    return next(variable for variable in layer.weights if variable.path.endswith(f"/{name}"))
