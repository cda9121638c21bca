"""Networks that give one class per patch: what the registry, cards, bundles and reports say."""

from __future__ import annotations

from kerazoo.models.entry import IMAGENET_BACKBONES, Card, InputSizes, Model

MODELS = (
    Model(
        name="lenet1989",
        title="Network of 1989",
        task="classification",
        builder="kerazoo.models.patches.lenet1989:lenet1989",
        parameters=2_578,
        paper="LeCun et al. 1989",
        citation="LeCun et al. (1989), Handwritten Digit Recognition with a Back-Propagation Network, NIPS 2",
        doi="10.5555/109230.109279",
        purpose="The convolutional network that read handwritten zip codes, weight for weight as published: shared "
        "weights, averaging, sparse connections.",
        limits=(
            "It takes images of 28 x 28 pixels with one channel.",
            "Its outputs are scores around +1 and -1, not probabilities.",
        ),
        output="score",
        sizes=InputSizes(minimum=28, step=0),
        card=Card(output="{classes} scores around +1 for the class and -1 for the others; the largest decides."),
    ),
    Model(
        name="patch_cnn",
        title="Patch CNN",
        task="classification",
        builder="kerazoo.models.patches.network:patch_cnn",
        parameters=288_610,
        paper="Simonyan and Zisserman 2015",
        citation="Simonyan and Zisserman (2015), Very Deep Convolutional Networks for Large-Scale Image Recognition",
        doi="10.48550/arXiv.1409.1556",
        purpose="A deep convolutional network trained from scratch: one class per patch, such as epithelium, stroma or "
        "background.",
        limits=("With few annotated images a pretrained `classifier2d` may do better: compare both.",),
        sizes=InputSizes(minimum=32, step=1),
        card=Card(size=64),
    ),
    Model(
        name="classifier2d",
        title="Patch classifier",
        task="classification",
        builder="kerazoo.models.patches.network:classifier",
        parameters=2_260_546,
        paper="Sandler et al. 2018",
        citation="Sandler et al. (2018), MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        doi="10.1109/CVPR.2018.00474",
        purpose="One class per patch, by an ImageNet encoder and a softmax: pretrained, or from scratch.",
        limits=(
            "Pretrained encoders take values between 0 and 1 and patches of at least 32 pixels.",
            "The encoder has seen photographs: what photographs never show has to be learned from your images.",
            "Pretraining is no guarantee: compare with training from scratch, several seeds of each.",
        ),
        backbones=IMAGENET_BACKBONES,
        sizes=InputSizes(minimum=32, step=1),
        card=Card(size=224),
    ),
)

USE = (
    "The image is cut into square patches that lie side by side, and each of them gets one value per class, "
    "independently of the others: the output is a map of the patches. The test image is put together from validation "
    "patches of all classes."
)
