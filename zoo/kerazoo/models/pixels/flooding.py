"""How a landscape is flooded at the end of a graph, whether it is one of TensorFlow or of PyTorch."""

from __future__ import annotations

STEP = 0.5
"""By how much the flood falls, in pixels of distance to the interior's edge."""
LEVEL = 1e-3
"""Hills whose heights differ by a smaller part are of one height."""
FARTHEST = 64.0
"""Pixels: where the interior is farther away, its distance has no influence on what a pixel belongs to."""
FAR = 1e6
"""A distance where there is nothing to be distant from."""
