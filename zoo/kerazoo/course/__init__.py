"""The lecture's small systems: each a function that returns data, and a figure that draws it."""
