"""A family proposes, `kerazoo init` writes: what is proposed is what is written, and the network takes it."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from bmzpack.errors import UserError
from bmzpack.measure.geometry import measure
from kerazoo.config import DataConfig, ModelConfig
from kerazoo.configuration.write import write_config
from kerazoo.data.survey import survey
from kerazoo.examples.synthetic import write_nuclei
from kerazoo.models.configure import read_config
from kerazoo.models.proposal import lines_of
from kerazoo.models.registry import create_model, families, family_of_model
from kerazoo.models.shared.without_numbers import without_numbers

TRAINED = [entry for family in families() if family.kinds for entry in family.models]
PATCHES = [entry for entry in TRAINED if entry.task == "classification"]
PIXELS = [entry for entry in TRAINED if entry.task != "classification"]
SMALL = {
    "unet2d": {"filters": 4},
    "stardist2d": {"filters": 4, "features": 8},
    "patch_cnn": {"filters": 4},
    "classifier2d": {"alpha": 0.35},
}
"""Arguments that keep the tests short."""
BACKBONES = [
    (entry, backbone)
    for entry in PIXELS
    for backbone in (None, *entry.backbones)
    if entry.name not in ("sam_vit_l", "sam_vit_h")  # they are built as sam_vit_b
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """By kind of annotation: nuclei with label images, and noise of 28 x 28 pixels in one folder per class."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(1)
    write_nuclei(folder / "nuclei", images=3, seed=3, size=128)
    for name in ("one", "two"):
        (folder / "digits" / name).mkdir(parents=True)
        for number in range(6):
            image = random.integers(0, 255, (28, 28)).astype("uint8")
            tifffile.imwrite(folder / "digits" / name / f"{number}.tif", image)
    nuclei = {part: str(folder / "nuclei" / part) for part in ("images", "masks")}
    return {"labels": nuclei, "image": {"folder": str(folder / "digits")}}


def names(entries):
    return [entry.name for entry in entries]


@pytest.mark.parametrize("entry", [*PIXELS, PATCHES[0]], ids=names([*PIXELS, PATCHES[0]]))
def test_what_a_family_proposes_is_what_is_written(entry, places, tmp_path, monkeypatch):
    annotation = "image" if entry in PATCHES else "labels"
    family, chosen = family_of_model(entry.name), {"images": None, "masks": None} | places[annotation]
    measured = survey(DataConfig(annotation=annotation, **places[annotation]))
    proposal = family.propose(ModelConfig(name=entry.name), entry, measured, None)
    text = write_config(entry.name, output=tmp_path / "first.yaml", **chosen).read_text(encoding="utf-8")
    for section in ("model", "normalisation", "augmentation", "targets", "training", "decoding"):
        settings = getattr(proposal, section)
        lines = [f"{section}:", *([f"  name: {entry.name}"] if section == "model" else []), *lines_of(settings)]
        assert ("\n".join(["", *lines, "\n"]) in text) == bool(settings), section
    assert f"  validation: {proposal.validation}" in text
    assert proposal.title in text

    other = dataclasses.replace(proposal, training=proposal.training | {"epochs": (77, "as proposed")})
    monkeypatch.setattr(family, "propose", lambda *_: other)
    path = write_config(entry.name, output=tmp_path / "second.yaml", **chosen)
    assert read_config(path).training.epochs == 77
    assert "  epochs: 77  # as proposed\n" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("entry", "backbone"), BACKBONES, ids=[f"{entry.name}-{name}" for entry, name in BACKBONES])
def test_sizes_of_the_registry_are_those_of_the_network(entry, backbone):
    """Those that are written are taken, whatever the backbone and the grid are."""
    variants = [{"backbone": backbone}] if backbone else [SMALL.get(entry.name, {})]
    if entry.name == "stardist2d" and not backbone:
        variants = [variants[0] | {"grid": [side, side]} for side in (1, 2, 4)]
    for arguments in variants:
        with without_numbers():  # sizes do not depend on them
            network = create_model(entry.name, input_shape=(None, None, 1), **arguments)
        geometry = measure(family_of_model(entry.name).image_network(network))
        assert entry.sizes.margin == geometry.margin
        assert entry.sizes.minimum >= geometry.minimum
        assert (entry.sizes.minimum - geometry.minimum) % geometry.step == entry.sizes.step % geometry.step == 0


@pytest.mark.parametrize("entry", PATCHES, ids=names(PATCHES))
def test_patch_sizes_of_the_registry_are_those_of_the_network(entry):
    """It is built for one size of patches."""
    for side in {entry.sizes.minimum, entry.sizes.minimum + entry.sizes.step}:
        geometry = measure(create_model(entry.name, input_shape=(side, side, 1), **SMALL.get(entry.name, {})))
        assert (geometry.minimum, geometry.margin) == (side, 0)
    assert entry.sizes.margin == 0
    if not entry.sizes.step:
        with pytest.raises(UserError, match="choose the model"):
            create_model(entry.name, input_shape=(side + 4, side + 4, 1))


def test_models_that_are_not_trained_on_images(places, tmp_path):
    for family in families():
        for entry in [] if family.kinds else family.models:
            with pytest.raises(UserError, match=f"{entry.name} is not trained on images. (Apply it|It takes meas)"):
                write_config(entry.name, output=tmp_path / "config.yaml", **places["labels"])


def test_masks_without_a_patch_of_one_class(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            values = np.random.default_rng(number).integers(0, 3, (64, 64)).astype("uint8")
            tifffile.imwrite(tmp_path / folder / f"{number}.tif", values)
    with pytest.raises(UserError, match="One class covers 85% of no patch of 32 x 32 pixels"):
        write_config("patch_cnn", tmp_path / "images", tmp_path / "masks", tmp_path / "config.yaml")


def test_no_framework_is_imported(places, tmp_path):
    """A configuration is there before TensorFlow would be."""
    program = f"""
import sys
from kerazoo.configuration.write import write_config
for number, (model, places) in enumerate({[(entry.name, places["labels"]) for entry in PIXELS]!r}):
    write_config(model, output=f"{{number}}.yaml", **places)
write_config("lenet1989", None, None, "patches.yaml", **{places["image"]!r})
print([name for name in ("tensorflow", "keras", "torch", "jax") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
