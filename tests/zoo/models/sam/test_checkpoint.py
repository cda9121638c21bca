"""Files of Segment Anything and of micro-sam: every tensor in its place, other files refused, and what a run gives."""

import csv
import itertools

import keras
import numpy as np
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.configuration.write import write_config
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.inference.load import load_predictor
from kerazoo.inference.predict import predict
from kerazoo.inference.prompted import PromptedPredictor
from kerazoo.models.configure import read_config
from kerazoo.models.sam import checkpoint as converter
from kerazoo.training.convert import convert
from kerazoo.training.transfer import check_transfer

WIDTH, DEPTH, SIDE, FEATURES, HIDDEN = 32, 2, 8, 32, 24


def official():
    """Tensors by the official names, in the official shapes: 64 x 64 pixels, patches of 8, windows of 3 in block 0."""
    half, quarter, eighth = FEATURES // 2, FEATURES // 4, FEATURES // 8
    shapes = {
        "image_encoder.pos_embed": (1, SIDE, SIDE, WIDTH),
        "image_encoder.patch_embed.proj.weight": (WIDTH, 3, 8, 8),
        "image_encoder.patch_embed.proj.bias": (WIDTH,),
        "image_encoder.neck.0.weight": (FEATURES, WIDTH, 1, 1),
        "image_encoder.neck.2.weight": (FEATURES, FEATURES, 3, 3),
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": (2, half),
        "prompt_encoder.mask_downscaling.0.weight": (4, 1, 2, 2),
        "prompt_encoder.mask_downscaling.3.weight": (16, 4, 2, 2),
        "prompt_encoder.mask_downscaling.6.weight": (FEATURES, 16, 1, 1),
        "mask_decoder.iou_token.weight": (1, FEATURES),
        "mask_decoder.mask_tokens.weight": (4, FEATURES),
        "mask_decoder.output_upscaling.0.weight": (FEATURES, quarter, 2, 2),
        "mask_decoder.output_upscaling.3.weight": (quarter, eighth, 2, 2),
    }
    shapes |= {
        f"prompt_encoder.mask_downscaling.{place}.bias": (size,) for place, size in ((0, 4), (3, 16), (6, FEATURES))
    }
    shapes |= {f"mask_decoder.output_upscaling.{place}.bias": (size,) for place, size in ((0, quarter), (3, eighth))}
    shapes |= {f"prompt_encoder.{name}.weight": (1, FEATURES) for name in ("no_mask_embed", "not_a_point_embed")}
    shapes |= {f"prompt_encoder.point_embeddings.{kind}.weight": (1, FEATURES) for kind in range(4)}
    norms = {f"image_encoder.neck.{place}": FEATURES for place in (1, 3)}
    norms |= {"prompt_encoder.mask_downscaling.1": 4, "prompt_encoder.mask_downscaling.4": 16}
    norms |= {"mask_decoder.output_upscaling.1": quarter, "mask_decoder.transformer.norm_final_attn": FEATURES}
    linear = {}
    for block in range(DEPTH):
        name = f"image_encoder.blocks.{block}"
        norms |= {f"{name}.norm1": WIDTH, f"{name}.norm2": WIDTH}
        linear |= {f"{name}.attn.qkv": (3 * WIDTH, WIDTH), f"{name}.attn.proj": (WIDTH, WIDTH)}
        linear |= {f"{name}.mlp.lin1": (4 * WIDTH, WIDTH), f"{name}.mlp.lin2": (WIDTH, 4 * WIDTH)}
        rows = 2 * (3, SIDE)[block] - 1
        shapes |= {f"{name}.attn.rel_pos_{axis}": (rows, WIDTH // 2) for axis in "hw"}
    attentions = {"mask_decoder.transformer.final_attn_token_to_image": half}
    for layer in range(2):
        name = f"mask_decoder.transformer.layers.{layer}"
        norms |= {f"{name}.norm{number}": FEATURES for number in range(1, 5)}
        linear |= {f"{name}.mlp.lin1": (HIDDEN, FEATURES), f"{name}.mlp.lin2": (FEATURES, HIDDEN)}
        attentions |= {f"{name}.self_attn": FEATURES, f"{name}.cross_attn_token_to_image": half}
        attentions |= {f"{name}.cross_attn_image_to_token": half}
    for name, size in attentions.items():
        linear |= {f"{name}.{part}_proj": (size, FEATURES) for part in "qkv"} | {f"{name}.out_proj": (FEATURES, size)}
    heads = {"mask_decoder.iou_prediction_head": 4}
    heads |= {f"mask_decoder.output_hypernetworks_mlps.{mask}": eighth for mask in range(4)}
    for name, size in heads.items():
        linear |= {f"{name}.layers.{place}": (FEATURES, FEATURES) for place in (0, 1)}
        linear |= {f"{name}.layers.2": (size, FEATURES)}
    for name, size in norms.items():
        shapes |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    random = np.random.default_rng(1)
    return {name: random.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}


def micro_sam():
    """The same as micro-sam keeps it: with a rank of 2 beside queries and values, and a decoder of all objects."""
    random = np.random.default_rng(2)
    tensors = {f"model_state/sam.{name}": tensor for name, tensor in official().items()}
    for block in range(DEPTH):
        name = f"model_state/sam.image_encoder.blocks.{block}.attn.qkv"
        for kind in ("weight", "bias"):
            tensors[f"{name}.qkv_proj.{kind}"] = tensors.pop(f"{name}.{kind}")
        for part in "qv":
            tensors[f"{name}.w_a_linear_{part}.weight"] = random.normal(0, 0.2, (2, WIDTH)).astype("f")
            tensors[f"{name}.w_b_linear_{part}.weight"] = random.normal(0, 0.2, (WIDTH, 2)).astype("f")
    widths, shapes = [FEATURES, 64, 32, 16, 8], {"out_conv": (3, 8, 1, 1), "deconv_out.conv": (8, 8, 1, 1)}
    for number, (before, after) in enumerate(itertools.pairwise(widths), start=1):
        shapes |= {f"deconv{number}.block.0.conv": (after, before, 1, 1)}
        shapes |= {f"deconv{number}.block.1.block": (after, after, 3, 3)}
        norm = {
            kind: random.random(after).astype("f") + 0.5 for kind in ("weight", "bias", "running_mean", "running_var")
        }
        norm["num_batches_tracked"] = np.array(7)
        tensors |= {f"decoder_state/deconv{number}.block.2.{kind}": values for kind, values in norm.items()}
    double = {"base": (FEATURES, 64), "decoder_head": (16, 8)}
    for number, (before, after) in enumerate(((64, 32), (32, 16), (16, 8))):
        double[f"decoder.blocks.{number}"] = (before, after)
        shapes[f"decoder.samplers.{number}.conv"] = (after, before, 1, 1)
    for name, (before, after) in double.items():
        shapes |= {f"{name}.block.1": (after, before, 3, 3), f"{name}.block.4": (after, after, 3, 3)}
    for name, shape in shapes.items():
        tensors[f"decoder_state/{name}.weight"] = random.normal(0, 0.05, shape).astype("f")
        tensors[f"decoder_state/{name}.bias"] = random.normal(0, 0.05, shape[:1]).astype("f")
    return tensors


@pytest.fixture
def converted(monkeypatch, tmp_path):
    """A function that makes a run of tensors."""

    def make(tensors, channels=None):
        monkeypatch.setattr(converter, "read_torch_file", lambda path: dict(tensors))
        path = tmp_path / "vit.pth"
        path.touch()
        return convert("sam", path, tmp_path / f"run{channels}", channels=channels, overwrite=True)

    return make


def test_official_weights_answer_prompts_and_find_all(converted, tmp_path):
    """Grey images of any shape and depth, without a decoder of all objects: then masks from a grid of points."""
    run = converted(official())
    assert (run.config.model.name, run.config.model.arguments["instances"]) == ("sam_vit_b", 0)
    random = np.random.default_rng(0)
    for name, dtype, factor in (("wide", np.uint8, 1), ("deep", np.uint16, 257)):
        image = random.integers(0, 256, (40, 70)).astype(dtype) * dtype(factor)
        image.flat[:2] = 0, 255 * factor
        tifffile.imwrite(tmp_path / f"{name}.tif", image)
    written = predict(run, [tmp_path / "wide.tif", tmp_path / "deep.tif"], tmp_path / "all")
    assert [tifffile.imread(path).shape for path in written] == [(40, 70)] * 2
    (tmp_path / "points.csv").write_text("x,y\n5,30\n60,12\n")
    (tmp_path / "boxes.csv").write_text("x0,y0,x1,y1\n3,4,50,30\n")
    for prompts, count in ({"points": "points.csv"}, 2), ({"boxes": "boxes.csv"}, 1):
        paths = {name: tmp_path / file for name, file in prompts.items()}
        labels, table = predict(run, tmp_path / "wide.tif", tmp_path / "asked", **paths, overwrite=True)
        assert tifffile.imread(labels).shape == (40, 70)
        assert len(list(csv.reader(table.open()))) == 1 + count
    # 16 bit as 8 bit: both from the smallest to the largest pixel
    asked = PromptedPredictor(run)
    first, second = (asked.embed(tifffile.imread(tmp_path / f"{name}.tif")[..., None]) for name in ("wide", "deep"))
    assert first.tokens.shape == (SIDE, SIDE, FEATURES)
    assert first.tokens.std() > 0.01
    assert second.shape == (40, 70)


def test_colour_images_are_normalised_as_in_the_official_package(converted):
    normalisation = converted(official(), 3).recipe.normalisation
    offset, scale = normalisation.offset_and_scale(np.zeros((4, 5, 3), np.uint8))
    np.testing.assert_allclose(offset, converter.MEAN)
    np.testing.assert_allclose(scale, converter.DEVIATION, rtol=1e-6)


def test_micro_sam_is_merged_and_has_maps(converted):
    tensors = micro_sam()
    run = converted(tensors)
    network = keras.saving.load_model(run.model_path)
    name = "model_state/sam.image_encoder.blocks.1.attn.qkv"
    expected = tensors[f"{name}.qkv_proj.weight"][2 * WIDTH :].copy()
    expected += tensors[f"{name}.w_b_linear_v.weight"] @ tensors[f"{name}.w_a_linear_v.weight"]
    np.testing.assert_allclose(network.get_layer("block1_attention_value").kernel, expected.T, rtol=1e-6)
    key = network.get_layer("block1_attention_key").kernel
    np.testing.assert_array_equal(key, tensors[f"{name}.qkv_proj.weight"][WIDTH : 2 * WIDTH].T)
    image = np.random.default_rng(0).integers(10, 200, (50, 30, 1)).astype(np.uint16)
    # grey in three channels, from 0 to 1, less the official mean
    offset, scale = run.recipe.normalisation.offset_and_scale(image)
    low, high = int(image.min()), int(image.max())
    np.testing.assert_allclose(offset, low + (high - low) * np.array(converter.MEAN) / 255)
    np.testing.assert_allclose(scale, (high - low) * np.array(converter.DEVIATION) / 255, rtol=1e-6)
    predictor = load_predictor(run)
    (maps,) = predictor.outputs(image).values()
    assert maps.shape == (50, 30, 3)
    assert ((maps >= 0) & (maps <= 1)).all()
    assert predictor.result(image).shape == (50, 30)
    with pytest.raises(UserError, match="leave --tile out"):
        load_predictor(run, tile=64)


def changed(name, value):
    tensors = official()
    tensors.pop(name, None)
    return tensors if value is None else tensors | {name: np.asarray(value, np.float32)}


LAST = "mask_decoder.iou_prediction_head.layers.2.bias"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (LAST, None, f"has no {LAST}"),
        (LAST, np.ones(5), "has the shape"),
        (LAST, np.full(4, np.nan), "no numbers"),
        ("extra.weight", [1], "extra.weight"),
        ("image_encoder.pos_embed", None, "no image encoder"),
        ("image_encoder.patch_embed.seq.0.c.weight", [1], "MobileSAM"),
    ],
)
def test_other_files_are_refused(converted, tmp_path, name, value, reason):
    with pytest.raises(UserError, match=reason):
        converted(changed(name, value))
    assert not (tmp_path / "runNone").exists()


def test_other_channels_are_refused(converted):
    with pytest.raises(UserError, match="choose --channels 3 or 1"):
        converted(official(), 2)


@pytest.mark.parametrize(("channels", "scope"), [(1, "image"), (3, "dataset")])
def test_training_goes_on_from_a_run(converted, tmp_path, channels, scope):
    """What is proposed fits the weights: fixed, and images scaled as they were."""
    run = converted(official(), channels)
    write_nuclei(tmp_path / "nuclei", images=3, seed=1, size=256)
    if channels == 3:
        for path in (tmp_path / "nuclei" / "images").iterdir():
            tifffile.imwrite(path, np.repeat(tifffile.imread(path)[..., None], 3, axis=-1), photometric="rgb")
    places = (tmp_path / "nuclei" / "images", tmp_path / "nuclei" / "masks")
    path = write_config("sam_vit_b", *places, tmp_path / "config.yaml", weights=str(run.model_path))
    config = read_config(path)
    assert (config.training.transfer, config.normalisation.scope, config.data.channels) == ("freeze", scope, channels)
    check_transfer(config)
