"""MobileNetV2 of keras.applications is Table 2 of Sandler et al. (2018), row by row."""

import keras
import pytest

from kerazoo.models.counting import count

TABLE = [
    (112, 32, 1, 16, 1, 1),
    (112, 16, 6, 24, 2, 2),
    (56, 24, 6, 32, 3, 2),
    (28, 32, 6, 64, 4, 2),
    (14, 64, 6, 96, 3, 1),
    (14, 96, 6, 160, 3, 2),
    (7, 160, 6, 320, 1, 1),
]
"""The bottlenecks: input size and channels, expansion t, channels c, repeats n, stride s of the first."""


@pytest.fixture(scope="module")
def model():
    return keras.applications.MobileNetV2(weights=None)


def blocks():
    """Every bottleneck of the table: number, input size, input channels, expansion, channels, stride."""
    number = 0
    for size, channels, expansion, filters, repeats, stride in TABLE:
        for repeat in range(repeats):
            first = repeat == 0
            yield pytest.param(
                number,
                size if first else size // stride,
                channels if first else filters,
                expansion,
                filters,
                stride if first else 1,
                id=f"block{number}",
            )
            number += 1


def test_there_are_seventeen_bottlenecks(model):
    assert len(list(blocks())) == 17
    assert [layer.name for layer in model.layers if layer.name.endswith("_project")] == [
        "expanded_conv_project",
        *(f"block_{number}_project" for number in range(1, 17)),
    ]


@pytest.mark.parametrize(("number", "size", "channels", "expansion", "filters", "stride"), list(blocks()))
def test_bottleneck(model, number, size, channels, expansion, filters, stride):
    name = f"block_{number}" if number else "expanded_conv"
    depthwise, project = model.get_layer(f"{name}_depthwise"), model.get_layer(f"{name}_project")
    names = [layer.name for layer in model.layers]
    assert (f"{name}_expand" in names) == (expansion > 1)
    if expansion > 1:
        expand = model.get_layer(f"{name}_expand")
        assert expand.input.shape == (None, size, size, channels)
        assert expand.output.shape == (None, size, size, expansion * channels)
        assert expand.kernel_size == (1, 1)
        assert model.get_layer(f"{name}_expand_relu").max_value == 6
    assert depthwise.kernel_size == (3, 3)
    assert depthwise.strides == (stride, stride)
    assert depthwise.output.shape == (None, size // stride, size // stride, expansion * channels)
    assert model.get_layer(f"{name}_depthwise_relu").max_value == 6
    assert project.kernel_size == (1, 1)
    assert project.output.shape == (None, size // stride, size // stride, filters)
    assert (f"{name}_add" in names) == (stride == 1 and channels == filters)
    assert f"{name}_project_relu" not in names


def test_first_and_last_rows(model):
    assert model.input_shape == (None, 224, 224, 3)
    first, last = model.get_layer("Conv1"), model.get_layer("Conv_1")
    assert (first.kernel_size, first.strides, first.output.shape) == ((3, 3), (2, 2), (None, 112, 112, 32))
    assert (last.kernel_size, last.strides, last.output.shape) == ((1, 1), (1, 1), (None, 7, 7, 1280))
    assert last.input.shape == (None, 7, 7, 320)
    assert isinstance(model.layers[-2], keras.layers.GlobalAveragePooling2D)
    assert model.layers[-2].output.shape == (None, 1280)
    assert model.layers[-1].output.shape == (None, 1000)


def test_parameters_and_multiply_adds(model):
    counted = count(model)
    assert counted.parameters == model.count_params() == 3_538_984
    assert round(counted.multiply_adds / 1e6, 1) == 300.8
