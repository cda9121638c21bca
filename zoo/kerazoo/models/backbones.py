"""ImageNet encoders of keras.applications, as the contracting path of a segmentation network or below a classifier.

An encoder takes values between 0 and 1, brings them into the range that it was trained with, and is tapped at strides
2, 4, 8, 16 and 32, the ends of its stages, and at its top. It takes any number of channels: `kerazoo.models.weights`
tells what becomes of its first convolution.
"""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

import keras
import numpy as np

from bmzpack.errors import UserError

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's red, green and blue values between 0 and 1."""

SCALING = "backbone_scaling"
"""Name of the layer that brings values between 0 and 1 into the range of an encoder."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """An encoder: its function in keras.applications, its input range, and the layers where it is tapped."""

    application: str
    stem: str
    """The first convolution."""
    taps: tuple[str, ...]
    """Layers whose output has stride 2, 4, 8, 16 and 32."""
    top: str
    """The last layer, of stride 32, whose maps a classifier averages."""
    standardised: bool = False
    """Whether it takes values standardised by ImageNet's mean and deviation, or values between -1 and 1."""
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)

    def build(self, alpha: float, **arguments: Any) -> keras.Model:
        """Call the function in keras.applications."""
        if self.application == "MobileNetV2":
            arguments["alpha"] = alpha
        return getattr(keras.applications, self.application)(include_top=False, **self.arguments, **arguments)


STAGES: tuple[str, ...] = ("stride2", "stride4", "stride8", "stride16", "stride32")
"""Names of an encoder's stages, each of which ends with a tap."""

BACKBONES = {
    "mobilenet_v2": Backbone(
        "MobileNetV2",
        stem="Conv1",
        taps=(
            "block_1_expand_relu",
            "block_3_expand_relu",
            "block_6_expand_relu",
            "block_13_expand_relu",
            "block_16_project_BN",
        ),
        top="out_relu",
    ),
    "efficientnet_v2_b0": Backbone(
        "EfficientNetV2B0",
        stem="stem_conv",
        taps=("block1a_project_activation", "block2b_add", "block3b_add", "block5e_add", "block6h_add"),
        top="top_activation",
        standardised=True,
        arguments={"include_preprocessing": False},
    ),
    "resnet50_v2": Backbone(
        "ResNet50V2",
        stem="conv1_conv",
        taps=("conv1_conv", "conv2_block3_1_relu", "conv3_block4_1_relu", "conv4_block6_1_relu", "post_relu"),
        top="post_relu",
    ),
}
"""MobileNetV2 (Sandler et al. 2018), EfficientNetV2 (Tan and Le 2021), ResNet V2 (He et al. 2016)."""


def get_backbone(name: str) -> Backbone:
    """The encoder of a name.

    Raises
    ------
    UserError
        There is none; the message gives the nearest one.
    """
    if name not in BACKBONES:
        near = difflib.get_close_matches(name, BACKBONES, n=1, cutoff=0.0)[0]
        raise UserError(f"There is no backbone {name!r}; did you mean {near!r}? All names: {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def add_backbone(inputs: Any, name: str, depth: int, alpha: float = 1.0) -> list[Any]:
    """Put an encoder on an input, its weights random.

    Parameters
    ----------
    inputs
        Keras tensor (batch, y, x, channel), of values between 0 and 1.
    name
        A name of `BACKBONES`.
    depth
        How many taps are wanted: 5 goes down to stride 32.
    alpha
        Width of MobileNetV2.

    Returns
    -------
    list
        Keras tensors of strides 2, 4, ... .

    Raises
    ------
    UserError
        There is no such encoder.
    """
    application = _application(inputs, name, alpha)
    return [application.get_layer(tap).output for tap in get_backbone(name).taps[:depth]]


def add_whole_backbone(inputs: Any, name: str, alpha: float = 1.0) -> Any:
    """Put an encoder on an input up to its top, its weights random.

    Parameters
    ----------
    inputs, name, alpha
        As for `add_backbone`.

    Returns
    -------
    Keras tensor
        (batch, y / 32, x / 32, feature).

    Raises
    ------
    UserError
        There is no such encoder.
    """
    return _application(inputs, name, alpha).get_layer(get_backbone(name).top).output


def _application(inputs: Any, name: str, alpha: float) -> keras.Model:
    backbone = get_backbone(name)
    if not backbone.standardised:
        scaling = keras.layers.Rescaling(2.0, -1.0, name=SCALING)
    elif inputs.shape[-1] == 3:
        gain = 1 / np.array(_DEVIATION)
        scaling = keras.layers.Rescaling(gain.tolist(), (-np.array(_MEAN) * gain).tolist(), name=SCALING)
    else:
        gain = 1 / float(np.mean(_DEVIATION))
        scaling = keras.layers.Rescaling(gain, -float(np.mean(_MEAN)) * gain, name=SCALING)
    application = backbone.build(alpha, input_tensor=scaling(inputs), weights=None)
    for layer in application.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # as in the decoder: 0.999 would need more steps than a short training has
    return application


def encoder_of(model: keras.Model, name: str, until: str | None = None) -> keras.Model:
    """The part of a network that is its encoder, from the input to the taps; its layers are shared, not copied.

    Parameters
    ----------
    model
        The network.
    name
        A name of `BACKBONES`.
    until
        A name of `STAGES`: the part up to the end of this stage only.

    Raises
    ------
    UserError
        The network does not reach down to the stage.
    """
    present = stages_of(model, name)
    if until is not None and until not in present:
        raise UserError(f"{model.name} has no stage {until}: its encoder has {', '.join(present)}.")
    backbone, names = get_backbone(name), {layer.name for layer in model.layers}
    taps = dict(zip(STAGES, backbone.taps, strict=True))
    ends = [taps[until]] if until else [taps[stage] for stage in present]
    if until is None and backbone.top in names:
        ends.append(backbone.top)
    return keras.Model(model.inputs, [model.get_layer(end).output for end in ends])


def stages_of(model: keras.Model, name: str) -> list[str]:
    """The stages of an encoder that a network has, a name of `STAGES` each."""
    names = {layer.name for layer in model.layers}
    return [stage for stage, tap in zip(STAGES, get_backbone(name).taps, strict=True) if tap in names]


def scales_itself(model: keras.Model) -> bool:
    """Whether a network has an encoder that brings pixels between 0 and 1 into the range that it knows."""
    return any(layer.name == SCALING for layer in model.layers)


def freeze_statistics(encoder: keras.Model) -> None:
    """Keep the batch normalisation of an encoder in inference mode, its weights fixed."""
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
