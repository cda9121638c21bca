"""Weights of a torch network whose Python code is in the bundle: bmzpack does not write it, and runs it on request."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bmzpack.weights.format import TRUST, Format

if TYPE_CHECKING:
    from bmzpack.bundle.contents import Contents


def refusal(contents: Contents, path: Path, trust: bool) -> str | None:
    """Every such file comes with code."""
    if trust:
        return None
    return f"The network of pytorch_state_dict is Python code of the bundle, which is not executed. {TRUST}"


FORMAT = Format(
    name="pytorch_state_dict",
    file="weights.pth",
    process="torch",
    refusal=refusal,
    program=True,
    package="torch",
    keeps_layers=True,
)
