"""Scales of axes that say the same by the specification and in Fiji."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

LARGEST_PART = 4096
"""Largest numerator and denominator of a ratio of pixels of the output to pixels of the input."""


def both_scales(ratio: float) -> tuple[float, float]:
    """Scales of an input's and an output's axis from which the specification and Fiji find the same size.

    By the specification the input's size is multiplied by its scale and divided by that of the output, in Fiji (JDLL)
    it is multiplied by that of the output alone: scales of ratio squared and ratio fit both. They are written as
    multiples of one number of 24 bits, so that every size that is whole comes out whole.

    Parameters
    ----------
    ratio
        Pixels of the output per pixel of the input: a quotient of whole numbers up to `LARGEST_PART`.

    Returns
    -------
    tuple of float
        For the input, for the output; both 1 for outputs of the input's size.
    """
    exact = Fraction(ratio).limit_denominator(LARGEST_PART)
    target = exact / exact.denominator
    unit = np.float32(target)
    if Fraction(float(unit)) < target:  # Fiji cuts off what is behind the point
        unit = np.nextafter(unit, np.float32(np.inf))
    return exact.numerator * float(unit), exact.denominator * float(unit)
