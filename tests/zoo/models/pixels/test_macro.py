"""The macro for ImageJ, run by ImageJ."""

import shutil

import pytest

from answers import answer, labels_of, recipe_of
from kerazoo.evaluation.imagej import labels_by_macro
from kerazoo.evaluation.scores import count_instances
from kerazoo.examples.synthetic import nuclei
from kerazoo.models.pixels.macro import macro

PROGRAMS = ("imagej", "xvfb-run")


@pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason="needs Debian's imagej and xvfb")
def test_imagej_finds_the_objects_of_the_decoder():
    recipe = recipe_of("border")
    outputs = [answer(nuclei(seed, 256)[1], recipe) for seed in range(3)]
    found = labels_by_macro(macro(recipe, rois=False), outputs)
    counts = [count_instances(labels_of(output, recipe), labels) for output, labels in zip(outputs, found, strict=True)]
    precision = sum(counts[1:], counts[0]).average_precision()
    assert precision[0] >= 0.95
