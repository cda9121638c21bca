"""Thousands of descriptions changed at random, the same in every run: a verdict or one sentence, never a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from corpus import BASES, OTHER_BASES
from mutations import SECONDS

ROOT = Path(__file__).parents[3]
SHARED = Path(os.environ.get("CONTRACT_TRUTH", ROOT.parent / "shared"))
"""Where published descriptions are, if they are there."""
MEGABYTES = 300
FRAMEWORKS = {"tensorflow", "torch", "keras", "onnx", "onnxruntime", "jax", "tf2onnx"}
PART = 1000
"""Mutations that one process checks."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A folder of small bundles."""
    folder = tmp_path_factory.mktemp("mutations")
    for number, make in enumerate((BASES | OTHER_BASES).values()):
        make(folder / f"{number:02}").finish()
    return folder


def checked(first, last, bundles, *zoo):
    """Check mutations in a process of its own, with all that was asked of checks."""
    program = Path(__file__).with_name("mutations.py")
    command = [sys.executable, program, str(first), str(last), bundles, *zoo]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "packaging")}
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(run.stdout)
    tracebacks = found["tracebacks"]
    assert not tracebacks, f"{len(tracebacks)} mutations: {list(tracebacks)[:20]}\n{next(iter(tracebacks.values()))}"
    assert not found["asked"]
    assert not FRAMEWORKS & set(found["modules"])
    assert found["megabytes"] < MEGABYTES
    assert found["seconds"] < SECONDS, f"mutation {found['longest']}"
    return found


def test_mutations(bundles):
    checked(0, 200, bundles)


def published():
    """The folder of published descriptions; the test is skipped where it is absent."""
    if not (SHARED / "zoo" / "rdf").is_dir():
        pytest.skip(f"needs published descriptions: {SHARED / 'zoo'} is absent (CONTRACT_TRUTH names another place)")
    return SHARED / "zoo"


def test_mutations_of_published_models(bundles):
    checked(0, 200, bundles, published())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(0, 10_000, PART))
def test_many_mutations(first, bundles):
    found = checked(first, first + PART, bundles, published())
    print({key: round(found[key], 2) for key in ("seconds", "megabytes", "refused")})
