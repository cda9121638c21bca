"""The official Omnipose with square roots that are rounded as IEEE 754 says, which PyTorch's on a CPU are not all."""

import numpy as np
import torch
from omnipose_peer import fields as fields
from torch import library as extension

replaced = extension.Library("aten", "IMPL")


def root(values):
    return torch.from_numpy(np.asarray(np.sqrt(values.numpy())))


def power(values, exponent):
    if exponent == 0.5:
        return root(values)
    array = values.numpy()
    return torch.from_numpy(np.asarray(np.power(array, array.dtype.type(exponent))))


replaced.impl("sqrt", root, "CPU")
replaced.impl("pow.Tensor_Scalar", power, "CPU")
