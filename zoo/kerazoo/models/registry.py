"""The only list of models: the commands, the tests and the model cards walk over it.

Listing must not import Keras, so a model's builder is named here and imported when it is first called.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from typing import TYPE_CHECKING, Any, Literal

from bmzpack.errors import UserError

if TYPE_CHECKING:
    import keras

IMAGENET_BACKBONES = ("mobilenet_v2", "efficientnet_v2_b0", "resnet50_v2")


@dataclasses.dataclass(frozen=True)
class Model:
    """An entry of the registry."""

    name: str
    title: str
    task: Literal["segmentation", "instances", "classification", "measurements", "objects"]
    """`segmentation`: one probability per pixel and class; `instances`: what single objects are decoded from;
    `classification`: one probability per patch and class; `measurements`: one answer per vector of numbers; `objects`:
    a label image, without any training."""
    builder: str | None
    """`module:function`; the function returns a `keras.Model`. None where there is no network."""
    parameters: int
    """Count with the builder's default arguments, statistics of batch normalisation included; 0 without a network."""
    paper: str
    """Authors and year, for tables."""
    citation: str
    """Authors, year and title, for bundles."""
    doi: str
    purpose: str
    """What it is for, in one or two sentences."""
    limits: tuple[str, ...]
    """Where it fails, one sentence each."""
    backbones: tuple[str, ...] = ()
    output: str = "probability"
    """Name of the output; `score` where its values lie around +1 and -1 and are trained with squared errors."""
    targets: Literal["stars", "flows", "fields"] | None = None
    """What a network for `instances` learns, see `kerazoo.models.target_kinds`."""

    def build(self, **arguments: Any) -> keras.Model:
        """Call the builder.

        Raises
        ------
        UserError
            The entry has no network.
        """
        if self.builder is None:
            raise UserError(
                f"{self.name} has no network to build: apply it with `kerazoo predict {self.name} IMAGE...`."
            )
        module, function = self.builder.split(":")
        return getattr(importlib.import_module(module), function)(**arguments)


_UNET = "Ronneberger, Fischer and Brox (2015), U-Net: Convolutional Networks for Biomedical Image Segmentation"

_MODELS = (
    Model(
        name="perceptron",
        title="Perceptron",
        task="measurements",
        builder="kerazoo.models.neurons.perceptron:perceptron",
        parameters=3,
        paper="Rosenblatt 1958",
        citation="Rosenblatt (1958), The Perceptron: A Probabilistic Model for Information Storage and Organization in "
        "the Brain",
        doi="10.1037/h0042519",
        purpose="One artificial neuron with a step function and Rosenblatt's learning rule: the first system of the "
        "lecture, for teaching.",
        limits=(
            "It separates classes by one straight line (a plane with more measurements); XOR is never learned.",
            "Its answer is 0 or 1, without any probability.",
        ),
        output="activation",
    ),
    Model(
        name="mlp",
        title="Multilayer perceptron",
        task="measurements",
        builder="kerazoo.models.neurons.mlp:mlp",
        parameters=114,
        paper="Rumelhart et al. 1986",
        citation="Rumelhart, Hinton and Williams (1986), Learning representations by back-propagating errors",
        doi="10.1038/323533a0",
        purpose="Two hidden layers trained by backpropagation: solves what one neuron cannot, and classifies tables of "
        "measurements.",
        limits=(
            "It takes numbers that were measured before, not images; features on different scales should be "
            "standardised first.",
        ),
    ),
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
    ),
    Model(
        name="classical2d",
        title="Blur, threshold, watershed",
        task="objects",
        builder=None,
        parameters=0,
        paper="Otsu 1979",
        citation="Otsu (1979), A Threshold Selection Method from Gray-Level Histograms",
        doi="10.1109/TSMC.1979.4310076",
        purpose="Explicit programming: the result that every trained network for objects has to beat.",
        limits=(
            "It finds bright objects on a dark background, brighter than one threshold for the whole image.",
            "Objects that overlap or touch along a wide front are joined, textured ones are split.",
        ),
    ),
    Model(
        name="unet2d",
        title="U-Net",
        task="segmentation",
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
        task="segmentation",
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
    ),
    Model(
        name="stardist2d",
        title="StarDist",
        task="instances",
        builder="kerazoo.models.stardist.network:stardist",
        parameters=1_425_185,
        paper="Schmidt et al. 2018",
        citation="Schmidt, Weigert, Broaddus and Myers (2018), Cell Detection with Star-Convex Polygons",
        doi="10.1007/978-3-030-00934-2_30",
        purpose="Single objects as star-convex polygons, such as nuclei, also where they are crowded and touch.",
        limits=(
            "An object has to be star-convex: all of its outline is seen from its centre. Long or bent cells are not.",
            "Objects much larger than the receptive field, or than those of the training images, fall apart: bring "
            "images to one pixel size, or choose a larger grid.",
        ),
        backbones=IMAGENET_BACKBONES,
        output="stars",
        targets="stars",
    ),
    Model(
        name="cellpose2d",
        title="Cellpose",
        task="instances",
        builder="kerazoo.models.cellpose.network:cellpose",
        parameters=6_610_387,
        paper="Stringer et al. 2021",
        citation="Stringer, Wang, Michaelos and Pachitariu (2021), Cellpose: a generalist algorithm for cellular "
        "segmentation",
        doi="10.1038/s41592-020-01018-x",
        purpose="Single cells of many shapes, by flows that lead every pixel to the centre of its cell.",
        limits=(
            "Objects should have the diameter that it was trained with: images are rescaled for that.",
            "Very long or bent cells are split, as their flows lead to several centres: see `omnipose2d`.",
            "As in the official package, an object of more than 40 % of the image is taken for background.",
        ),
        output="flows",
        targets="flows",
    ),
    Model(
        name="omnipose2d",
        title="Omnipose",
        task="instances",
        builder="kerazoo.models.omnipose.network:omnipose",
        parameters=6_610_420,
        paper="Cutler et al. 2022",
        citation="Cutler et al. (2022), Omnipose: a high-precision morphology-independent solution for bacterial cell "
        "segmentation",
        doi="10.1038/s41592-022-01639-4",
        purpose="Single objects of any shape, such as long and bent bacteria, by a distance field and its gradient.",
        limits=(
            "Objects thinner than about three pixels have no distance field to follow.",
            "It is trained at the pixel size of the images: bring new images to the same.",
        ),
        output="flows",
        targets="fields",
    ),
)


def list_models() -> list[Model]:
    """All models of the zoo, in the registry's order."""
    return list(_MODELS)


def get_model(name: str) -> Model:
    """The entry of a name.

    Raises
    ------
    UserError
        No model has this name; the message gives the nearest one.
    """
    for model in _MODELS:
        if model.name == name:
            return model
    names = [model.name for model in _MODELS]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise UserError(f"There is no model {name!r}; did you mean {near!r}? All names: {', '.join(names)}.")


def create_model(name: str, **arguments: Any) -> keras.Model:
    """Build a model of the zoo.

    Parameters
    ----------
    name
        A name of `list_models`.
    **arguments
        Arguments of the model's builder, such as ``input_shape``, ``classes``, ``backbone``.

    Returns
    -------
    keras.Model
        The network, its inputs and outputs named by their tensor ids.

    Raises
    ------
    UserError
        There is no such model, or the builder does not take an argument.
    """
    entry = get_model(name)
    try:
        return entry.build(**arguments)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise UserError(f"{name}: {str(error).split('() ')[-1]}.") from error
