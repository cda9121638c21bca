"""What the rooms ask of a family of networks. A family is a folder beside this file and one line of the registry.

Every room sees this protocol only: what a network learns, how its output becomes a result, and what is said about it
stands in the family's folder. A family's `family.py` imports no framework; methods import what they need.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from bmzpack.errors import UserError
from kerazoo.models.entry import Model

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from kerazoo.config import Config, ModelConfig
    from kerazoo.data.feed import Feed
    from kerazoo.data.normalise import Normalisation
    from kerazoo.data.survey import Survey
    from kerazoo.data.target import Target
    from kerazoo.files.pairs import Sample
    from kerazoo.models.exchange import AppliedNetwork, Converted, ImageOutputs, LabelsEnding, Outputs, PromptNetwork
    from kerazoo.models.proposal import Proposal
    from kerazoo.models.recipe import Recipe, TileGeometry

Task = Literal["instances", "semantic", "classification"]


class Family:
    """A family of networks. Where there is something to inherit, it is right for most families."""

    name: str
    """Name of the folder."""
    models: tuple[Model, ...] = ()
    """Its entries of the registry."""
    kinds: tuple[str, ...] = ()
    """Values of ``targets.kind`` that its networks learn; no two families have the same."""
    learns_objects = False
    """Whether every target is single objects: then binary masks are taken apart into their connected parts, half of
    the patches are cut around objects, and the number of output channels follows from the target."""

    # Configuration

    def defaults(self, config: Config, model: Model) -> dict[str, dict[str, Any]]:
        """Values of settings that the configuration leaves out, by section and key; set ones win."""
        values: dict[str, dict[str, Any]] = {"targets": {"kind": self.kinds[0]}}
        if self.learns_objects:
            values["training"] = {"foreground": 0.5}
        return values

    def default_backbone(self, model: Model) -> str | None:
        """The backbone of a configuration that names none."""
        return None

    def propose(self, start: ModelConfig, model: Model, survey: Survey, source: Recipe | None) -> Proposal:
        """What `kerazoo init` writes for a data set, beside what was measured.

        Parameters
        ----------
        start
            The network, its backbone and its weights.
        model
            Its entry of the registry.
        survey
            The data set.
        source
            The recipe of the run that the weights are from; None where they are from elsewhere.

        Raises
        ------
        UserError
            The network cannot learn from such data.
        """
        raise NotImplementedError

    def check(self, config: Config, model: Model) -> None:
        """Refuse a configuration that its networks cannot learn.

        Raises
        ------
        ValueError
            With a sentence on what to set.
        """
        if self.learns_objects and config.data.annotation == "classes":
            raise ValueError(
                f"{model.name} learns single objects, but data.annotation is classes: set it to labels or binary"
            )
        if config.targets.kind not in self.kinds:
            listed = " or ".join(filter(None, [", ".join(self.kinds[:-1]), self.kinds[-1]]))
            raise ValueError(f"targets.kind {config.targets.kind} is not what {model.name} learns: set it to {listed}")

    rescales = False
    """Whether images can be brought to one diameter of their objects, ``targets.diameter``."""

    def task(self, kind: str) -> Task:
        """What the output becomes: a label image (`instances`), a class map (`semantic`), one class per patch
        (`classification`)."""
        return "instances"

    def is_binary(self, kind: str) -> bool:
        """Whether the output becomes a foreground (1) on a background (0), and not one of several classes."""
        return False

    def channel_names(self, config: Config) -> list[str]:
        """Names of the network's output channels, those of all outputs one after the other."""
        return list(config.data.classes)

    # Network

    def build(self, config: Config) -> keras.Model:
        """The network of a configuration, with random or its pretrained weights.

        Raises
        ------
        UserError
            A key of ``model.arguments`` is one that other keys decide, or the builder refuses an argument.
        """
        from kerazoo.models.registry import create_model

        arguments = self.arguments(config)
        for key in arguments:
            if key in config.model.arguments:
                raise UserError(f"model.arguments.{key} is set by the configuration's other keys: leave it out.")
        decided = {key: value for key, value in arguments.items() if value is not None}
        return create_model(config.model.name, **decided, **config.model.arguments)

    def image_network(self, network: keras.Model) -> keras.Model:
        """The part of a network that goes from an image to what `decode` takes; layers are shared, not copied."""
        return network

    def arguments(self, config: Config) -> dict[str, Any]:
        """Arguments of the builder that follow from the configuration's other keys; None where there is none."""
        return {
            "input_shape": (None, None, config.data.channels),
            "classes": None if self.learns_objects else len(self.channel_names(config)),
            "backbone": config.model.backbone,
            "weights": config.model.weights,
        }

    def geometry(self, network: keras.Model, config: Config) -> TileGeometry:
        """How a network may be fed, measured from it.

        Raises
        ------
        UserError
            ``training.patch_size`` is none of the sizes that the network takes.
        """
        from bmzpack.measure.geometry import measure
        from kerazoo.models.recipe import TileGeometry

        measured = measure(self.image_network(network))
        geometry = TileGeometry(**dataclasses.asdict(measured), grid=self.target(config).grid)
        size, minimum, step = config.training.patch_size, geometry.minimum, geometry.step
        if size < minimum or (size - minimum) % step:
            below = minimum + max(0, size - minimum) // step * step
            raise UserError(
                f"training.patch_size {size} does not fit the network, which takes {minimum} + {step} n pixels: choose "
                f"{below} or {below + step}."
            )
        return geometry

    def inputs(self, image: Any) -> dict[str, Any]:
        """The network's inputs by id, made of an image or a batch of images.

        Parameters
        ----------
        image
            (..., y, x, channel), float32: normalised pixels; a NumPy array or a tensor.
        """
        return {"raw": image}

    def targets(self, target: Any, names: Sequence[str]) -> dict[str, Any]:
        """The targets by the id of the output that is compared with them.

        Parameters
        ----------
        target
            As `target` makes it, a batch (batch, y, x, channel); a NumPy array or a tensor.
        names
            Ids of the network's outputs, in its order.

        Raises
        ------
        NotImplementedError
            There are several outputs: only the family knows which of them has which target.
        """
        if len(names) != 1:
            raise NotImplementedError(
                f"{type(self).__name__}.targets has to say which of the outputs {', '.join(names)} has which target."
            )
        return {names[0]: target}

    def outputs(self, recipe: Recipe, model: Model) -> dict[str | None, list[str]]:
        """Channel names of the network's outputs, in its order; the id of an only output may be left to the packer."""
        return {model.output if self.learns_objects else None: recipe.classes}

    # Training

    def fitted(self, network: keras.Model, config: Config) -> keras.Model:
        """What is fitted to the batches of `feed`: the network, or one around it that shares its layers."""
        return network

    features_layer: str | None = None
    """Name of the layer behind which the head lies: with all before it fixed, its output is computed only once."""

    def target(self, config: Config) -> Target:
        """What is kept of an annotation, and the target that a patch has."""
        raise NotImplementedError

    def feed(
        self,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        config: Config,
        normalisation: Normalisation,
        margin: int,
        outputs: Sequence[str],
    ) -> Feed:
        """The batches of a training; everything that can be wrong with samples is found here.

        Parameters
        ----------
        train, validation
            The two sides.
        config
            Configuration of the run.
        normalisation
            As fitted on the training images.
        margin
            The network's output is smaller than its input by so many pixels on each side.
        outputs
            Ids of the network's outputs, in its order.

        Raises
        ------
        UserError
            An image does not fit.
        """
        from kerazoo.data.pixel_feed import PixelFeed

        target = self.target(config)
        targets = functools.partial(self.targets, names=outputs)
        return PixelFeed(train, validation, config, normalisation, margin, target, self.inputs, targets)

    def loss(self, config: Config, counts: np.ndarray) -> keras.losses.Loss | dict[str, keras.losses.Loss]:
        """The loss between `target` and output; of several outputs, one by the id of each.

        Parameters
        ----------
        config
            Configuration of the run.
        counts
            Training pixels (or patches) of each class; none where single objects are learned.
        """
        from kerazoo.models.shared.class_loss import make_loss

        return make_loss(config.training.loss, counts)

    def loss_terms(self, config: Config) -> dict[str, float]:
        """Terms of the loss and their weights, for people."""
        return config.training.loss.terms

    def metrics(self, config: Config) -> list[keras.metrics.Metric]:
        """Metrics of an epoch beside the loss."""
        return []

    # Results

    def decode(self, outputs: Outputs, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """The result for a whole image.

        Parameters
        ----------
        outputs
            What the network gives for it.
        recipe
            Its targets, geometry and decoding.
        shape
            Height and width of the image, where the output has fewer pixels.

        Returns
        -------
        numpy.ndarray
            int32 (y, x): labels 1, 2, ... and 0 for the background (`instances`), or class indices (`semantic`).
        """
        raise NotImplementedError

    def decode_large(self, image: ImageOutputs, recipe: Recipe) -> np.ndarray:
        """The same as `decode` for an image of any size, with the memory of a part of it."""
        return image.in_blocks(lambda rows, columns: self.decode(image.part(rows, columns), recipe))

    blocks_only = True
    """Whether `decode_large` asks for blocks only, so that no larger part of an image goes through the network."""
    shows_probabilities = False
    """Whether the outputs are maps that `predict --probabilities` writes."""

    answers_prompts = False
    """Whether `prompted` is there."""

    def prompted(self, network: keras.Model, compiled: Callable[[Any], Any]) -> PromptNetwork:
        """What answers prompts for the objects of an image.

        Parameters
        ----------
        network
            The network of a run.
        compiled
            Makes a network fast, see `kerazoo.inference.network.compiled`.
        """
        raise NotImplementedError

    def outputs_of_whole(
        self, network: AppliedNetwork
    ) -> Callable[[np.ndarray, np.ndarray, np.ndarray], Outputs] | None:
        """What gives the outputs for a whole image, of a network for images of one size, such as 1024 x 1024 pixels.

        Parameters
        ----------
        network
            The part of `image_network`, of a run or of a bundle.

        Returns
        -------
        callable or None
            From a raw image (y, x, channel) of any size, and offset and scale of its normalisation, to the outputs at
            the size of the image. None: images are seen tile by tile.
        """
        return None

    def objects_of_points(self, network: Any, embedding: Any, outputs: Outputs, recipe: Recipe) -> np.ndarray:
        """All objects by points that `outputs` tell; where `answers_prompts`.

        Parameters
        ----------
        network
            From `prompted`.
        embedding, outputs
            Embedding and outputs of the image: what the network answers prompts with, and what `decode` takes.
        recipe
            Its decoding.

        Returns
        -------
        numpy.ndarray
            Labels without gaps, int32 (y, x).
        """
        raise NotImplementedError

    def answering(self, network: keras.Model, form: str) -> keras.Model:
        """The network of a bundle that answers prompts, where `answers_prompts`.

        Parameters
        ----------
        network
            The network of a run.
        form
            `prompts`: from `image` (1, channel, y, x) and `box_prompts` (1, object, 4) to `masks` (1, object, 1, y, x),
            logits, and `scores` (1, object, 1); `embedding`: from an image to `embeddings`.
        """
        raise NotImplementedError

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The label image, int32 (y, x), of a raw image (y, x, channel): of entries without a network."""
        raise NotImplementedError

    def tuning(self, recipe: Recipe, median_area: float | None) -> tuple[str, dict[str, Sequence[float]]] | None:
        """The score by which the decoding is chosen on validation images, and the values that are tried.

        Parameters
        ----------
        recipe
            Its decoding is the start.
        median_area
            Median area of the annotated objects in pixels; None without any.

        Returns
        -------
        tuple of str and dict, or None
            A name of `kerazoo.evaluation.scores`, and for keys of `kerazoo.config.DecodingConfig` the values in the
            order in which they are preferred where they are equally good; None where there is nothing to choose.
        """
        return None

    def tune(
        self, outputs: Sequence[Outputs], truths: Sequence[np.ndarray], ignored: Sequence[np.ndarray], recipe: Recipe
    ) -> dict[str, float] | None:
        """Values of the decoding that are best on validation images, for a family with a faster way than `tuning`.

        Parameters
        ----------
        outputs, truths, ignored
            The network's outputs, the label images, and where these are ignored, bool (y, x).
        recipe
            Its geometry.

        Returns
        -------
        dict or None
            None where `tuning` has it.
        """
        return None

    # Official weights

    converts = False
    """Whether `convert` is there."""

    def convert(self, checkpoint: Path, channels: int | None) -> Converted:
        """Read an official checkpoint.

        Parameters
        ----------
        checkpoint
            A file, or the folder of a model.
        channels
            Channels of the images; None for what the family takes by default.

        Raises
        ------
        UserError
            The checkpoint is of another network, or does not fit tensor by tensor.
        """
        raise NotImplementedError

    # Bundle

    changes_network = False
    """Whether `packed` puts something behind the network."""

    def packed(self, network: keras.Model, recipe: Recipe, *, enlarge: bool = False) -> keras.Model:
        """The network as its ordinary bundle has it."""
        return network

    def patches_per_side(self, recipe: Recipe) -> int:
        """Patches along each side of the packed network's input, where that is cut into patches."""
        return 1

    def unpacked(self, network: keras.Model) -> keras.Model:
        """The network of a bundle without what `packed` put behind it for other programs."""
        return network

    def bundle_name(self, name: str) -> str:
        """The name of an ordinary bundle that a user has given a name."""
        return name

    def bundle_extras(self, recipe: Recipe) -> tuple[dict[str, Any], dict[str, str]]:
        """What an ordinary bundle holds for the programs' own plugins: entries of ``config``, and texts of files."""
        return {}, {}

    def operation(self, recipe: Recipe) -> LabelsEnding | None:
        """The operation of the zoo that makes labels of the output; None where there is none."""
        return None

    imagej_macro: str | None = None
    """File of the bundle that makes objects of the output in ImageJ, without any plugin."""

    object_channel: str | None = None
    """Channel of the output whose connected areas are what programs without a decoder can take for objects."""

    def labels_in_graph(self, recipe: Recipe) -> LabelsEnding | None:
        """TensorFlow operations that make labels of the output; None where there are none."""
        return None

    # Texts

    use_text = ""
    """What a pixel of the output is, and how objects or classes are found with it."""
    output_text = ""
    """The output in a few words; empty where its channels are classes."""

    def use(self, recipe: Recipe) -> str:
        """`use_text` for a recipe: for bundle and report."""
        return self.use_text

    def output_description(self, recipe: Recipe, model: Model) -> str:
        """The output in a few words, for rdf.yaml."""
        return self.output_text or f"{model.output.capitalize()} of {', '.join(recipe.classes)}"[:128]

    def use_in_report(self, recipe: Recipe, channels: str) -> str:
        """How the output is used in another program, for the report.

        Parameters
        ----------
        recipe
            Recipe of the run.
        channels
            Names of the first channels.
        """
        return f"The output has the channels {channels}. {self.use(recipe)}"

    def decoding_in_words(self, recipe: Recipe) -> str:
        """The values by which the output becomes a result; empty where there are none."""
        return ""
