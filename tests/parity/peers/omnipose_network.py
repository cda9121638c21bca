"""The network of the official Omnipose, as a black box."""

import numpy as np
import torch
from torchvision_operators import declare

declare()

from cellpose_omni import resnet_torch  # noqa: E402


def network(given):
    """Write the checkpoint of a network with random weights and statistics; its outputs of all images."""
    torch.manual_seed(int(given["seed"]))
    model = resnet_torch.CPnet([int(given["channels"]), 32, 64, 128, 256], int(given["outputs"]), 3)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    model.save_model(str(given["path"]))
    model.eval()
    images = {name: image.transpose(0, 3, 1, 2).copy() for name, image in given.items() if name.startswith("image")}
    with torch.no_grad():
        outputs = {name: model(torch.from_numpy(image))[0].numpy() for name, image in images.items()}
    return {
        "parameters": sum(tensor.numel() for tensor in model.parameters()),
        **{name: np.moveaxis(output, 1, -1) for name, output in outputs.items()},
    }
