"""What a user gets wrong is answered by one sentence and exit code 2, and leaves nothing behind."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from kerazoo.examples.synthetic import write_nuclei


def command(monkeypatch, capsys, *words: object) -> tuple[int, str]:
    """Run a command in this process; its exit code and what it wrote to standard error."""
    program, *arguments = [str(word) for word in words]
    if program == "kerazoo":
        from kerazoo.cli import main
    else:
        from bmzpack.cli import main
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Images, masks, a configuration and a finished run."""
    from kerazoo.commands import train
    from kerazoo.configuration.write import write_config

    folder = tmp_path_factory.mktemp("good")
    write_nuclei(folder, images=6, seed=1, size=64)
    path = write_config("unet2d", folder / "images", folder / "masks", folder / "nuclei.yaml")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["training"] |= {"epochs": 1, "steps_per_epoch": 2, "patch_size": 32, "batch_size": 2}
    content["model"]["arguments"] = {"filters": 4, "depth": 2}
    content["data"] |= {"images": str(folder / "images"), "masks": str(folder / "masks")}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    train(path, folder / "run", progress=False)
    return folder


@pytest.fixture
def folder(good, tmp_path):
    """A copy of the good data, to be spoilt."""
    shutil.copytree(good / "images", tmp_path / "images")
    shutil.copytree(good / "masks", tmp_path / "masks")
    content = yaml.safe_load((good / "nuclei.yaml").read_text(encoding="utf-8"))
    content["data"] |= {"images": "images", "masks": "masks"}
    (tmp_path / "nuclei.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return tmp_path


def first(folder: Path, kind: str) -> Path:
    return sorted((folder / kind).iterdir())[0]


def image_of(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> str:
    path = first(folder, "images")
    tifffile.imwrite(path, change(tifffile.imread(path)))
    return path.name


def mask_of(folder: Path, change: Callable[[np.ndarray], np.ndarray]) -> str:
    path = first(folder, "masks")
    tifffile.imwrite(path, change(tifffile.imread(path)))
    return path.name


def missing_mask(folder):
    first(folder, "masks").unlink()
    return first(folder, "images").stem


def missing_image(folder):
    first(folder, "images").unlink()
    return first(folder, "masks").stem


def truncated(folder):
    path = first(folder, "images")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path.name


def empty_file(folder):
    path = first(folder, "images")
    path.write_bytes(b"")
    return path.name


def text_as_image(folder):
    path = first(folder, "images")
    path.write_text("not an image")
    return path.name


def with_nan(folder):
    def change(image):
        image = image.astype("float32")
        image[3, 4] = np.nan
        return image

    return image_of(folder, change)


def with_infinity(folder):
    def change(image):
        image = image.astype("float32")
        image[3, 4] = np.inf
        return image

    return image_of(folder, change)


SPOILT_DATA = {
    "missing mask": missing_mask,
    "missing image": missing_image,
    "mask of another size": lambda folder: mask_of(folder, lambda mask: mask[:-3]),
    "empty mask": lambda folder: mask_of(folder, np.zeros_like),
    "float mask": lambda folder: mask_of(folder, lambda mask: mask.astype("float32") + 0.5),
    "negative mask": lambda folder: mask_of(folder, lambda mask: mask.astype("int16") - 1),
    "colour mask": lambda folder: mask_of(folder, lambda mask: np.stack([mask, mask, 2 * mask], -1)),
    "constant image": lambda folder: image_of(folder, lambda image: np.full_like(image, 7)),
    "not a number": with_nan,
    "infinity": with_infinity,
    "truncated TIFF": truncated,
    "empty file": empty_file,
    "text file": text_as_image,
    "too small": lambda folder: (mask_of(folder, lambda a: a[:5, :5]), image_of(folder, lambda a: a[:5, :5]))[1],
    "another channel count": lambda folder: image_of(folder, lambda image: np.stack([image] * 3, -1)),
    "complex image": lambda folder: image_of(folder, lambda image: image.astype("complex64")),
}


@pytest.mark.parametrize("kind", SPOILT_DATA)
def test_spoilt_data(kind, folder, monkeypatch, capsys):
    name = SPOILT_DATA[kind](folder)
    before = tree(folder)
    code, error = command(monkeypatch, capsys, "kerazoo", "train", folder / "nuclei.yaml", "-o", folder / "run")
    assert code == 2, error
    assert name in error
    assert error.startswith("Error: ")
    assert len(error.strip().splitlines()) == 1
    assert tree(folder) == before


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("training.epoch=3", "epochs"),
        ("traning.epochs=3", "training"),
        ("training.epochs=0", "training.epochs"),
        ("training.seed=-1", "training.seed"),
        ("data.channel_names=[red, green]", "2 names for 1 channels"),
        ("data.classes=[cell, cell]", "different names"),
        ("training.epochs", "section.key=value"),
        ("model.name=unet3d", "unet2d"),
        ("model.backbone=mobilenet", "mobilenet_v2"),
        ("model.arguments.filter=3", "filter"),
        ("model.weights=nothing.h5", "nothing.h5"),
        ("data.channels=3", "channel"),
        ("data.images=nowhere", "nowhere"),
        ("data.axes=QQ", "QQ"),
        ("training.patch_size=4096", "4096"),
        ("training.learning_rate=fast", "training.learning_rate"),
        ("training.loss.class_weights=[1.0, 2.0]", "class_weights"),
    ],
)
def test_wrong_configuration(change, expected, folder, monkeypatch, capsys):
    before = tree(folder)
    code, error = command(
        monkeypatch, capsys, "kerazoo", "train", folder / "nuclei.yaml", "-o", folder / "run", "--set", change
    )
    assert code == 2, error
    assert expected in error
    assert "Traceback" not in error
    assert tree(folder) == before


