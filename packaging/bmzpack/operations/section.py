"""An operation as a description of a model names it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pydantic

from bmzpack.operations.operation import Operation
from bmzpack.operations.registry import OPERATIONS
from bmzpack.settings import Section

if TYPE_CHECKING:
    OperationName = str
else:
    OperationName = Literal[tuple(OPERATIONS)]


class Processing(Section):
    """An operation of the BioImage Model Zoo on a tensor, such as ``zero_mean_unit_variance``."""

    id: OperationName
    kwargs: dict[str, Any] = {}
    """As in the zoo's specification; axes are named batch, channel, z, y, x."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value

    @property
    def operation(self) -> Operation:
        """What it computes."""
        return OPERATIONS[self.id](self.kwargs)
