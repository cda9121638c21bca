"""A clean bundle, and bundles that are broken in exactly one way.

The clean bundle is made by hand, without TensorFlow and torch, but it is honest: its ONNX file and its saved model
compute the mean of 3 x 3 pixels, and its test output is that of its test input.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper
from PIL import Image
from scipy.ndimage import uniform_filter

SAVED_MODEL = "tensorflow_saved_model_bundle"
Shape = tuple[int | None, ...]
ANY: Shape = (None, None, None, 2)


@dataclasses.dataclass
class Network:
    """The mean of 3 x 3 pixels, written as a graph of ONNX and of TensorFlow."""

    inputs: dict[str, Shape] = dataclasses.field(default_factory=lambda: {"raw": ANY})
    outputs: dict[str, Shape] = dataclasses.field(default_factory=lambda: {"probability": ANY})
    onnx_type: int = TensorProto.FLOAT
    tensorflow_type: int = 1
    opset: int = 15
    ir_version: int = 8
    domain: str = ""
    """Domain of an operator that ONNX itself has not."""
    window: int = 3
    external: bool = False
    tag: str = "serve"
    signature: str = "serving_default"
    exported: bool = False
    """Whether there is an endpoint serve too, as Keras' own export has it."""
    frozen: bool = True
    ballast: bytes = b""
    """More weights, which are of no use."""

    def as_onnx(self) -> bytes:
        """The ONNX file."""
        kernel = helper.make_tensor(
            "kernel", TensorProto.FLOAT, (2, 1, self.window, self.window), [1 / self.window**2] * 2 * self.window**2
        )
        if self.external:
            kernel = onnx.TensorProto(
                name="kernel",
                data_type=TensorProto.FLOAT,
                dims=kernel.dims,
                data_location=TensorProto.EXTERNAL,
                external_data=[onnx.StringStringEntryProto(key="location", value="kernel.bin")],
            )
        source = next(iter(self.inputs))
        ends = [
            [helper.make_tensor_value_info(name, self.onnx_type, list(shape)) for name, shape in ends.items()]
            for ends in (self.inputs, self.outputs)
        ]
        axes = len(self.inputs[source])
        last, first = [0, axes - 1, *range(1, axes - 1)], [0, *range(2, axes), 1]
        nodes = [
            helper.make_node("Transpose", [source], ["first"], perm=last),
            helper.make_node(
                "Conv", ["first", "kernel"], ["mean"], group=2, auto_pad="SAME_UPPER", kernel_shape=[self.window] * 2
            ),
            *(helper.make_node("Transpose", ["mean"], [name], perm=first) for name in self.outputs),
        ]
        ballast = onnx.TensorProto(name="ballast", data_type=TensorProto.UINT8, dims=[len(self.ballast)])
        ballast.raw_data = self.ballast
        opsets = [helper.make_opsetid("", self.opset)]
        if self.domain:
            nodes[1].domain = self.domain
            opsets.append(helper.make_opsetid(self.domain, 1))
        graph = helper.make_graph(nodes, "mean", *ends, initializer=[kernel, *([ballast] if self.ballast else [])])
        model = helper.make_model(graph, opset_imports=opsets, ir_version=self.ir_version)
        return model.SerializeToString()

    def as_saved_model(self) -> bytes:
        """The file saved_model.pb."""
        real, source = self.tensorflow_type, next(iter(self.inputs))
        nodes = [
            _node(name, "Placeholder", dtype=[(6, real)], shape=[(7, _shape(shape))])
            for name, shape in self.inputs.items()
        ]
        kernel = struct.pack("<9f", *[1 / 9] * 9)
        weights = [(1, 1), (2, _shape((3, 3, 1, 1))), (4, kernel)]
        nodes.append(_node("kernel", "Const", dtype=[(6, 1)], value=[(8, _message(*weights))]))
        if self.ballast:
            weights = [(1, 4), (2, _shape((len(self.ballast),))), (4, self.ballast)]
            nodes.append(_node("ballast", "Const", dtype=[(6, 4)], value=[(8, _message(*weights))]))
        if not self.frozen:
            nodes.append(_node("variable", "VarHandleOp", dtype=[(6, 1)], shape=[(7, _shape((2,)))]))
        # a depthwise convolution of every channel: split, convolve, join
        nodes.append(_node("axis", "Const", dtype=[(6, 3)], value=[(8, _message((1, 3), (2, b""), (7, 3)))]))
        nodes.append(_node("split", "Split", "axis", source, num_split=[(3, 2)], T=[(6, 1)]))
        for n in range(2):
            nodes.append(
                _node(
                    f"mean{n}",
                    "Conv2D",
                    f"split:{n}",
                    "kernel",
                    T=[(6, 1)],
                    strides=[(1, _message((3, b"\1\1\1\1")))],
                    padding=[(2, "SAME")],
                )
            )
        for name in self.outputs:
            nodes.append(
                _node(name, "ConcatV2", "mean0", "mean1", "axis", N=[(3, 2)], T=[(6, 1)], Tidx=[(6, 3)]),
            )
        graph = _message(*((1, node) for node in nodes), (4, _message((1, 1087))))
        ends = [
            [
                (n, _message((1, name), (2, _message((1, f"{name}:0"), (2, real), (3, _shape(shape))))))
                for name, shape in ends.items()
            ]
            for n, ends in ((1, self.inputs), (2, self.outputs))
        ]
        signature = _message(*ends[0], *ends[1], (3, "tensorflow/serving/predict"))
        names = [self.signature, *(["serve"] if self.exported else [])]
        signatures = [(5, _message((1, name), (2, signature))) for name in names]
        meta = _message((1, _message((4, self.tag))), (2, graph), *signatures)
        return _message((1, 1), (2, meta))


