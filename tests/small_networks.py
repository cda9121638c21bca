"""Arguments of networks of the registry that keep tests short."""

VIT = {
    **{"image_size": 64, "patch": 16, "width": 16, "depth": 2, "heads": 2, "window": 3, "global_blocks": [1]},
    **{"features": 16, "hidden": 16, "instances": 8},
}
SMALL = {
    "unet2d": {"filters": 4},
    "stardist2d": {"filters": 4, "features": 8},
    "patch_cnn": {"filters": 4},
    "classifier2d": {"alpha": 0.35},
    "sam_tiny": {"features": 16, "depth": 1, "hidden": 16},
    "sam_vit_b": VIT,
    "sam_vit_l": VIT,
    "sam_vit_h": VIT,
}
"""Arguments that keep the tests short."""
