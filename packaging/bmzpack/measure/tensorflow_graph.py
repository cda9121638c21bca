"""TensorFlow's interface for graphs without variables, which is not public: it is called here only."""

from __future__ import annotations

from typing import Any


def frozen(function: Any, *, lower_loops: bool = True) -> Any:
    """A concrete function with its variables made constants.

    Parameters
    ----------
    function
        As TensorFlow has traced it.
    lower_loops
        Whether loops become switches and merges of single tensors.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    return convert_variables_to_constants_v2(function, lower_control_flow=lower_loops)
