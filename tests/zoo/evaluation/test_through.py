"""What deepImageJ shows of a bundle, scored: the label image of a graph, or the macro in ImageJ."""

import json
import shutil

import keras
import numpy as np
import pytest
import tifffile
import yaml

import kerazoo
from answers import answer, recipe_of
from bmzpack.engines import old
from bmzpack.errors import UserError
from kerazoo.examples.synthetic import nuclei
from kerazoo.models.configure import make_config
from kerazoo.runs.run import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose network has the right answer from its input, and two images that no tile fits."""
    folder = tmp_path_factory.mktemp("through")
    for part in ("images", "masks", "run"):
        (folder / part).mkdir()
    recipe = recipe_of("border").model_copy(update={"model": "unet2d", "annotation": "labels", "axes": "YXC"})
    for number in range(2):
        labels = nuclei(number, 200)[1][: 150 + 30 * number]
        output = answer(labels, recipe)
        path = folder / "images" / f"{number}.tif"
        tifffile.imwrite(path, output, photometric="minisblack", metadata={"axes": "YXC"})
        tifffile.imwrite(folder / "masks" / f"{number}.tif", labels.astype(np.uint16))
    data = {"images": str(folder / "images"), "masks": str(folder / "masks"), "channels": 3, "axes": "YXC"}
    config = make_config({"model": {"name": "unet2d"}, "data": data | {"annotation": "labels"}})
    made = Run(folder / "run")
    (made.path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    raw = keras.Input((None, None, 3), name="raw")
    keras.Model(raw, keras.layers.MaxPooling2D(1, name="probability")(raw)).save(made.path / "best.keras")
    made.write("recipe", recipe.model_dump(mode="json"))
    entry = {"id": "0", "image": str(folder / "images" / "0.tif"), "mask": str(folder / "masks" / "0.tif")}
    made.write("split", {"train": [], "validation": [entry]})
    made.write("environment", {})
    made.write("record", {})
    return folder


def bundle_of(run, form):
    path = run / f"{form}.zip"
    if not path.exists():
        options = {} if form == "maps" else {"form": form}
        kerazoo.export(run / "run", path, formats=["onnx", "keras_v3"] if form == "maps" else ["onnx"], **options)
    return path


def engine_or_skip():
    try:
        old.python("onnxruntime", "1.13.1")
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.engines
def test_the_graph_is_scored(run, tmp_path):
    engine_or_skip()
    expected = kerazoo.evaluate(bundle_of(run, "maps"), run / "images", run / "masks")["scores"]
    path = tmp_path / "scores.json"
    kerazoo.evaluate(bundle_of(run, "labels"), run / "images", run / "masks", through=["fiji"], json=path)
    written = json.loads(path.read_text())
    assert "scores" not in written
    seen = written["through"]["fiji"]
    assert "graph" in seen["way"]
    assert len(seen["per_image"]) == 2
    assert seen["scores"]["ap_50"] >= expected["ap_50"] - 0.01 > 0.9


@pytest.mark.engines
@pytest.mark.skipif(not all(map(shutil.which, ("imagej", "xvfb-run"))), reason="needs Debian's imagej and xvfb")
def test_the_macro_is_scored(run):
    engine_or_skip()
    found = kerazoo.evaluate(bundle_of(run, "maps"), run / "images", run / "masks", through=["fiji"])
    seen = found["through"]["fiji"]
    assert "objects_in_imagej.ijm" in seen["way"]
    assert seen["scores"]["ap_50"] >= found["scores"]["ap_50"] - 0.05 > 0.9


def test_what_cannot_be_scored(run):
    with pytest.raises(UserError, match="run is no bundle, which other programs need"):
        kerazoo.evaluate(run / "run", run / "images", run / "masks", through=["fiji"])


@pytest.mark.engines
def test_an_unknown_program(run):
    with pytest.raises(UserError, match="icy cannot be scored: choose from fiji, ilastik, qupath, core"):
        kerazoo.evaluate(bundle_of(run, "labels"), run / "images", run / "masks", through=["icy"])
