"""The settings of runs side by side: which ones distinguish them."""

from __future__ import annotations

from typing import Any

from kerazoo.config import Config

SEEDS = ("training.seed", "split.seed")
"""Runs that differ in nothing else are repetitions of each other."""


def flat_settings(config: Config) -> dict[str, Any]:
    """All settings as JSON values by their dotted names, those of `model.arguments` one by one too."""
    return _flat(config.model_dump(mode="json"))


def differs(name: str) -> bool:
    """Whether runs of different values of a setting are different experiments."""
    return name not in SEEDS and not name.startswith("publication.")


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
