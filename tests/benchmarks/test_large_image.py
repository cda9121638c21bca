"""Objects of an image of 16,384 x 16,384 pixels: all are found, once, in less than 4 GB."""

import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile

import kerazoo
from kerazoo.models.configure import make_config

PITCH = 32
"""Distance of the places of nuclei in pixels; one nucleus each."""


def write_field(path, size, seed):
    """A field of nuclei in a TIFF file that is mapped into memory; their label image where it is small."""
    random = np.random.default_rng(seed)
    image = tifffile.memmap(path, shape=(size, size), dtype=np.uint8, photometric="minisblack", bigtiff=True)
    labels = np.zeros((size, size), np.int32) if size <= 2048 else None
    number = 0
    for top in range(0, size, PITCH):
        strip, drawn = np.full((PITCH, size), 12, np.uint8), np.zeros((PITCH, size), np.int32)
        for left in range(0, size, PITCH):
            number += 1
            centre = left + 16 + int(random.integers(-3, 4)), 16 + int(random.integers(-3, 4))
            axes = int(random.integers(7, 12)), int(random.integers(7, 12))
            for target, value in ((strip, int(random.integers(60, 200))), (drawn, number)):
                cv2.ellipse(target, centre, axes, 0, 0, 360, value, -1)
        strip = cv2.GaussianBlur(strip, (0, 0), 1.0)
        noise = random.integers(-6, 7, strip.shape, dtype=np.int8)
        image[top : top + PITCH] = np.clip(strip.astype(np.int16) + noise, 0, 255).astype(np.uint8)
        if labels is not None:
            labels[top : top + PITCH] = drawn
    image.flush()
    return number, labels


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_large_image(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for seed in range(10):
        _, labels = write_field(tmp_path / "images" / f"{seed}.tif", 256, seed)
        tifffile.imwrite(tmp_path / "masks" / f"{seed}.tif", labels.astype(np.uint16))
    config = make_config(
        {
            "model": {"name": "stardist2d"},
            "data": {"images": tmp_path / "images", "masks": tmp_path / "masks"},
            "normalisation": {"method": "percentile"},
            "training": {"epochs": 8, "steps_per_epoch": 50, "batch_size": 4, "patch_size": 128, "learning_rate": 1e-3},
        }
    )
    kerazoo.train(config, tmp_path / "run", progress=False)
    count, _ = write_field(tmp_path / "large.tif", 16384, seed=99)
    command = [
        sys.executable,
        "-m",
        "kerazoo",
        "predict",
        tmp_path / "run",
        tmp_path / "large.tif",
        "-o",
        tmp_path / "predicted",
    ]
    subprocess.run(command, check=True, cwd=tmp_path)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    found = int(tifffile.memmap(tmp_path / "predicted" / "large.tif").max())
    print(f"\n{found:,} of {count:,} objects ({found / count:.4f}), peak {peak / 1e9:.2f} GB")
    assert abs(found / count - 1) < 0.01
    assert peak < 4e9
