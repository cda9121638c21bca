"""The only list of models: the commands, the tests and the model cards walk over it.

Listing must not import Keras, so a model's builder is named here and imported when it is first called.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from typing import TYPE_CHECKING, Any

from bmzpack.errors import UserError

if TYPE_CHECKING:
    import keras

IMAGENET_BACKBONES = ("mobilenet_v2", "efficientnet_v2_b0", "resnet50_v2")


@dataclasses.dataclass(frozen=True)
class Model:
    """An entry of the registry."""

    name: str
    title: str
    task: str
    """`segmentation`: one probability per pixel and class."""
    builder: str
    """`module:function`; the function returns a `keras.Model`."""
    parameters: int
    """Count with the builder's default arguments."""
    paper: str
    """Authors and year, for tables."""
    citation: str
    """Authors, year and title, for bundles."""
    doi: str
    backbones: tuple[str, ...] = ()

    def build(self, **arguments: Any) -> keras.Model:
        """Call the builder."""
        module, function = self.builder.split(":")
        return getattr(importlib.import_module(module), function)(**arguments)


_UNET = "Ronneberger, Fischer and Brox (2015), U-Net: Convolutional Networks for Biomedical Image Segmentation"

_MODELS = (
    Model(
        name="unet2d",
        title="U-Net",
        task="segmentation",
        builder="kerazoo.models.unet:unet",
        parameters=31_048_322,
        paper="Ronneberger et al. 2015",
        citation=_UNET,
        doi="10.1007/978-3-319-24574-4_28",
        backbones=IMAGENET_BACKBONES,
    ),
    Model(
        name="unet2d_2015",
        title="U-Net as published",
        task="segmentation",
        builder="kerazoo.models.unet:unet_2015",
        parameters=31_030_658,
        paper="Ronneberger et al. 2015",
        citation=_UNET,
        doi="10.1007/978-3-319-24574-4_28",
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
