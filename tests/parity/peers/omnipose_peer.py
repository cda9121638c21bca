"""The official Omnipose, as a black box: targets, masks and training settings through its documented functions."""

import logging
import time
import warnings

import numpy as np
import torch
from torchvision_operators import declare

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
declare()

from omnipose import core  # noqa: E402

CPU = torch.device("cpu")
torch.set_num_threads(2)


def fields(given):
    """Distance, flow (y, x, 2) and boundary of a label image, and the target that the network is trained with."""
    labels = given["labels"].astype(np.int32)
    times = []
    for _ in range(int(given.get("repeats", 1))):
        start = time.perf_counter()
        formatted, _, boundary, distance, flow = core.masks_to_flows(labels, use_gpu=False, device=CPU)
        times.append(time.perf_counter() - start)
    batch = [torch.as_tensor(np.asarray(part))[None] for part in (formatted.astype(np.int64), boundary, distance, flow)]
    target = core.batch_labels(*batch[:1], batch[1].float(), *batch[2:], labels.shape, 2, 3, CPU)[0].numpy()
    return {
        "distance": np.asarray(distance),
        "flow": np.moveaxis(np.asarray(flow), 0, -1),
        "boundary": np.asarray(boundary) > 0,
        "target": np.stack([target[5], target[6], target[3], target[2], target[4]], axis=-1),
        "seconds": min(times),
    }


def masks(given):
    """Masks of a network's output (y, x, 4), and where the pixels of the foreground end (y, x, 2)."""
    output = given["output"].astype(np.float32)
    flow, distance = np.ascontiguousarray(np.moveaxis(output[..., :2], -1, 0)), np.ascontiguousarray(output[..., 2])
    options = {"flow_threshold": float(given["flow_error"]), "min_size": int(given["minimum_size"])}
    times = []
    for _ in range(int(given.get("repeats", 1))):
        start = time.perf_counter()
        found, ends = core.compute_masks(
            flow.copy(), distance.copy(), bd=output[..., 3].copy(), nclasses=3, use_gpu=False, device=CPU, **options
        )[:2]
        times.append(time.perf_counter() - start)
    return {"masks": found, "ends": np.moveaxis(ends, 0, -1), "seconds": min(times)}


def errors(given):
    """Flow error of every object of a label image."""
    flow = np.ascontiguousarray(np.moveaxis(given["flow"].astype(np.float32), -1, 0))
    return {"errors": core.flow_error(given["labels"].astype(np.int32), flow, use_gpu=False, device=CPU)[0]}
