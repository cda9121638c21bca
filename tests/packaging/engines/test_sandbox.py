"""A hostile program in every engine: what it tries is refused by the system, and the parent says how it ended."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import hostile
import numpy as np
import pytest

from bmzpack import engines
from bmzpack.engines import ENGINES, Engine, old, process, sandbox, system_calls
from bmzpack.errors import UserError
from bmzpack.files import remove_folder, temporary_folder

pytestmark = pytest.mark.skipif(sys.platform != "linux" or bool(sandbox.obstacle()), reason="nothing confines here")

REFUSED = [
    name
    for name in vars(hostile)
    if callable(getattr(hostile, name))
    and getattr(getattr(hostile, name), "__module__", "") == hostile.__name__
    and not name.startswith("_")
]
REFUSED = REFUSED[REFUSED.index("write") : REFUSED.index("loop")]
NAMES = engines.TensorNames(["raw"], ["done"])
INPUTS = [{"raw": np.zeros(1, np.float32)}]


@pytest.fixture
def attack(tmp_path, monkeypatch):
    """Runs attacks in an engine; gives the names of those that were not refused."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o600)

    def run(engine: str, *attacks: str, seconds: float = 100.0, trust: bool = False) -> list[str]:
        original = ENGINES[engine]
        monkeypatch.setitem(ENGINES, "hostile", Engine(original.framework, "Hostile", hostile.load, original.version))
        path = tmp_path / "weights.json"
        with socket.create_server(("127.0.0.1", 0)) as server:
            path.write_text(json.dumps({"attacks": attacks, "folder": str(tmp_path), "port": server.getsockname()[1]}))
            (attempt,) = engines.attempt_files([("hostile", path)], INPUTS, NAMES, trust=trust, seconds=seconds)
        result = attempt.result()
        if isinstance(result, UserError):
            raise result
        return [name for name, done in zip(attacks, result.outputs[0]["done"], strict=True) if done]

    return run


def untouched(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"secret", "weights.json"}
    assert (folder / "secret").read_text() == "secret"
    assert (folder / "secret").stat().st_mode & 0o777 == 0o600
    assert (folder / "secret").stat().st_mtime > 1e9


@pytest.mark.parametrize(
    "engine",
    [
        "onnxruntime",
        pytest.param("tensorflow", marks=pytest.mark.slow),
        pytest.param("keras", marks=pytest.mark.slow),
        pytest.param("torch", marks=pytest.mark.slow),
        pytest.param("onnxruntime-1.13.1", marks=pytest.mark.engines),
        pytest.param("tensorflow-2.10.1", marks=pytest.mark.engines),
    ],
)
def test_everything_is_refused_in_every_engine(engine, attack, tmp_path):
    entry = ENGINES[engine]
    if entry.version is None and importlib.util.find_spec(entry.framework) is None:
        pytest.skip(f"{entry.framework} is not installed")
    if entry.version:
        try:
            old.python(entry.framework, entry.version)
        except UserError as error:
            pytest.skip(str(error))
    assert len(REFUSED) > 25
    assert attack(engine, *REFUSED) == []
    untouched(tmp_path)
    if entry.version is None:  # a deadline holds in every engine, too
        with pytest.raises(UserError, match="stopped after 3 seconds"):
            attack(engine, "loop", seconds=3)


def test_the_attacks_work_where_nothing_confines(attack, tmp_path):
    harmless = ["write", "read", "list_folder", "connect", "send", "fork", "spawn", "change_mode", "signal_parent"]
    assert attack("onnxruntime", *harmless, trust=True) == harmless
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sleep", "stopped after 3 seconds"),
        ("threads", "more than 100 threads"),
        ("files", "wrote more than a network needs"),
        ("fill", "wrote more than a network needs"),
        ("deep", "wrote more than a network needs"),
        ("leave", "ended without a result"),
        ("crash", "ended by SIGSEGV"),
        ("escape_codes", "]0;faked[2J all is well"),
    ],
)
def test_the_parent_says_how_it_ended(name, words, attack, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "MOST_THREADS", 100)
    monkeypatch.setattr(process, "MOST_FILES", 500)
    monkeypatch.setattr(process, "DISK", 2**24 if name == "fill" else 2**34)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        attack("onnxruntime", name, seconds=3 if name == "sleep" else 60)
    assert words in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert time.monotonic() - start < 50
    assert not list((tmp_path / "temporary").iterdir())


def test_tensors_of_any_name(tmp_path, monkeypatch):
    """Some are arguments of NumPy's functions."""
    monkeypatch.setitem(ENGINES, "hostile", Engine("json", "Hostile", hostile.load))
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"attacks": ["read_parent"]}))
    names = engines.TensorNames(["file", "allow_pickle", "../x"], ["file"])
    inputs = [dict.fromkeys(names.inputs, np.zeros(1, np.float32))]
    (attempt,) = engines.attempt_files([("hostile", path)], inputs, names)
    assert attempt.outputs[0]["file"] == [0]


def test_no_secret_of_the_environment_gets_there(monkeypatch, tmp_path):
    monkeypatch.setenv("BIOIMAGEIO_HYPHA_UPLOAD_TOKEN", "secret")
    environment = process._environment(tmp_path, None, "tensorflow")
    assert "secret" not in environment.values()
    assert environment["HOME"] == environment["TMPDIR"] == str(tmp_path)


