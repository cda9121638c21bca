"""The official Segment Anything: embeddings, prompted masks and automatic masks of a checkpoint."""

import itertools
import time
import warnings

import numpy as np
import torch
from torchvision_operators import declare, declared

warnings.simplefilter("ignore")
declare(without=("nms",))
declared.define("nms(Tensor boxes, Tensor scores, float threshold) -> Tensor")


def _nms(boxes, scores, threshold):
    """Greedy non-maximum suppression of boxes, as torchvision documents it."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order, kept = torch.argsort(scores, descending=True, stable=True), []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        low = torch.maximum(boxes[first, :2], boxes[rest, :2])
        high = torch.minimum(boxes[first, 2:], boxes[rest, 2:])
        shared = torch.clamp(high - low, min=0).prod(dim=1)
        order = rest[shared <= threshold * (areas[first] + areas[rest] - shared)]
    return torch.stack(kept)


declared.impl("nms", _nms, "CPU")

from functools import partial  # noqa: E402

import torchvision  # noqa: E402
from segment_anything import modeling, sam_model_registry  # noqa: E402

torchvision.extension._has_ops = lambda: True

torch.set_num_threads(2)


def checkpoint(given):
    """Write a checkpoint of random weights, the position tables too, which are zeros as built."""
    torch.manual_seed(int(given["seed"]))
    network = _network(given)
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if "pos" in name or "bias" in name:
                tensor.normal_(std=0.05)
    torch.save(network.state_dict(), str(given["path"]))
    counts = {name: sum(tensor.numel() for tensor in part.parameters()) for name, part in network.named_children()}
    return {name: np.asarray(count) for name, count in counts.items()}


def predict(given):
    """Embedding of an image at the network's size (y, x, 3), and masks and scores of prompts, of any kind or none."""
    network = _network(given)
    network.load_state_dict(torch.load(str(given["path"])))
    network.eval()
    with torch.no_grad():
        image = torch.as_tensor(given["image"].transpose(2, 0, 1)[None], dtype=torch.float32)
        embedding = network.image_encoder(image)
        points = (torch.as_tensor(given["points"]), torch.as_tensor(given["labels"])) if "points" in given else None
        boxes = torch.as_tensor(given["boxes"]) if "boxes" in given else None
        masks = torch.as_tensor(given["masks"]) if "masks" in given else None
        sparse, dense = network.prompt_encoder(points=points, boxes=boxes, masks=masks)
        logits, scores = network.mask_decoder.predict_masks(
            image_embeddings=embedding,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
        )
    return {"embedding": embedding[0].permute(1, 2, 0).numpy(), "masks": logits.numpy(), "scores": scores.numpy()}


