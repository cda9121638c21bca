"""U-Nets: what the registry, cards, bundles and reports say."""

from __future__ import annotations

from kerazoo.models.entry import IMAGENET_BACKBONES, Card, InputSizes, Model

_UNET = "Ronneberger, Fischer and Brox (2015), U-Net: Convolutional Networks for Biomedical Image Segmentation"

MODELS = (
    Model(
        name="unet2d",
        title="U-Net",
        task="semantic",
        builder="kerazoo.models.pixels.network:unet",
        parameters=31_048_322,
        paper="Ronneberger et al. 2015",
        citation=_UNET,
        doi="10.1007/978-3-319-24574-4_28",
        purpose="One class per pixel, or single objects from their interior and border; with an ImageNet encoder where "
        "few images are annotated.",
        limits=(
            "Objects that overlap cannot be told apart, as a pixel has one class.",
            "Objects much larger or smaller than those of the training images are missed: bring images to one pixel "
            "size.",
        ),
        backbones=IMAGENET_BACKBONES,
    ),
    Model(
        name="unet2d_2015",
        title="U-Net as published",
        task="semantic",
        builder="kerazoo.models.pixels.network:unet_2015",
        parameters=31_030_658,
        paper="Ronneberger et al. 2015",
        citation=_UNET,
        doi="10.1007/978-3-319-24574-4_28",
        purpose="The network of the paper, layer by layer: unpadded convolutions, for whoever compares with it.",
        limits=(
            "The output is 184 pixels smaller than the input, and sizes are 188 + 16 n.",
            "It needs several times the time and memory of `unet2d` with fewer filters.",
        ),
        sizes=InputSizes(minimum=188, step=16, margin=92),
        card=Card(size=572),
    ),
)

USES = {
    "border": "Each pixel gets the probabilities of background, object interior and object border. Objects are found "
    "by `kerazoo predict`, or in another program as connected regions of the interior, grown into the border.",
    "foreground": "Each pixel gets the probabilities of background and foreground; a threshold gives a mask.",
    "classes": "Each pixel gets one probability per class; the largest one gives a class map.",
}
"""By kind of target."""
