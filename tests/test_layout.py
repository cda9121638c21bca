"""The two source roots resolve, and nothing shadows the libraries that share a name with a folder."""

import resource
import subprocess
import sys
from pathlib import Path

import packaging.version
import pytest

ROOT = Path(__file__).parents[1]


def test_packaging_is_the_library():
    assert not (ROOT / "packaging" / "__init__.py").exists()
    assert packaging.version.Version("1.10") > packaging.version.Version("1.9")


def test_packer_does_not_know_the_zoo():
    for path in (ROOT / "packaging" / "bmzpack").rglob("*.py"):
        assert "kerazoo." not in path.read_text(encoding="utf-8").replace("config.kerazoo", ""), path


@pytest.mark.parametrize("module", ["kerazoo", "kerazoo.cli", "kerazoo.config", "kerazoo.runs.run", "bmzpack.cli"])
def test_light_modules_import_no_framework(module):
    program = f"import sys, {module}; print([m for m in ('tensorflow', 'keras', 'torch', 'jax') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_listing_models_imports_no_arrays():
    program = (
        "import sys; from kerazoo.models.registry import list_models; list_models(); print('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(("command", "limit"), [("--help", 0.5), ("models", 1.0)])
def test_commands_answer_at_once(command, limit):
    def seconds() -> float:
        """Processor time, as other tests run beside this one."""
        start = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        subprocess.run([sys.executable, "-m", "kerazoo", command], check=True, capture_output=True, cwd=ROOT)
        return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - start

    assert min(seconds() for _ in range(3)) < limit


def test_public_names_stay_functions():
    """A module of the same name would take a function's place once it is imported."""
    import bmzpack
    import kerazoo

    for package in (bmzpack, kerazoo):
        for name in {*package.__all__} - {"__version__"}:
            assert callable(getattr(package, name))
            assert callable(getattr(package, name))