def micro_sam_checkpoint(given):
    """Write what micro-sam would export: with a low rank beside queries and values, and a decoder of all objects."""
    torch.manual_seed(int(given["seed"]))
    network = _adapted(_network(given), int(given["rank"]))
    up = "block" if given["transposed"] else "conv"
    sizes = [int(given["features"]), 512, 256, 128, 64]
    kernels = {"out_conv": (3, 64, 1), f"deconv_out.{up}": (64, 64, 0)}
    kernels |= {f"base.block.{place}": (512, before, 3) for place, before in ((1, sizes[0]), (4, 512))}
    kernels |= {f"decoder_head.block.{place}": (64, before, 3) for place, before in ((1, 128), (4, 64))}
    state = {}
    for number, (before, after) in enumerate(itertools.pairwise(sizes)):
        kernels |= {f"deconv{number + 1}.block.0.{up}": (after, before, 0)}
        kernels |= {f"deconv{number + 1}.block.1.block": (after, after, 3)}
        for kind in ("weight", "bias", "running_mean", "running_var"):
            state[f"deconv{number + 1}.block.2.{kind}"] = torch.rand(after) + 0.5
        state[f"deconv{number + 1}.block.2.num_batches_tracked"] = torch.tensor(3)
        if number:
            kernels |= {f"decoder.samplers.{number - 1}.{up}": (after, before, 0)}
            kernels |= {f"decoder.blocks.{number - 1}.block.1": (after, before, 3)}
            kernels |= {f"decoder.blocks.{number - 1}.block.4": (after, after, 3)}
    for name, (after, before, side) in kernels.items():
        shape = (after, before, side or 1, side or 1)
        if side == 0 and given["transposed"]:
            shape = (before, after, 2, 2)
        state[f"{name}.weight"] = torch.randn(shape) * (2 / (before * shape[2] ** 2)) ** 0.5
        state[f"{name}.bias"] = torch.randn(after) * 0.1
    model_state = {f"sam.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"model_state": model_state, "decoder_state": state}, str(given["path"]))
    return {}


def maps(given):
    """Foreground and distances at the size of an image (y, x, 3) of any size, uint8 from 0 to 255."""
    from segment_anything import SamPredictor

    checkpoint = torch.load(str(given["path"]))
    network = _adapted(_network(given), int(given["rank"]))
    network.load_state_dict({name.removeprefix("sam."): tensor for name, tensor in checkpoint["model_state"].items()})
    predictor = SamPredictor(network.eval())
    predictor.set_image(given["image"])
    with torch.no_grad():
        found = _all_objects(checkpoint["decoder_state"], predictor.features)
    found = network.postprocess_masks(found, predictor.input_size, predictor.original_size)
    return {"maps": found[0].permute(1, 2, 0).numpy()}


class _Adapted(torch.nn.Module):
    """A linear layer for queries, keys and values with products of small matrices beside it (Hu et al. 2022)."""

    def __init__(self, layer, rank):
        super().__init__()
        self.qkv_proj, width = layer, layer.in_features
        for part in "qv":
            setattr(self, f"w_a_linear_{part}", torch.nn.Linear(width, rank, bias=False))
            setattr(self, f"w_b_linear_{part}", torch.nn.Linear(rank, width, bias=False))

    def forward(self, x):
        q, v = self.w_b_linear_q(self.w_a_linear_q(x)), self.w_b_linear_v(self.w_a_linear_v(x))
        return self.qkv_proj(x) + torch.cat([q, torch.zeros_like(q), v], dim=-1)


def _adapted(network, rank):
    for block in network.image_encoder.blocks if rank else ():
        block.attn.qkv = _Adapted(block.attn.qkv, rank)
    return network


def _all_objects(state, embedding):
    """The decoder of all objects of micro-sam, from its state: foreground, centre and boundary distance."""
    functional = torch.nn.functional

    def convolution(name, x):
        kernel = state[f"{name}.weight"]
        return functional.conv2d(x, kernel, state[f"{name}.bias"], padding=kernel.shape[-1] // 2)

    def enlarged(name, x):
        if f"{name}.block.weight" in state:
            return functional.conv_transpose2d(x, state[f"{name}.block.weight"], state[f"{name}.block.bias"], stride=2)
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return convolution(f"{name}.conv", x)

    def twice(name, x):
        for place in (1, 4):
            x = convolution(f"{name}.block.{place}", functional.instance_norm(x)).relu()
        return x

    path, x = [], embedding
    for number in range(1, 5):
        name = f"deconv{number}.block"
        x = convolution(f"{name}.1.block", enlarged(f"{name}.0", x))
        norm = [state[f"{name}.2.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")]
        x = functional.batch_norm(x, *norm).relu()
        path.append(x)
    x = twice("base", embedding)
    for number, other in enumerate(path[:3]):
        x = enlarged(f"decoder.samplers.{number}", x)
        first = (other.shape[1] - x.shape[1]) // 2  # as its U-Net cuts what it joins, the channels too
        x = twice(f"decoder.blocks.{number}", torch.cat([x, other[:, first : first + x.shape[1]]], dim=1))
    x = twice("decoder_head", torch.cat([enlarged("deconv_out", x), path[3]], dim=1))
    return convolution("out_conv", x).sigmoid()


def _network(given):
    """The official network of a named size, or of sizes given one by one."""
    if "size" in given:
        return sam_model_registry[str(given["size"])]()
    sizes = {
        name: int(given[name]) for name in ("image_size", "patch", "width", "depth", "heads", "window", "features")
    }
    side = sizes["image_size"] // sizes["patch"]
    return modeling.Sam(
        modeling.ImageEncoderViT(
            img_size=sizes["image_size"],
            patch_size=sizes["patch"],
            embed_dim=sizes["width"],
            depth=sizes["depth"],
            num_heads=sizes["heads"],
            out_chans=sizes["features"],
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=sizes["window"],
            global_attn_indexes=tuple(given["global_blocks"].tolist()),
        ),
        modeling.PromptEncoder(
            embed_dim=sizes["features"],
            image_embedding_size=(side, side),
            input_image_size=(sizes["image_size"], sizes["image_size"]),
            mask_in_chans=16,
        ),
        modeling.MaskDecoder(
            transformer_dim=sizes["features"],
            transformer=modeling.TwoWayTransformer(
                depth=2, embedding_dim=sizes["features"], mlp_dim=int(given["hidden"]), num_heads=8
            ),
            iou_head_hidden_dim=sizes["features"],
        ),
    )


def masks(given):
    """Masks of an image (y, x, 3) of any size, uint8, by `SamPredictor`: logits at the image's size, and scores."""
    from segment_anything import SamPredictor

    network = _network(given)
    network.load_state_dict(torch.load(str(given["path"])))
    predictor = SamPredictor(network.eval())
    predictor.set_image(given["image"])
    results = [
        predictor.predict(
            point_coords=given["points"][place] if "points" in given else None,
            point_labels=given["labels"][place] if "points" in given else None,
            box=given["boxes"][place] if "boxes" in given else None,
            multimask_output=bool(given["several"]),
            return_logits=True,
        )
        for place in range(int(given["count"]))
    ]
    return {
        "logits": np.stack([result[0] for result in results]),
        "scores": np.stack([result[1] for result in results]),
    }


def automatic(given):
    """What `SamAutomaticMaskGenerator` finds: masks, scores, stability, boxes (x, y, width, height)."""
    from segment_anything import SamAutomaticMaskGenerator

    network = _network(given)
    network.load_state_dict(torch.load(str(given["path"])))
    return _found(SamAutomaticMaskGenerator(network.eval(), **_settings(given)), given["image"])


def _settings(given):
    return {
        "points_per_side": int(given["points_per_side"]),
        "pred_iou_thresh": float(given["score_threshold"]),
        "stability_score_thresh": float(given["stability_threshold"]),
        "box_nms_thresh": float(given["box_overlap"]),
        "min_mask_region_area": int(given["minimum_region"]),
    }


def _found(generator, image):
    found = generator.generate(image)
    return {
        "masks": np.stack([mask["segmentation"] for mask in found]),
        "scores": np.array([mask["predicted_iou"] for mask in found]),
        "stability": np.array([mask["stability_score"] for mask in found]),
        "boxes": np.array([mask["bbox"] for mask in found]),
    }


class _Answers:
    """In place of `SamPredictor`: the logits and scores of another network for the points of the grid, in its order."""

    device, mask_threshold = "cpu", 0.0

    def __init__(self, logits, scores):
        self.transform = self.model = self
        self._rest = iter(zip(torch.as_tensor(logits), torch.as_tensor(scores), strict=True))

    def set_image(self, image):
        pass

    def reset_image(self):
        pass

    def apply_coords(self, points, shape):
        return points

    def predict_torch(self, points, labels, **options):
        found = list(itertools.islice(self._rest, len(points)))
        return *(torch.stack([part[place] for part in found]) for place in (0, 1)), None


def automatic_of(given):
    """What `automatic` finds with the logits (point, 3, y, x) and scores (point, 3) of another network."""
    from segment_anything import SamAutomaticMaskGenerator

    generator = SamAutomaticMaskGenerator(_network(given), **_settings(given))
    generator.predictor = _Answers(given["logits"], given["scores"])
    return _found(generator, given["image"])


def encoder_time(given):
    """Seconds of the image encoder at 1024 x 1024 pixels, and of one and of 64 prompts, the best of several runs."""
    network = _network(given).eval()
    image = torch.as_tensor(given["image"].transpose(2, 0, 1)[None])

    def prompts(count):
        boxes = torch.as_tensor(given["boxes"][:count])
        sparse, dense = network.prompt_encoder(points=None, boxes=boxes, masks=None)
        network.mask_decoder(
            image_embeddings=embedding,
            image_pe=network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )

    seconds = {}
    with torch.no_grad():
        embedding = network.image_encoder(image)
        calls = {
            "encoder": lambda: network.image_encoder(image),
            "one": lambda: prompts(1),
            "many": lambda: prompts(64),
        }
        for name, call in calls.items():
            times = []
            for _ in range(int(given["repeats"])):
                start = time.perf_counter()
                call()
                times.append(time.perf_counter() - start)
            seconds[name] = np.array(min(times))
    return seconds
