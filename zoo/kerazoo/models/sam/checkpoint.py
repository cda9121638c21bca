"""Weights of Segment Anything and of micro-sam, tensor by tensor into the networks of this zoo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from bmzpack.errors import UserError
from kerazoo.data.normalise import Normalisation
from kerazoo.files.torch_file import read_torch_file
from kerazoo.models.exchange import Converted
from kerazoo.models.recipe import TileGeometry
from kerazoo.models.sam.network import SIZES, sam_vit

Arrays = dict[str, np.ndarray]
Source = tuple[str, ...]
"""Names in the file of what becomes one tensor."""

_LINEAR = {"weight": "kernel", "bias": "bias"}
_NORM = {"weight": "gamma", "bias": "beta"}


MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
"""Mean and standard deviation of red, green and blue, from 0 to 255, by which the official package normalises."""


def convert(path: Path, channels: int | None) -> Converted:
    """What a run of a file is made of.

    Parameters
    ----------
    path
        Of Segment Anything (`sam_vit_b_01ec64.pth` and its like), or of micro-sam, as its `export_custom_sam_model`
        writes it: `model_state` and `decoder_state`, with low-rank adaptations of the attention or without.
    channels
        3: colour images, from 0 to 255 as in the official package. 1, the default: grey images, seen in all three
        channels, their smallest pixel as 0 and their largest as 255, as in micro-sam, whose networks have colour
        images brought to this range, too.

    Returns
    -------
    Converted
        Its network has the maps of all objects where the file has a decoder for them.

    Raises
    ------
    UserError
        The file cannot be read, is of another network, or does not fit tensor by tensor.
    """
    channels = 1 if channels is None else channels
    if channels not in (1, 3):
        raise UserError(f"{path} is for colour images, or grey ones: choose --channels 3 or 1.")
    tensors = read_torch_file(path)
    fine_tuned = any(name.startswith("model_state/") for name in tensors)
    tensors = {_plain_name(name): tensor for name, tensor in tensors.items() if not name.endswith(_COUNT)}
    _merge_low_rank(tensors)
    name, arguments = _sizes(tensors, path)
    network = sam_vit(name.removeprefix("sam_"), **arguments)
    assign_encoder(network, tensors, path)
    assign_decoder(network.get_layer("mask_decoder"), tensors, path)
    if arguments["instances"]:
        _assign(network, _all_names(arguments["transposed"]), tensors, path, _ALL)
    if tensors:
        raise UserError(f"{path} has tensors that {name} does not have ({next(iter(tensors))}): it is another network.")
    mean, deviation = (np.array(numbers) for numbers in (MEAN, DEVIATION))
    if fine_tuned or channels == 1:
        normalisation = Normalisation(method="percentile", low=0, high=100, per_channel=True)
        mean, deviation = mean / 255, deviation / 255
    else:
        normalisation = Normalisation(method="standardisation", scope="dataset")
    normalisation.mean, normalisation.deviation = mean.tolist(), deviation.tolist()
    content = {
        "model": {"name": name, "weights": None, "arguments": _others(arguments, name)},
        "data": {"channels": channels},
        "normalisation": normalisation.model_dump(include={"method", "scope", "low", "high", "per_channel"}),
        "training": {"patch_size": 512},
    }
    side = network.inputs[0].shape[1]
    return Converted(
        network,
        content,
        geometry=TileGeometry(step=side, halo=None, minimum=side),
        normalisation=normalisation,
    )


_COUNT = "num_batches_tracked"
"""A count of training steps, beside every batch normalisation."""
_ALL = "decoder_state/"


def _plain_name(name: str) -> str:
    return name.removeprefix("model_state/").removeprefix("sam.")


def _merge_low_rank(tensors: Arrays) -> None:
    """Add what was trained beside the kernels of queries, keys and values to them (Hu et al. 2022)."""
    ending = ".qkv_proj.weight"
    for stem in [name.removesuffix(ending) for name in tensors if name.endswith(ending)]:
        kernel = tensors[f"{stem}.weight"] = tensors.pop(stem + ending).copy()
        tensors[f"{stem}.bias"] = tensors.pop(f"{stem}.qkv_proj.bias")
        width = kernel.shape[1]
        for place, part in enumerate("qkv"):
            first, second = (f"{stem}.w_{matrix}_linear_{part}.weight" for matrix in "ab")
            if first in tensors and second in tensors:
                kernel[place * width : (place + 1) * width] += tensors.pop(second) @ tensors.pop(first)


def _sizes(tensors: Arrays, path: Path) -> tuple[str, dict[str, Any]]:
    """The network of these tensors: its name, and all its arguments."""
    if "image_encoder.patch_embed.seq.0.c.weight" in tensors:
        raise UserError(f"{path} is a MobileSAM (vit_t): choose a file of vit_b, vit_l or vit_h.")
    try:
        patch, positions = (tensors[f"image_encoder.{name}"] for name in ("patch_embed.proj.weight", "pos_embed"))
        width, _, _, size = patch.shape
        _, side, _, _ = positions.shape
        rows = []
        while (name := f"image_encoder.blocks.{len(rows)}.attn.rel_pos_h") in tensors:
            rows.append(tensors[name].shape[0])
        last = f"image_encoder.blocks.{len(rows) - 1}.attn.rel_pos_h"
        arguments = {
            "image_size": side * size,
            "patch": size,
            "width": width,
            "depth": len(rows),
            "heads": width // tensors[last].shape[1],
            "global_blocks": tuple(number for number, count in enumerate(rows) if count == 2 * side - 1),
            "window": (min(rows) + 1) // 2,
            "features": tensors["image_encoder.neck.0.weight"].shape[0],
            "hidden": tensors["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0],
        }
    except (KeyError, ValueError, IndexError) as error:
        raise UserError(
            f"{path} has no image encoder of Segment Anything ({str(error).splitlines()[0]}): choose a file of vit_b, "
            "vit_l or vit_h, or of micro-sam."
        ) from error
    last = tensors.get(f"{_ALL}out_conv.weight")
    arguments["instances"] = 0 if last is None else last.shape[1]
    arguments["transposed"] = f"{_ALL}deconv_out.block.weight" in tensors
    known = (size for size, sizes in SIZES.items() if (sizes["width"], sizes["depth"]) == (width, len(rows)))
    return f"sam_{next(known, 'vit_b')}", arguments


def _others(arguments: dict[str, Any], name: str) -> dict[str, Any]:
    """Arguments that are not those by default."""
    usual = {"image_size": 1024, "patch": 16, "window": 14, "features": 256, "hidden": 2048}
    usual |= {"instances": 64, "transposed": False} | SIZES[name.removeprefix("sam_")]
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in arguments.items()
        if value != usual[key]
    }


def assign_encoder(network: keras.Model, tensors: Arrays, path: Path, prefix: str = "image_encoder.") -> None:
    """Give an encoder of `kerazoo.models.sam.encoder` the weights of the official one.

    Parameters
    ----------
    network
        A network of the same sizes.
    tensors
        The state dict; tensors that are used are taken out.
    path
        The file, for messages.
    prefix
        Beginning of the names.

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
        for place, part in enumerate(("query", "key", "value")):
            for variable, tensor in (("kernel", "weight"), ("bias", "bias")):
                yield f"{ours}_attention_{part}", variable, (f"{theirs}.attn.qkv.{tensor}",), _third(place)
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