def existing_run(good, tmp_path):
    return ["train", good / "nuclei.yaml", "-o", good / "run"], "--overwrite"


def resume_nothing(good, tmp_path):
    return ["train", good / "nuclei.yaml", "-o", tmp_path / "none", "--resume"], "none"


def no_configuration(good, tmp_path):
    return ["train", tmp_path / "none.yaml"], "none.yaml"


def no_yaml(good, tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1, 2")
    return ["train", tmp_path / "bad.yaml"], "bad.yaml"


def init_existing(good, tmp_path):
    words = ["init", "unet2d", "--images", good / "images", "--masks", good / "masks"]
    return [*words, "-o", good / "nuclei.yaml"], "--overwrite"


def init_empty(good, tmp_path):
    (tmp_path / "empty").mkdir()
    words = ["init", "unet2d", "--images", tmp_path / "empty", "--masks", good / "masks"]
    return [*words, "-o", tmp_path / "nuclei.yaml"], "empty"


def init_unknown(good, tmp_path):
    words = ["init", "unet2", "--images", good / "images", "--masks", good / "masks"]
    return [*words, "-o", tmp_path / "nuclei.yaml"], "unet2d"


def export_existing(good, tmp_path):
    (tmp_path / "nuclei.zip").write_bytes(b"")
    return ["export", good / "run", "-o", tmp_path / "nuclei.zip"], "--overwrite"


def export_nothing(good, tmp_path):
    return ["export", tmp_path, "-o", tmp_path / "nuclei.zip"], "config.yaml"


def export_unknown_format(good, tmp_path):
    return ["export", good / "run", "-o", tmp_path / "nuclei.zip", "--formats", "keras_v3,onx"], "onnx"


def predict_missing(good, tmp_path):
    return ["predict", good / "run", tmp_path / "none.tif", "-o", tmp_path / "out"], "none.tif"


def predict_no_bundle(good, tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"not a zip")
    return ["predict", tmp_path / "bad.zip", first(good, "images"), "-o", tmp_path / "out"], "bad.zip"


def predict_wrong_channels(good, tmp_path):
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((64, 64, 3), "uint8"), photometric="rgb")
    return ["predict", good / "run", tmp_path / "rgb.tif", "-o", tmp_path / "out"], "rgb.tif"


def predict_ambiguous(good, tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", np.ones((5, 64, 64), "uint8"), metadata=None)
    return ["predict", good / "run", tmp_path / "stack.tif", "-o", tmp_path / "out"], "--axes"


def predict_bad_tile(good, tmp_path):
    return ["predict", good / "run", first(good, "images"), "-o", tmp_path / "out", "--tile", "7"], "tile"


def unwritable_output(good, tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    return ["predict", good / "run", first(good, "images"), "-o", tmp_path / "file" / "out"], "file"


def evaluate_unpaired(good, tmp_path):
    (tmp_path / "masks").mkdir()
    return ["evaluate", good / "run", "--images", good / "images", "--masks", tmp_path / "masks"], "masks"


def evaluate_onto_a_folder(good, tmp_path):
    (tmp_path / "scores").mkdir()
    words = ["evaluate", good / "run", "--images", good / "images", "--masks", good / "masks"]
    return [*words, "--json", tmp_path / "scores", "--overwrite"], "scores"


def report_nothing(good, tmp_path):
    return ["report", tmp_path / "none"], "none"


CALLS = [
    existing_run,
    resume_nothing,
    no_configuration,
    no_yaml,
    init_existing,
    init_empty,
    init_unknown,
    export_existing,
    export_nothing,
    export_unknown_format,
    predict_missing,
    predict_no_bundle,
    predict_wrong_channels,
    predict_ambiguous,
    predict_bad_tile,
    unwritable_output,
    evaluate_unpaired,
    evaluate_onto_a_folder,
    report_nothing,
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_wrong_call(call, good, tmp_path, monkeypatch, capsys):
    words, expected = call(good, tmp_path)
    before = tree(tmp_path), tree(good)
    code, error = command(monkeypatch, capsys, "kerazoo", *words)
    assert code == 2, error
    assert expected in error
    assert len(error.strip().splitlines()) == 1, error
    assert (tree(tmp_path), tree(good)) == before


@pytest.mark.parametrize("complete", [0, 1])
def test_interrupted_training(complete, folder, monkeypatch, capsys):
    import keras

    def interrupt(self, epoch, logs=None):
        if epoch == complete:
            raise KeyboardInterrupt

    before = tree(folder)
    monkeypatch.setattr(keras.callbacks.Callback, "on_epoch_begin", interrupt)
    words = ["train", folder / "nuclei.yaml", "-o", folder / "run", "--set", "training.epochs=2"]
    code, error = command(monkeypatch, capsys, "kerazoo", *words)
    assert code == 130
    if complete:
        assert "holds 1 of 2 epochs; continue with the same command and --resume" in error
    else:
        assert error == f"Interrupted: no epoch was complete, and nothing is left of {folder / 'run'}.\n"
        assert tree(folder) == before


def test_palette_mask_is_read_as_indices(tmp_path):
    from kerazoo.config import DataConfig
    from kerazoo.files.masks import read_mask

    indices = np.arange(12, dtype="uint8").reshape(3, 4) % 3
    picture = Image.fromarray(indices)
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", DataConfig(annotation="classes")), indices)
