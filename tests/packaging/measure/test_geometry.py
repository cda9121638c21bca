"""What is measured from the graph is what the network does, and what arithmetic says."""

import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from bmzpack.errors import UserError
from bmzpack.measure import observe
from bmzpack.measure.geometry import Geometry, measure, measure_axis


def unet(depth: int, padding: str = "same", filters: int = 2, channels: int = 1) -> keras.Model:
    """Ronneberger et al. 2015, of any depth."""
    inputs = keras.Input((None, None, channels), name="raw")
    x, skips = inputs, []

    def block(x, width):
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding=padding, activation="relu")(x)
        return x

    for level in range(depth):
        x = block(x, filters * 2**level)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = block(x, filters * 2**depth)
    crop = 0
    for level, skip in reversed(list(enumerate(skips))):
        x = layers.Conv2DTranspose(filters * 2**level, 2, strides=2)(x)
        if padding == "valid":
            crop = 2 * crop + 4
            skip = layers.Cropping2D(crop)(skip)
            crop += 2
        x = block(layers.Concatenate()([skip, x]), filters * 2**level)
    return keras.Model(inputs, layers.Conv2D(2, 1, activation="softmax", name="probability")(x))


def rim_by_hand(depth: int) -> int:
    """Rim of the same-padded U-Net: 2 pixels per pair of convolutions, halved by pooling, doubled on the way back."""
    rim = 2
    for _ in range(depth):
        rim = math.ceil(rim / 2) + 2
    for _ in range(depth):
        rim = 2 * rim + 2
    return rim


