"""Which dtype policy a configuration gets."""

import pytest
import tensorflow as tf

from kerazoo.config import TrainingConfig
from kerazoo.training import precision


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx512_bf16"}, "mixed_bfloat16"), ({"amx_bf16"}, "mixed_bfloat16"), ({"avx512f"}, "float32"), ((), "float32")],
)
def test_auto_follows_the_processor(flags, expected, monkeypatch):
    monkeypatch.setattr(precision, "_cpu_flags", lambda: set(flags))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert precision.dtype_policy(TrainingConfig()) == expected


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), "mixed_bfloat16"), ((7, 5), "float32")])
def test_auto_follows_the_gpu(capability, expected, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    details = {"compute_capability": capability}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert precision.dtype_policy(TrainingConfig()) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("float32", "float32"), ("bfloat16", "mixed_bfloat16"), ("float16", "mixed_float16")]
)
def test_named(name, expected):
    assert precision.dtype_policy(TrainingConfig(precision=name)) == expected
