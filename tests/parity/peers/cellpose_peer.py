"""The official Cellpose 3: its network, targets, loss and masks."""

import time

import numpy as np
import torch
from cellpose import dynamics, metrics, models, resnet_torch, train, utils

CPU = torch.device("cpu")
torch.set_num_threads(2)
# The order of equal numbers, which decides between seeds of one size, hangs on the processor: here it is theirs.
torch.Tensor.argsort = lambda self: torch.sort(self, stable=True).indices


def network(given):
    """Write the checkpoint of a network with random weights and statistics; its outputs of all images."""
    torch.manual_seed(int(given["seed"]))
    model = resnet_torch.CPnet([int(given["channels"]), 32, 64, 128, 256], int(given["outputs"]), 3, diam_mean=30.0)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith((".0.weight", ".0.bias")):
            tensor.add_(0.1 * torch.randn_like(tensor))
    model.diam_labels.data[:] = 23.5
    if given.get("legacy"):
        torch.save(model.state_dict(), str(given["path"]), _use_new_zipfile_serialization=False)
    else:
        model.save_model(str(given["path"]))
    parameters = [tensor for name, tensor in model.named_parameters() if not name.startswith("diam")]
    model.eval()
    images = {name: image.transpose(0, 3, 1, 2).copy() for name, image in given.items() if name.startswith("image")}
    with torch.no_grad():
        outputs = {name: model(torch.from_numpy(image))[0].numpy() for name, image in images.items()}
    return {
        "parameters": sum(tensor.numel() for tensor in parameters),
        "tensors": len(model.state_dict()),
        **{name: output.transpose(0, 2, 3, 1) for name, output in outputs.items()},
    }


def flows(given):
    """Targets of a label image, (y, x, 3)."""
    labels = given["labels"].astype(np.int32)
    times = []
    for _ in range(int(given.get("repeats", 1))):
        start = time.perf_counter()
        result = dynamics.labels_to_flows([labels.copy()], device=CPU)[0]
        times.append(time.perf_counter() - start)
    return {"flows": np.stack([result[2], result[3], result[1]], axis=-1), "seconds": min(times)}


def loss(given):
    """Loss and its gradient; truth (batch, y, x, 3), prediction alike."""
    truth = given["truth"].transpose(0, 3, 1, 2)[:, [2, 0, 1]].copy()
    prediction = torch.from_numpy(given["prediction"].transpose(0, 3, 1, 2).copy()).requires_grad_()
    value = train._loss_fn_seg(truth, prediction, CPU)
    value.backward()
    return {"loss": value.item(), "gradient": prediction.grad.numpy().transpose(0, 2, 3, 1)}


def masks(given):
    """Masks of a network's output, and the stations on the way."""
    field = given["flows"].astype(np.float32)
    flow, logit = field[..., :2].transpose(2, 0, 1).copy(), field[..., 2].copy()
    options = {"flow_threshold": float(given["flow_error"]), "cellprob_threshold": float(given["threshold"])}
    times = []
    for _ in range(int(given.get("repeats", 1))):
        start = time.perf_counter()
        # As the model's eval does.
        result = dynamics.resize_and_compute_masks(flow, logit, niter=200, device=CPU, **options)
        times.append(time.perf_counter() - start)
    inside = logit > options["cellprob_threshold"]
    places = np.nonzero(inside)
    ends = dynamics.follow_flows(flow * inside / 5.0, places, niter=200, device=CPU)
    clusters = dynamics.get_masks_torch(torch.from_numpy(ends.copy()).int(), places, inside.shape)
    consistent = dynamics.compute_masks(flow, logit, niter=200, device=CPU, min_size=-1, **options)
    _, closed = np.unique(consistent, return_inverse=True)
    closed = closed.reshape(inside.shape).astype(np.uint16)
    return {
        "masks": result,
        "seconds": min(times),
        "ends": ends.T,
        "clusters": clusters,
        "consistent": consistent,
        "closed": utils.fill_holes_and_remove_small_masks(closed, min_size=15),
    }


def errors(given):
    """Flow error of every object."""
    flow = given["flows"][..., :2].transpose(2, 0, 1).astype(np.float32)
    return {"errors": metrics.flow_error(given["labels"].astype(np.int32), flow, CPU)[0]}


def diameter(given):
    """Median diameter of a label image."""
    return {"diameter": utils.diameters(given["labels"])[0]}


def predict(given):
    """Masks of an image by a checkpoint, without rescaling, and the time that takes."""
    model = models.CellposeModel(gpu=False, pretrained_model=str(given["path"]))
    times = []
    for _ in range(int(given.get("repeats", 1))):
        start = time.perf_counter()
        result, flow, _ = model.eval(given["image"], channels=[0, 0], rescale=1.0, diameter=None, normalize=True)
        times.append(time.perf_counter() - start)
    return {"masks": result, "flows": flow[1], "logit": flow[2], "seconds": min(times)}
