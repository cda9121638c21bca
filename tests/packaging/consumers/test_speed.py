"""A bundle of 100 MB is checked at once, in little memory, without the frameworks that run it."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from corpus import Network, clean

SECONDS = 2
"""Limit of the processor time: the time on the clock is that of the disk and of who else uses the machine."""
MEGABYTES = 300
FRAMEWORKS = ("tensorflow", "torch", "keras", "onnx", "onnxruntime", "jax", "tf2onnx")

# not ru_maxrss, which begins with what the parent had
CHECK = """
import json, pathlib, re, sys, time
from bmzpack import check
report = check(sys.argv[1])
print(json.dumps({
    "verdicts": {name: verdict.verdict for name, verdict in report.consumers.items()},
    "seconds": time.process_time(),
    "megabytes": int(re.search("VmHWM:\\s*([0-9]+)", pathlib.Path("/proc/self/status").read_text())[1]) / 1024,
    "modules": sorted(sys.modules),
}))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Bundles with 100 MB of random weights, in the ONNX file or in the saved model."""
    network = Network(ballast=np.random.default_rng(0).bytes(100_000_000))
    found = {}
    for name in ("onnx", "saved model"):
        bundle = clean(tmp_path_factory.mktemp("large") / "bundle")
        if name == "onnx":
            bundle.write("weights.onnx", network.as_onnx())
        else:
            bundle.saved_model({"saved_model.pb": network.as_saved_model(), "variables/": b""})
        found[name] = bundle.finish()
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the memory's peak is read from /proc")
@pytest.mark.parametrize(
    ("name", "form"), [("onnx", "folder"), ("onnx", "stored"), ("onnx", "deflated"), ("saved model", "deflated")]
)
def test_large_bundle(folders, name, form, tmp_path):
    bundle = folders[name]
    if form != "folder":
        bundle = tmp_path / "large.zip"
        with zipfile.ZipFile(bundle, "w", zipfile.ZIP_STORED if form == "stored" else zipfile.ZIP_DEFLATED) as archive:
            for path in folders[name].iterdir():
                archive.write(path, path.name)
    run = subprocess.run([sys.executable, "-c", CHECK, bundle], capture_output=True, text=True, check=True)
    measured = json.loads(run.stdout)
    assert set(measured["verdicts"].values()) == {"opens"}
    assert not set(FRAMEWORKS) & set(measured["modules"])
    assert measured["megabytes"] < MEGABYTES
    # twice as long where the machine is shared
    assert measured["seconds"] < 2 * SECONDS
    print({key: round(measured[key], 2) for key in ("seconds", "megabytes")})
