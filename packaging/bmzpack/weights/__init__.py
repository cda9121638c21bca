"""The weights formats of a bundle, one file for each, and the way from a ``.keras`` file to all of them.

No framework is imported here: writing and running are processes of their own.
"""

from bmzpack.engines import TensorNames
from bmzpack.weights.format import Format
from bmzpack.weights.registry import FORMATS, choose_formats, find_format
from bmzpack.weights.source import tensor_names
from bmzpack.weights.write import TOLERANCE, Written, write_all

__all__ = [
    "FORMATS",
    "TOLERANCE",
    "Format",
    "TensorNames",
    "Written",
    "choose_formats",
    "find_format",
    "tensor_names",
    "write_all",
]
