"""The engines by the names that they have in reports: the rows of a matrix."""

from __future__ import annotations

CORE = "bioimageio.core"
KERAS = "Keras"
TENSORFLOW = "TensorFlow (v1 session)"
OLD_TENSORFLOW = "TensorFlow 2.10.1"
ONNX = "ONNX Runtime"
OLD_ONNX = "ONNX Runtime 1.13.1"
TORCH = "PyTorch (TorchScript)"

ENGINES = {
    KERAS: "keras",
    TENSORFLOW: "tensorflow",
    ONNX: "onnxruntime",
    TORCH: "torch",
    OLD_TENSORFLOW: "tensorflow-2.10.1",
    OLD_ONNX: "onnxruntime-1.13.1",
}
"""Keys of `bmzpack.engines.FORMATS`; the first that runs is what the others are compared with at other sizes."""
ROWS = [CORE, KERAS, TENSORFLOW, OLD_TENSORFLOW, ONNX, OLD_ONNX, TORCH]
TODAY = [CORE, KERAS, TENSORFLOW, ONNX, TORCH]
"""Those of this environment."""
