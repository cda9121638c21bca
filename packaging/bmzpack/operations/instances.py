"""Operations that make labels of objects of a network's output."""

from __future__ import annotations

from typing import ClassVar

from bmzpack.operations.operation import Operation


class StardistPostprocessing(Operation):
    """Star-convex polygons, the best of which are kept (non-maximum suppression)."""

    id: ClassVar = "stardist_postprocessing"
    package: ClassVar = "stardist"


class CellposeFlowDynamics(Operation):
    """Pixels that flow to the same place are one object."""

    id: ClassVar = "cellpose_flow_dynamics"
    package: ClassVar = "cellpose"