@dataclasses.dataclass
class Bundle:
    """A bundle in the making."""

    folder: Path
    rdf: dict[str, Any]
    root: str = "."
    """Folder of the files, in the bundle's."""
    name: str = "rdf.yaml"

    def file(self, name: str) -> Path:
        """A file of the bundle."""
        return self.folder / name

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the bundle, in the place of an older one."""
        self.file(name).write_bytes(content)

    def array(self, name: str, array: np.ndarray) -> None:
        """Write a test tensor."""
        np.save(self.file(name), array)

    def axis(self, place: str, name: str) -> dict[str, Any]:
        """The entry of an axis of `inputs` or `outputs`."""
        return next(axis for axis in self.rdf[place][0]["axes"] if axis["id"] == name)

    def network(self, **changes: Any) -> None:
        """Write the ONNX file and the saved model of another network."""
        network = Network(**changes)
        if "onnx" in self.rdf["weights"]:
            self.write("weights.onnx", network.as_onnx())
        if SAVED_MODEL in self.rdf["weights"]:
            self.saved_model({"saved_model.pb": network.as_saved_model(), "variables/": b""})

    def saved_model(self, files: dict[str, bytes]) -> None:
        """Write the zip of the saved model."""
        self.write("saved_model.zip", zipped(files))

    def preprocess(self, name: str, **kwargs: Any) -> None:
        """Put an operation in the place of all preprocessing."""
        self.rdf["inputs"][0]["preprocessing"] = [{"id": name, "kwargs": kwargs}]

    def only(self, *formats: str) -> None:
        """Take all other weights out."""
        for name in set(self.rdf["weights"]) - set(formats):
            self.file(self.rdf["weights"].pop(name)["source"]).unlink()
        for entry in self.rdf["weights"].values():
            entry.pop("parent", None)
        original = next(iter(self.rdf["weights"]))
        for name, entry in self.rdf["weights"].items():
            if name != original:
                entry["parent"] = original

    def finish(self) -> Path:
        """Fill in the checksums that are None and write the description."""
        _seal(self.rdf, self.folder)
        place = self.folder / self.root
        place.mkdir(exist_ok=True)
        if self.root != ".":
            for path in [path for path in self.folder.iterdir() if path != place]:
                path.rename(place / path.name)
        path = place / self.name
        path.write_text(yaml.safe_dump(self.rdf, sort_keys=False, allow_unicode=True), encoding="utf-8")
        return self.folder


def clean(folder: Path) -> Bundle:
    """The clean bundle, of format 0.5.10."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle = Bundle(folder, copy.deepcopy(CLEAN))
    raw = np.random.default_rng(0).gamma(2, 20, (1, 64, 64, 2)).astype(np.float32)
    bundle.array("test_raw.npy", raw)
    bundle.array("test_probability.npy", computed(raw))
    bundle.network()
    bundle.write("weights.pt", zipped({"mean/code/__torch__.py": b"", "mean/data.pkl": b"", "mean/version": b"3"}))
    layers = [{"class_name": "DepthwiseConv2D", "config": {"name": "mean", "kernel_size": [3, 3]}}]
    config = {"class_name": "Functional", "config": {"name": "mean", "layers": layers}}
    bundle.write("weights.keras", zipped({"config.json": json.dumps(config).encode(), "model.weights.h5": b""}))
    bundle.write("README.md", b"# Mean of neighbours\n\n## Validation\n\nThe mean was compared with SciPy's.\n")
    bundle.write("cover.png", picture(512, 256))
    return bundle


