"""How long the official Omnipose takes for a step of its training."""

import numpy as np
from omnipose_training import new_model, read, train
from steps import clock


def step(inputs):
    """Median time from the end of one step to the end of the next, in seconds."""
    _, images, masks = read(str(inputs["train"]))
    ends = clock()
    sizes = {name: int(inputs[name]) for name in ("size", "batch", "steps")}
    train(new_model(), images, masks, **sizes, epochs=1, output=str(inputs["output"]))
    return {"seconds": np.median(np.diff(ends)[1:])}
