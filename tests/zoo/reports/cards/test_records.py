"""Records: what run folders say, without a trace of the machine's folders, and what is refused."""

import json
import statistics
from typing import Any

import pytest
import yaml

from bmzpack.errors import UserError
from kerazoo.reports.cards.records import CardRecord, mean_and_deviation, read_records, write_record

ABOUT: dict[str, Any] = {
    "dataset": "Synthetic nuclei",
    "licence": "BSD-3-Clause",
    "command": "kerazoo train nuclei.yaml",
}


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cards") / "records"
    write_record(
        [trained / "run1", trained / "run2"],
        folder / "unet2d" / "nuclei.json",
        tests=[trained / "test1.json", trained / "test2.json"],
        source="https://example.org/nuclei",
        **ABOUT,
    )
    return folder


def test_content(written, trained):
    (record,) = read_records(written, "unet2d")
    assert isinstance(record, CardRecord)
    assert [run.seed for run in record.runs] == [1, 2]
    for run in record.runs:
        found = json.loads((trained / f"run{run.seed}" / "record.json").read_text())
        assert run.validation.scores["dice"] == pytest.approx(found["scores"]["dice"], abs=1e-6)
        assert run.baseline["dice"] == pytest.approx(found["validation"]["baseline"]["dice"], abs=1e-6)
        assert (run.train_images, run.validation.images) == (4, 1)
        assert run.test is not None
        assert run.test.images == 2
        found = json.loads((trained / f"test{run.seed}.json").read_text())
        assert run.test.scores["dice"] == pytest.approx(found["scores"]["dice"], abs=1e-6)
    assert record.settings == {
        "model.arguments.filters": 4,
        "model.arguments.depth": 1,
        "training.epochs": 1,
        "training.batch_size": 2,
        "training.patch_size": 32,
        "training.steps_per_epoch": 2,
    }
    assert record.machine.packages.keys() == {"kerazoo", "keras", "tensorflow"}


def test_nothing_of_the_machine_s_folders(written, trained):
    text = (written / "unet2d" / "nuclei.json").read_text()
    assert str(trained) not in text
    assert "/tmp" not in text
    assert "/home" not in text
    assert len(text) < 5000


def test_local_weights_are_named_without_their_folder(runs, tmp_path):
    for run in runs:
        config = yaml.safe_load((run.path / "config.yaml").read_text())
        config["model"] |= {"backbone": "mobilenet_v2", "weights": "/somewhere/mine.keras"}
        (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    record = write_record(runs, tmp_path / "unet2d" / "x.json", **ABOUT)
    assert record.settings["model.weights"] == "mine.keras"


@pytest.mark.parametrize(
    "command",
    [
        "kerazoo train /data/nuclei.yaml",
        "kerazoo train nuclei.yaml --set data.images=/data/images",
        "kerazoo train ~/nuclei.yaml",
        r"kerazoo train C:\data\nuclei.yaml",
        r"kerazoo train \\server\nuclei.yaml",
        "python '/opt/train.py'",
        "PYTHONPATH=a:/opt/b kerazoo train x.yaml",
        "kerazoo train file:///data/x.yaml",
        "//server/train.py",
    ],
)
def test_paths_in_a_command_are_refused(runs, tmp_path, command):
    with pytest.raises(UserError, match="`command` holds an absolute path"):
        write_record(runs, tmp_path / "unet2d" / "x.json", **ABOUT | {"command": command})
    assert not (tmp_path / "unet2d").exists()


def test_addresses_and_fractions_are_no_paths(runs, tmp_path):
    about: dict[str, Any] = ABOUT | {
        "dataset": "~30 cells / nuclei, 1/2",
        "source": "https://example.org/a/b and doi:10.1000/182",
    }
    assert write_record(runs, tmp_path / "unet2d" / "x.json", **about).source == about["source"]


def test_a_record_is_of_one_setting(runs, tmp_path):
    config = yaml.safe_load((runs[1].path / "config.yaml").read_text())
    config["training"]["epochs"] = 7
    (runs[1].path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"differ by training\.epochs"):
        write_record(runs, tmp_path / "unet2d" / "x.json", **ABOUT)


def test_refused(runs, trained, tmp_path):
    good = tmp_path / "unet2d" / "x.json"
    with pytest.raises(UserError, match="the same seeds"):
        write_record([runs[0], runs[0]], good, **ABOUT)
    with pytest.raises(UserError, match=r"put it into\s+records/unet2d"):
        write_record(runs, tmp_path / "unet2d_2015" / "x.json", **ABOUT)
    with pytest.raises(UserError, match="one for each run"):
        write_record(runs, good, tests=[trained / "test1.json"], **ABOUT)
    with pytest.raises(UserError, match="holds no scores"):
        write_record(runs[:1], good, tests=[trained / "run1" / "config.yaml"], **ABOUT)
    with pytest.raises(UserError, match="at least one run"):
        write_record([], good, **ABOUT)
    runs[0].write("record", {"epochs": 1})
    with pytest.raises(UserError, match="--resume"):
        write_record(runs, good, **ABOUT)
    assert not good.exists()


def test_nothing_is_replaced_unasked(runs, tmp_path):
    path = tmp_path / "unet2d" / "x.json"
    write_record(runs[:1], path, **ABOUT)
    with pytest.raises(UserError, match="--overwrite"):
        write_record(runs, path, **ABOUT)
    assert len(write_record(runs, path, overwrite=True, **ABOUT).runs) == 2


def test_a_record_of_another_model_is_refused(written, tmp_path):
    text = (written / "unet2d" / "nuclei.json").read_text()
    (tmp_path / "patch_cnn").mkdir()
    (tmp_path / "patch_cnn" / "x.json").write_text(text)
    with pytest.raises(UserError, match="is a record of unet2d"):
        read_records(tmp_path, "patch_cnn")
    (tmp_path / "patch_cnn" / "x.json").write_text(text.replace('"licence"', '"license"'))
    with pytest.raises(UserError, match="the nearest known one is `licence`"):
        read_records(tmp_path, "patch_cnn")
    (tmp_path / "patch_cnn" / "x.json").write_text("{")
    with pytest.raises(UserError, match="not a JSON file"):
        read_records(tmp_path, "patch_cnn")


def test_mean_and_deviation():
    assert mean_and_deviation([0.5]) == "0.500"
    assert mean_and_deviation([0.5, 0.6, 0.7]) == f"0.600 ± {statistics.stdev([0.5, 0.6, 0.7]):.3f}"
