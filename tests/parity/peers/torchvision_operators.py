"""The operators of torchvision, which has none for this torch: declared, it can be imported; nothing calls them."""

from torch import library as extension

declared = extension.Library("torchvision", "DEF")


def declare(without=()):
    """Call this before what imports torchvision; some may be declared elsewhere."""
    for operator in ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool", "deform_conv2d"):
        if operator not in without:
            declared.define(f"{operator}(Tensor a) -> Tensor")