def rim_by_running(model: keras.Model, geometry: Geometry, axis: int = 0) -> int:
    """Send two zones of ones through the network, all weights positive, and count the pixels that they reach."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            continue
        layer.set_weights([np.ones_like(w) if w.ndim > 1 else np.zeros_like(w) for w in layer.get_weights()])
        if getattr(layer, "activation", None) is not None:
            layer.activation = keras.activations.linear
    around = math.ceil(((geometry.halo or 0) + 8) / geometry.step) * geometry.step
    tile = geometry.minimum + math.ceil(2 * (geometry.halo or 0) / geometry.step + 1) * geometry.step
    other = measure_axis(model, 1 - axis).minimum
    rims = []
    for zone in (np.s_[:around], np.s_[around + tile :]):
        image = np.zeros((2 * around + tile, other), np.float32)
        image[zone] = 1
        image = np.moveaxis(image, 0, axis)[None, ..., None] * np.ones(model.input_shape[-1], np.float32)
        changed = np.asarray(model(image, training=False)) != np.asarray(model(0 * image, training=False))
        reached = np.moveaxis(changed[0], axis, 0).any(axis=(1, 2))
        inside = reached[around : around + tile - 2 * geometry.margin]
        rims.append(inside if zone.start is None else inside[::-1])
    return max(int(np.flatnonzero(rim).max(initial=-1)) + 1 for rim in rims)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_same_padded_unet(depth):
    geometry = measure(unet(depth))
    assert geometry == Geometry(step=2**depth, halo=rim_by_hand(depth), margin=0, minimum=2**depth)


def test_unet_of_2015():
    # 572 -> 388; the smallest size with an output is 188 -> 4 (the sizes of the paper's tiles are 188 + 16 n).
    # An output pixel sees 92 pixels to either side and no padding: no rim differs beyond the margin.
    assert measure(unet(4, "valid")) == Geometry(step=16, halo=92, margin=92, minimum=188)
    assert (572 - 188) % 16 == 0


def test_width_does_not_matter():
    assert measure(unet(3, filters=2)) == measure(unet(3, filters=5, channels=3))


@pytest.mark.parametrize(("depth", "padding"), [(2, "same"), (3, "same"), (2, "valid")])
def test_unet_by_running_it(depth, padding):
    model = unet(depth, padding)
    geometry = measure(model)
    assert rim_by_running(model, geometry) == geometry.halo - geometry.margin


def test_tile_equals_whole_image_within_the_halo():
    model = unet(2, filters=4)
    geometry = measure(model)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 128, 128, 1)).astype(np.float32)
    whole = model.predict(image, verbose=0)
    tile = model.predict(image[:, 32:112, 32:112], verbose=0)
    halo = geometry.halo
    inside = np.s_[:, 32 + halo : 112 - halo, 32 + halo : 112 - halo]
    np.testing.assert_allclose(tile[:, halo:-halo, halo:-halo], whole[inside], atol=1e-6)
    assert np.abs(tile - whole[:, 32:112, 32:112]).max() > 1e-3


def test_step_moves_the_output_along():
    model = unet(2, filters=4)
    step = measure(model).step
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, 96, 96, 1)).astype(np.float32)
    whole = model.predict(image, verbose=0)
    centre = np.s_[:, 40:-40, 40:-40]

    def shifted(pixels):
        return np.roll(model.predict(np.roll(image, pixels, 1), verbose=0), -pixels, 1)

    np.testing.assert_allclose(shifted(step)[centre], whole[centre], atol=1e-6)
    assert np.abs(shifted(step - 1)[centre] - whole[centre]).max() > 1e-3


layer_stacks = st.lists(
    st.one_of(
        st.tuples(st.just("convolution"), st.sampled_from([1, 3, 5]), st.integers(1, 3)),
        st.tuples(st.just("depthwise"), st.sampled_from([3, 5]), st.integers(1, 2)),
        st.tuples(st.just("pool"), st.just(2), st.just(2)),
        st.tuples(st.just("strided"), st.sampled_from([2, 3]), st.just(2)),
    ),
    min_size=1,
    max_size=5,
)


def stack(description, padding):
    inputs = keras.Input((None, None, 1), name="raw")
    x, scale = inputs, 1
    for kind, size, number in description:
        if kind == "convolution":
            x = layers.Conv2D(2, size, padding=padding, dilation_rate=number)(x)
        elif kind == "depthwise":
            x = layers.DepthwiseConv2D(size, padding=padding, dilation_rate=number)(x)
        elif kind == "pool":
            x = layers.AveragePooling2D(size)(x)
            scale *= 2
        else:
            x = layers.Conv2D(2, size, strides=2, padding=padding)(x)
            scale *= 2
    if padding == "same" and scale > 1:
        x = layers.UpSampling2D(scale)(x)
    return keras.Model(inputs, x), scale


@given(layer_stacks)
@settings(max_examples=15, deadline=None)
def test_stacks_by_running_them(description):
    model, scale = stack(description, "same")
    geometry = measure(model)
    assert (geometry.step, geometry.margin, geometry.minimum) == (scale, 0, scale)
    assert rim_by_running(model, geometry) == geometry.halo


@given(st.lists(st.tuples(st.sampled_from([1, 3, 5, 7]), st.integers(1, 4)), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_convolutions_by_arithmetic(description):
    description = [("convolution", size, dilation) for size, dilation in description]
    half = sum((size - 1) * dilation // 2 for _, size, dilation in description)
    assert measure(stack(description, "same")[0]) == Geometry(step=1, halo=half, margin=0, minimum=1)
    assert measure(stack(description, "valid")[0]) == Geometry(step=1, halo=half, margin=half, minimum=2 * half + 1)


def test_mobilenet_block():
    inputs = keras.Input((None, None, 3), name="raw")
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(inputs)
    x = layers.Conv2D(4, 3, strides=2, use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.Add()([x, layers.Conv2D(4, 1)(y)])
    model = keras.Model(inputs, layers.Conv2DTranspose(1, 2, strides=2)(x))
    geometry = measure(model)
    assert geometry == Geometry(step=2, halo=4, margin=0, minimum=2)
    assert rim_by_running(model, geometry) == 4


def test_axes_that_differ():
    inputs = keras.Input((None, None, 1), name="raw")
    model = keras.Model(inputs, layers.Conv2D(1, (3, 7), padding="same")(inputs))
    assert (measure_axis(model, 0).halo, measure_axis(model, 1).halo) == (1, 3)
    assert measure(model).halo == 3


def test_volume():
    inputs = keras.Input((None, None, None, 1), name="raw")
    x = layers.Conv3D(1, 3, padding="same")(inputs)
    x = layers.UpSampling3D((1, 2, 2))(layers.MaxPooling3D((1, 2, 2))(x))
    model = keras.Model(inputs, x)
    assert measure_axis(model, 0) == Geometry(step=1, halo=1, margin=0, minimum=1)
    assert measure_axis(model, 2) == Geometry(step=2, halo=2, margin=0, minimum=2)


def test_nested_models():
    inner = unet(2)
    inputs = keras.Input((None, None, 1), name="raw")
    sequence = keras.Sequential([layers.Conv2D(1, 3, padding="same"), layers.ReLU()])
    assert measure(keras.Model(inputs, inner(inputs))) == measure(inner)
    assert measure(keras.Model(inputs, sequence(sequence(inputs)))).halo == 2


def test_global_pooling_sees_the_whole_image():
    inputs = keras.Input((None, None, 4), name="raw")
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    excited = layers.Multiply()([inputs, layers.Dense(4, activation="sigmoid")(pooled)])
    assert measure(keras.Model(inputs, excited)).halo is None
    classes = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(pooled)))
    assert measure(classes) == Geometry(step=1, halo=None, margin=0, minimum=1)


def test_normalisation():
    inputs = keras.Input((None, None, 4), name="raw")
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    assert measure(keras.Model(inputs, layers.LayerNormalization()(x))).halo == 1
    assert measure(keras.Model(inputs, layers.GroupNormalization(2)(x))).halo is None  # statistics of the whole image


def test_head_beside_the_image_changes_nothing():
    inputs = keras.Input((None, None, 1), name="raw")
    image = layers.Conv2D(2, 3, padding="same", name="probability")(inputs)
    count = layers.Dense(1, name="count")(layers.GlobalAveragePooling2D()(image))
    assert measure(keras.Model(inputs, [image, count])).halo == 1


def test_several_inputs_and_outputs():
    first, second = keras.Input((None, None, 1), name="a"), keras.Input((None, None, 2), name="b")
    x = layers.Concatenate()([first, layers.Conv2D(1, 5, padding="same")(second)])
    outputs = [layers.Conv2D(1, 3, padding="same")(x), layers.MaxPooling2D(4)(x)]
    assert measure(keras.Model([first, second], outputs)) == Geometry(step=4, halo=4, margin=0, minimum=4)


def test_operations_are_observed():
    inputs = keras.Input((None, None, 2), name="raw")
    x = keras.ops.tanh(inputs * 2.0 + 1.0)
    x = layers.Conv2D(2, 3, padding="same")(x)
    assert measure(keras.Model(inputs, x)).halo == 1
    y = keras.ops.pad(x, [[0, 0], [2, 2], [2, 2], [0, 0]], mode="reflect")
    assert measure(keras.Model(inputs, layers.Conv2D(1, 5)(y))).halo == 3
    assert measure(keras.Model(inputs, x - keras.ops.mean(x, axis=(1, 2), keepdims=True))).halo is None
    bilinear = layers.UpSampling2D(2, interpolation="bilinear")(layers.AveragePooling2D(2)(x))
    assert measure(keras.Model(inputs, bilinear)) == Geometry(step=2, halo=3, margin=0, minimum=2)


def test_operations_for_every_value_are_known(monkeypatch):
    """Observing them takes minutes in networks of many channels."""
    monkeypatch.setattr(observe, "_observe", None)
    inputs = keras.Input((None, None, 64), name="raw")
    x = layers.Conv2D(64, 3, padding="same")(inputs)
    x = 0.5 * x * (1.0 + keras.ops.erf(x * 0.7)) - keras.ops.sqrt(keras.ops.square(x) / 2.0)
    assert measure(keras.Model(inputs, layers.LayerNormalization()(x))).halo == 1


def test_no_image():
    inputs = keras.Input((4,), name="vector")
    with pytest.raises(UserError, match="no image"):
        measure(keras.Model(inputs, layers.Dense(1)(inputs)))


def test_no_size_fits():
    inputs = keras.Input((None, None, 1), name="raw")
    x = layers.Concatenate()([inputs, layers.Conv2D(1, 3)(inputs)])
    with pytest.raises(UserError, match="sizes cannot be measured"):
        measure(keras.Model(inputs, x, name="broken"))


def test_reflection_needs_more_pixels_than_it_adds():
    inputs = keras.Input((None, None, 1), name="raw")
    x = layers.MaxPooling2D(4)(inputs)
    x = keras.ops.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    x = layers.Conv2D(1, 5)(x)
    model = keras.Model(inputs, layers.UpSampling2D(4, name="probability")(x))
    geometry = measure(model)
    assert (geometry.step, geometry.minimum, geometry.margin) == (4, 12, 0)
    assert geometry.halo >= 8
    model.predict_on_batch(np.zeros((1, 12, 12, 1), "float32"))
    with pytest.raises(Exception, match="padding"):
        model.predict_on_batch(np.zeros((1, 8, 8, 1), "float32"))


def test_a_network_of_one_size_need_not_be_followed():
    """Such as a transformer, of which every output sees the whole image."""
    inputs = keras.Input((16, 16, 1), name="raw")
    x = keras.ops.reshape(layers.Conv2D(8, 4, strides=4)(inputs), (-1, 16, 8))
    x = keras.ops.reshape(keras.ops.softmax(keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1)))), (-1, 16, 16, 1))
    assert measure(keras.Model(inputs, x)) == Geometry(step=16, halo=None, margin=0, minimum=16)
