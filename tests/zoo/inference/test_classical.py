"""Explicit programming by the same commands as a network, without any training."""

import numpy as np
import pytest
import tifffile

from bmzpack.errors import UserError
from kerazoo.evaluation.evaluate import evaluate
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.inference.predict import predict
from kerazoo.models.classical.method import classical


@pytest.fixture(scope="module")
def nuclei(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nuclei")
    write_nuclei(folder, images=3, seed=4, size=128)
    return folder


def test_predict(nuclei, tmp_path):
    images = sorted((nuclei / "images").iterdir())
    written = predict("classical2d", images, tmp_path)
    for image, path in zip(images, written, strict=True):
        np.testing.assert_array_equal(tifffile.imread(path), classical(tifffile.imread(image)))
    with pytest.raises(UserError, match="no probabilities"):
        predict("classical2d", images, tmp_path / "other", probabilities=True)


def test_evaluate_objects_and_binary_masks(nuclei, tmp_path):
    result = evaluate("classical2d", nuclei / "images", nuclei / "masks")
    assert result["task"] == "instances"
    assert result["scores"]["ap_50"] > 0.5
    (tmp_path / "binary").mkdir()
    for path in (nuclei / "masks").iterdir():
        tifffile.imwrite(tmp_path / "binary" / path.name, (tifffile.imread(path) > 0).astype("uint8") * 255)
    binary = evaluate("classical2d", nuclei / "images", tmp_path / "binary")
    assert binary["scores"]["dice"] == pytest.approx(result["scores"]["dice"])
