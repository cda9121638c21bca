"""How long the official Cellpose takes for a step of its training."""

import numpy as np
import torch
from cellpose import models, train
from cellpose_training import read
from steps import clock

torch.set_num_threads(2)


def step(inputs):
    """Median time from the end of one step to the end of the next, in seconds."""
    _, images, masks = read(str(inputs["train"]))
    model = models.CellposeModel(gpu=False, pretrained_model=None, nchan=2)
    ends = clock()
    train.train_seg(
        model.net,
        train_data=images,
        train_labels=masks,
        channels=[0, 0],
        batch_size=int(inputs["batch"]),
        n_epochs=1,
        nimg_per_epoch=int(inputs["batch"]) * int(inputs["steps"]),
        save_path=str(inputs["output"]),
    )
    return {"seconds": np.median(np.diff(ends)[1:])}
