"""The macro for ImageJ, run by ImageJ."""

import shutil
import subprocess

import numpy as np
import pytest
import tifffile

from answers import answer, labels_of, recipe_of
from kerazoo.evaluation.scores import count_instances
from kerazoo.examples.synthetic import nuclei
from kerazoo.models.pixels.macro import macro

PROGRAMS = ("imagej", "xvfb-run")
LOOP = """\
setBatchMode(true);
for (number = 0; number < {count}; number++) {{
    open("{folder}/output" + number + ".tif");
    runMacro("{folder}/objects.ijm");
    selectImage("labels");
    saveAs("Tiff", "{folder}/labels" + number + ".tif");
    close("*");
}}
run("Quit");
"""


@pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason="needs Debian's imagej and xvfb")
def test_imagej_finds_the_objects_of_the_decoder(tmp_path):
    recipe, counts = recipe_of("border"), []
    outputs = [answer(nuclei(seed, 256)[1], recipe) for seed in range(3)]
    for number, output in enumerate(outputs):
        channels = np.moveaxis(output, -1, 0).astype(np.float32)
        tifffile.imwrite(tmp_path / f"output{number}.tif", channels, imagej=True, metadata={"axes": "CYX"})
    (tmp_path / "objects.ijm").write_text(macro(recipe, rois=False))
    (tmp_path / "loop.ijm").write_text(LOOP.format(folder=tmp_path, count=len(outputs)))
    command = ["xvfb-run", "-a", "imagej", "-b", str(tmp_path / "loop.ijm")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (tmp_path / f"labels{len(outputs) - 1}.tif").exists(), done.stdout + done.stderr
    for number, output in enumerate(outputs):
        found = tifffile.imread(tmp_path / f"labels{number}.tif").astype(np.int32)
        counts.append(count_instances(labels_of(output, recipe), found))
    precision = sum(counts[1:], counts[0]).average_precision()
    assert precision[0] >= 0.95