def test_programs_are_not_run_where_nothing_confines(monkeypatch, tmp_path):
    from corpus import clean

    from bmzpack.bundle.contents import Contents
    from bmzpack.testing import guard

    monkeypatch.setattr(sandbox, "obstacle", lambda: "this Linux has no Landlock")
    bundle = clean(tmp_path / "bundle")
    folder = bundle.finish()
    contents = Contents(folder, folder / "rdf.yaml")
    for name in ("torchscript", "tensorflow_saved_model_bundle"):
        reason = guard.refused(contents, name, False)
        assert reason is not None
        assert "no Landlock" in reason
        assert "--trust" in reason
        assert "no Landlock" not in (guard.refused(contents, name, True) or "")
    assert guard.refused(contents, "onnx", False) is None


def test_both_machines_have_a_program():
    for machine in system_calls.ARCHITECTURES:
        program = system_calls.program(machine, 1)
        assert len(program) % 8 == 0
        assert 100 < len(program) // 8 < 4096


def test_folders_of_any_depth_are_removed(tmp_path):
    with temporary_folder(where=tmp_path) as folder:
        monster = folder
        for _ in range(60):
            monster = monster / ("a" * 30)
            monster.mkdir()
        (monster / "file").touch()
        (folder / "link").symlink_to(tmp_path)
        (folder / "closed").mkdir(mode=0)
    assert not list(tmp_path.iterdir())


def test_what_killed_processes_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("bmzpack.files.YOUNG", -1.0)
    (tmp_path / "bmzpack-12345678").mkdir()
    (tmp_path / "bmzpack-notes").mkdir()
    with temporary_folder(where=tmp_path) as running, temporary_folder(where=tmp_path):
        assert running.exists()
        assert not (tmp_path / "bmzpack-12345678").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bmzpack-notes"]
    remove_folder(tmp_path / "bmzpack-notes")


def test_only_two_doors_start_engines():
    """Who runs weights elsewhere leaves out what protects."""
    root = Path(engines.__file__).parents[1]
    starts = {"attempt_files": set(), "run_worker": set(), "run_python": set(), "subprocess": set()}
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for word, found in starts.items():
            if word in text:
                found.add(path.relative_to(root).as_posix())
    assert starts["subprocess"] == {"engines/process.py", "engines/old.py"}
    assert starts["attempt_files"] == {
        "engines/__init__.py",
        "engines/jobs.py",
        "repairs/acceptance.py",
        "testing/foreign.py",
        "weights/write.py",
    }
    assert starts["run_worker"] == {"engines/__init__.py", "engines/jobs.py", "testing/foreign.py"}
    assert starts["run_python"] == {
        "engines/process.py",
        "engines/jobs.py",
        "repairs/weights_conversion.py",
        "weights/write.py",
    }


def doctor(monkeypatch, capsys) -> tuple[int, str]:
    from bmzpack.cli import main

    monkeypatch.setattr(sys, "argv", ["bmzpack", "doctor"])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(str(ended.value.code or 0)), capsys.readouterr().out


def test_doctor_says_what_protects(monkeypatch, capsys):
    code, text = doctor(monkeypatch, capsys)
    assert code == 0
    assert "confined by Landlock" in text
    monkeypatch.setattr(sandbox, "obstacle", lambda: "this Linux has no Landlock")
    code, text = doctor(monkeypatch, capsys)
    assert code == 1
    assert "not confined: this Linux has no Landlock" in text
    assert "--trust" in text


# environments of the old engines


def environment(cache: Path, whole: bool = True) -> Path:
    folder = cache / "bmzpack" / "engines" / "onnxruntime-1.13.1"
    (folder / "bin").mkdir(parents=True)
    if whole:
        (folder / "bin" / "python").touch()
        installed = folder / "lib" / "python3.10" / "site-packages" / "onnxruntime-1.13.1.dist-info"
        installed.mkdir(parents=True)
        (installed / "RECORD").touch()
    return folder


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A Python 3.10 that installs nothing but says so."""
    python = tmp_path / "python3.10"
    python.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = -c ]; then echo True; exit; fi\n'
        'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; exit; fi\n'
        'root=$(dirname "$(dirname "$0")")\n'
        "sleep 0.3\n"
        'mkdir -p "$root/lib/python3.10/site-packages/onnxruntime-1.13.1.dist-info"\n'
        'touch "$root/lib/python3.10/site-packages/onnxruntime-1.13.1.dist-info/RECORD"\n'
    )
    python.chmod(0o755)
    monkeypatch.setenv("BMZPACK_PYTHON310", str(python))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_broken_environment_is_replaced(installed):
    folder = environment(installed, whole=False)
    (folder / "bin" / "leftover").touch()
    assert old.python("onnxruntime", "1.13.1") == folder / "bin" / "python"
    assert not (folder / "bin" / "leftover").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_two_first_installs_at_once(installed):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: old.python("onnxruntime", "1.13.1"), range(4)))
    assert len(set(found)) == 1
    assert found[0].exists()
    assert len(list(found[0].parents[2].iterdir())) == 1


@pytest.mark.parametrize("which", [0, 1])
def test_an_environment_that_others_can_change_is_not_executed(which, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = environment(tmp_path)
    [folder, folder.parent][which].chmod(0o777)
    with pytest.raises(UserError, match="Others can change"):
        old.python("onnxruntime", "1.13.1")


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "worker.py").write_text(
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\nos.rename('pid', 'id')\ntime.sleep(1000)\n"
    )
    program = "import sys; from pathlib import Path; from bmzpack.engines.process import run_python; "
    program += "folder = Path(sys.argv[1]); run_python([str(folder / 'worker.py')], 'It failed', folder)"
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) as parent:
        until(lambda: (tmp_path / "id").exists())
        worker = Path("/proc", (tmp_path / "id").read_text())
        assert worker.exists()
        parent.kill()
    until(lambda: not worker.exists() or ") Z" in (worker / "stat").read_text())


def until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