def computed(raw: np.ndarray) -> np.ndarray:
    """What the network makes of a raw image of axes batch, y, x, channel: it is standardised before."""
    image = np.asarray(raw, np.float64)
    image = (image - image.mean()) / (image.std() + 1e-6)
    return uniform_filter(image, (1, 3, 3, 1), mode="constant").astype(np.float32)


def old(folder: Path) -> Bundle:
    """The clean bundle, described in format 0.4."""
    bundle = clean(folder)
    bundle.rdf |= {
        "format_version": "0.4.10",
        "test_inputs": ["test_raw.npy"],
        "test_outputs": ["test_probability.npy"],
        "inputs": [
            {
                "name": "raw",
                "axes": "byxc",
                "data_type": "float32",
                "shape": {"min": [1, 32, 32, 2], "step": [0, 16, 16, 0]},
                "preprocessing": [
                    {"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "yxc", "eps": 1e-6}}
                ],
            }
        ],
        "outputs": [
            {
                "name": "probability",
                "axes": "byxc",
                "data_type": "float32",
                "halo": [0, 1, 1, 0],
                "shape": {"reference_tensor": "raw", "scale": [1, 1, 1, 1], "offset": [0, 0, 0, 0]},
            }
        ],
    }
    bundle.only("onnx", SAVED_MODEL, "torchscript")
    return bundle


def without(*formats: str) -> Callable[[Path], Bundle]:
    """The clean bundle without some of its weights."""

    def make(folder: Path) -> Bundle:
        bundle = clean(folder)
        bundle.only(*(name for name in bundle.rdf["weights"] if name not in formats))
        return bundle

    return make


def with_state_dict(*formats: str) -> Callable[[Path], Bundle]:
    """A bundle whose weights are a pickle for PyTorch, which ilastik takes, and some others for other programs."""

    def make(folder: Path) -> Bundle:
        bundle = clean(folder)
        bundle.only(*formats)
        bundle.write("weights.pth", b"")
        bundle.write("network.py", b"class Mean: ...")
        bundle.rdf["weights"]["pytorch_state_dict"] = {
            "source": "weights.pth",
            "sha256": None,
            "parent": formats[0],
            "pytorch_version": "2.13.0",
            "architecture": {"source": "network.py", "sha256": None, "callable": "Mean"},
        }
        return bundle

    return make


def state_dict_alone(folder: Path) -> Bundle:
    """A bundle whose only weights are a pickle for PyTorch: no program for it but QuPath."""
    bundle = with_state_dict("onnx")(folder)
    del bundle.rdf["weights"]["pytorch_state_dict"]["parent"]
    bundle.only("pytorch_state_dict")
    bundle.rdf["links"].remove("bioimageio/qupath")
    return bundle


def torchscript_before_onnx(folder: Path) -> Bundle:
    """A bundle of which Fiji takes the TorchScript: its name with the version comes first in a hash map of Java."""
    bundle = clean(folder)
    bundle.only("onnx", "torchscript")
    bundle.rdf["weights"]["torchscript"]["pytorch_version"] = "2.3.0"
    return bundle


BASES: dict[str, Callable[[Path], Bundle]] = {
    "clean": clean,
    "old": old,
    "no saved model": without(SAVED_MODEL),
    "no Keras": without("keras_v3"),
    "no ONNX": without("onnx"),
    "ONNX first": without(SAVED_MODEL, "keras_v3"),
    "TorchScript only": without(SAVED_MODEL, "onnx", "keras_v3"),
    "ONNX and state dict": with_state_dict("onnx"),
    "TorchScript before ONNX": torchscript_before_onnx,
    "saved model, ONNX and state dict": with_state_dict(SAVED_MODEL, "onnx"),
}
"""Bundles without a finding."""
OTHER_BASES: dict[str, Callable[[Path], Bundle]] = {"state dict": state_dict_alone}


def zipped(files: dict[str, bytes]) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def picture(width: int, height: int, kind: str = "png") -> bytes:
    """A picture of a gradient."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(buffer, kind)
    return buffer.getvalue()


def _axes(sizes: dict[str, Any], names: list[str]) -> list[dict[str, Any]]:
    space = [{"type": "space", "id": name} | size for name, size in sizes.items()]
    return [{"type": "batch", "id": "batch"}, *space, {"type": "channel", "id": "channel", "channel_names": names}]


CLEAN: dict[str, Any] = {
    "format_version": "0.5.10",
    "type": "model",
    "name": "Mean of neighbours",
    "description": "The mean of 3 x 3 pixels.",
    "authors": [{"name": "Ada Lovelace", "github_user": "bioimageiobot"}],
    "maintainers": [{"name": "Ada Lovelace", "github_user": "bioimageiobot"}],
    "cite": [{"text": "Lovelace (1843), Notes", "url": "https://example.org/notes"}],
    "license": "CC-BY-4.0",
    "tags": ["mean", "2d", "fiji", "ilastik", "qupath"],
    "links": ["deepimagej/deepimagej", "ilastik/ilastik", "bioimageio/qupath"],
    "version": "0.1.0",
    "timestamp": "2026-01-01T00:00:00+00:00",
    "documentation": "README.md",
    "covers": ["cover.png"],
    "inputs": [
        {
            "id": "raw",
            "axes": _axes({name: {"size": {"min": 32, "step": 16}} for name in "yx"}, ["nuclei", "membranes"]),
            "data": {"type": "float32"},
            "preprocessing": [
                {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["channel", "y", "x"], "eps": 1e-6}}
            ],
            "test_tensor": {"source": "test_raw.npy", "sha256": None},
        }
    ],
    "outputs": [
        {
            "id": "probability",
            "axes": _axes(
                {name: {"size": {"tensor_id": "raw", "axis_id": name}, "halo": 1} for name in "yx"},
                ["nuclei", "membranes"],
            ),
            "data": {"type": "float32"},
            "test_tensor": {"source": "test_probability.npy", "sha256": None},
        }
    ],
    "weights": {
        "keras_v3": {
            "source": "weights.keras",
            "sha256": None,
            "keras_version": "3.15.1",
            "backend": ["tensorflow", "2.21.0"],
        },
        SAVED_MODEL: {
            "source": "saved_model.zip",
            "sha256": None,
            "parent": "keras_v3",
            "tensorflow_version": "2.21.0",
        },
        "onnx": {"source": "weights.onnx", "sha256": None, "parent": "keras_v3", "opset_version": 15},
        "torchscript": {
            "source": "weights.pt",
            "sha256": None,
            "parent": "keras_v3",
            "pytorch_version": "2.13.0",
        },
    },
    "config": {"bioimageio": {"nickname": "still-goose"}},
}


def _seal(value: Any, folder: Path) -> None:
    if isinstance(value, dict) and value.get("sha256", "") is None:
        path = folder / value["source"]
        value["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "0" * 64
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        _seal(entry, folder)


def _node(name: str, operation: str, *inputs: str, **attributes: list[tuple[int, Any]]) -> bytes:
    found = [(5, _message((1, key), (2, _message(*value)))) for key, value in attributes.items()]
    return _message((1, name), (2, operation), *((3, entry) for entry in inputs), *found)


def _shape(shape: Shape) -> bytes:
    return _message(*((2, _message((1, -1 if size is None else size))) for size in shape))


def _message(*fields: tuple[int, int | str | bytes]) -> bytes:
    """A protocol buffer of integers and texts."""
    parts = []
    for number, value in fields:
        if isinstance(value, int):
            parts += [_varint(number << 3), _varint(value % 2**64)]
        else:
            content = value.encode() if isinstance(value, str) else value
            parts += [_varint(number << 3 | 2), _varint(len(content)), content]
    return b"".join(parts)


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])