def _all_names(transposed: bool) -> Names:
    up = "block" if transposed else "conv"
    for number in range(4):
        ours = f"all_path{number}"
        theirs = f"deconv{number + 1}.block"
        yield from _convolution(f"{ours}_up", f"{theirs}.0.{up}")
        yield from _convolution(f"{ours}_convolution", f"{theirs}.1.block")
        yield from _norm(f"{ours}_norm", f"{theirs}.2")
        yield f"{ours}_norm", "moving_mean", (f"{theirs}.2.running_mean",), np.asarray
        yield f"{ours}_norm", "moving_variance", (f"{theirs}.2.running_var",), np.asarray
    blocks = {"all_base": "base", "all_last": "decoder_head"}
    blocks |= {f"all_level{number}": f"decoder.blocks.{number}" for number in range(3)}
    for ours, theirs in blocks.items():
        yield from _convolution(f"{ours}_convolution1", f"{theirs}.block.1")
        yield from _convolution(f"{ours}_convolution2", f"{theirs}.block.4")
    for number in range(3):
        yield from _convolution(f"all_level{number}_up", f"decoder.samplers.{number}.{up}")
    yield from _convolution("all_last_up", f"deconv_out.{up}")
    yield from _convolution("maps", "out_conv")


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


def _third(place: int) -> Callable[..., np.ndarray]:
    return lambda array: np.split(array, 3)[place].T


def _rows(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays)


def _assign(network: keras.Model, names: Names, tensors: Arrays, path: Path, prefix: str) -> None:
    used = set()
    for layer, variable, sources, make in names:
        target = _variable(network.get_layer(layer), variable)
        sources = tuple(prefix + source for source in sources)
        missing = [source for source in sources if source not in tensors]
        if missing:
            raise UserError(f"{path} has no {missing[0]}: it is not a checkpoint of Segment Anything of this size.")
        array = make(*(tensors[source] for source in sources))
        if array.size != np.prod(target.shape):
            raise UserError(
                f"{path}: {sources[0]} has the shape {array.shape}, where {layer} has {tuple(target.shape)}."
            )
        if not np.isfinite(array).all():
            raise UserError(f"{path}: {sources[0]} holds values that are no numbers; get the file again.")
        target.assign(array.reshape(target.shape))
        used.update(sources)
    for source in used:
        del tensors[source]


def _variable(layer: keras.layers.Layer, name: str) -> keras.Variable:
    return next(variable for variable in layer.weights if variable.path.endswith(f"/{name}"))
