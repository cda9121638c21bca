"""Fixtures for all tests: real data where it lies beside the checkout, else a skip that says so."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as kerazoo sets it, whatever is imported first


LONGEST = (
    *("test_readme.py", "test_notebooks.py", "test_cards.py", "test_registry.py", "test_weights.py", "test_fit.py"),
    *("test_labels.py", "test_pack.py", "test_classifier.py", "test_bundle.py", "test_repair.py", "test_network.py"),
    *("test_prompts.py", "test_toy_format.py", "test_repair_corpus.py", "test_checkpoint.py", "test_toy_operation.py"),
    *("test_toy_consumer.py", "test_instances.py", "test_without_space.py", "test_backbones.py"),
)
"""Files that take longer than 20 seconds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that at the end no process is left alone with one of them."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.fixture(autouse=True, scope="session")
def _from_random_numbers() -> Iterator[None]:
    """Configurations of tests start from random numbers, with small networks, whatever trained networks there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kerazoo.configuration.head_start.start_of", lambda entry, weights, backbone, measured: None)
        yield


@pytest.fixture(scope="session")
def data_folder() -> Callable[[str], Path]:
    """A function from the name of a real data set to its folder; the test is skipped where the set is absent."""
    root = Path(os.environ.get("KERAZOO_DATA", Path(__file__).parents[2] / "shared" / "data"))

    def find(name: str) -> Path:
        folder = root / name
        if not folder.is_dir():
            pytest.skip(f"needs the data set {name}: {folder} is absent (KERAZOO_DATA names another place)")
        return folder

    return find
