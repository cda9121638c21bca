"""Segment Anything as a family: objects from prompts, and all objects at once from three maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bmzpack.errors import UserError
from kerazoo.models.exchange import AppliedNetwork, Converted, LabelsEnding, Outputs
from kerazoo.models.family import Family
from kerazoo.models.sam.about import MODELS, OUTPUT, TINY, USE, WINDOW
from kerazoo.models.shared.tuning import minimum_sizes

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from kerazoo.config import Config, ModelConfig
    from kerazoo.data.feed import Feed
    from kerazoo.data.survey import Survey
    from kerazoo.data.target import Target
    from kerazoo.models.entry import Model
    from kerazoo.models.proposal import Proposal
    from kerazoo.models.recipe import Recipe, TileGeometry

OBJECTS = 6
"""Objects of every training patch that are asked for."""
CORRECTIONS = 2
"""Points that are added to the first prompt in the training."""
THRESHOLDS = (0.5, 0.4, 0.6, 0.3, 0.7)
"""Values that are tried, of the foreground and of the distances in a seed."""


class SegmentAnything(Family):
    """Networks for prompts and for all objects (Kirillov et al. 2023; Archit et al. 2025)."""

    name = "sam"
    models = MODELS
    use_text, output_text = USE, OUTPUT
    kinds = ("prompts",)
    learns_objects = True

    def propose(self, start: ModelConfig, model: Model, survey: Survey, source: Recipe | None) -> Proposal:
        from kerazoo.models.shared.proposal import objects_of, propose_pixels

        tiny = model.name == TINY
        proposal = propose_pixels(
            start,
            model,
            survey,
            targets={"kind": ("prompts", "masks of prompts, and maps of all objects")},
            batch=4 if tiny else 1,
            steps=1500 if tiny else 5000,
            patch=WINDOW if tiny or min(survey.smallest) < 2 * WINDOW else 2 * WINDOW,
            learning_rate=0.002 if tiny else 0.00001,
            objects=objects_of(model, survey),
        )
        if not tiny and source is not None:
            proposal.normalisation["scope"] = source.normalisation.scope
            reason = (
                "the encoder stays as it is; with model.arguments {low_rank: 4} it is adapted; all: all is estimated"
            )
            proposal.training["transfer"] = ("freeze", reason)
        return proposal

    def check(self, config: Config, model: Model) -> None:
        training, low_rank = config.training, config.model.arguments.get("low_rank")
        if model.name == TINY and training.patch_size != WINDOW:
            raise ValueError(f"training.patch_size is {training.patch_size}: set it to {WINDOW} for {model.name}")
        if low_rank is not None and not (isinstance(low_rank, int) and low_rank > 0):
            raise ValueError(f"model.arguments.low_rank is {low_rank!r}: choose a whole number from 1 on, such as 4")
        if low_rank is not None and training.transfer != "freeze":
            raise ValueError(
                f"model.arguments.low_rank is {low_rank}, which adapts a fixed encoder, but training.transfer is "
                f"{training.transfer}: set that to freeze"
            )
        super().check(config, model)

    def geometry(self, network: keras.Model, config: Config) -> TileGeometry:
        if config.model.name == TINY:
            return super().geometry(network, config)
        from kerazoo.models.recipe import TileGeometry

        side = 4 * network.get_layer("mask_decoder").inputs[0].shape[1]
        if config.training.patch_size % side:
            raise UserError(
                f"training.patch_size is {config.training.patch_size}: choose a multiple of {side} for "
                f"{config.model.name}, such as {2 * side}."
            )
        return TileGeometry(step=side, halo=None, minimum=network.inputs[0].shape[1])

    def channel_names(self, config: Config) -> list[str]:
        return ["foreground", "centre_distance", "boundary_distance"]

    def image_network(self, network: keras.Model) -> keras.Model:
        from kerazoo.models.sam.network import image_network

        return image_network(network)

    def fitted(self, network: keras.Model, config: Config) -> keras.Model:
        from kerazoo.models.sam.training import prompted

        return prompted(network, config.training.patch_size, OBJECTS, CORRECTIONS)

    answers_prompts = True

    def prompted(self, network: keras.Model, compiled: Callable[[Any], Any]) -> Any:
        from kerazoo.models.sam.prompted import PromptedNetwork

        if not any(layer.name == "mask_decoder" for layer in network.layers):
            raise UserError(
                "This bundle finds all objects, and does not answer prompts: ask the run that it was made of."
            )
        return PromptedNetwork(network, compiled)

    def outputs_of_whole(
        self, network: AppliedNetwork
    ) -> Callable[[np.ndarray, np.ndarray, np.ndarray], Outputs] | None:
        from kerazoo.models.sam.whole import outputs_of

        return None if network.side is None else outputs_of(network, network.side)

    converts = True

    def convert(self, checkpoint: Path, channels: int | None) -> Converted:
        """See `Family`: a file of Segment Anything, or of micro-sam."""
        from kerazoo.models.sam.checkpoint import convert

        return convert(checkpoint, channels)

    def objects_of_points(self, network: Any, embedding: Any, outputs: Outputs, recipe: Recipe) -> np.ndarray:
        from kerazoo.models.sam.points import objects_of_points

        (maps,) = outputs.values()
        return objects_of_points(network, embedding, maps, **_decoding(recipe))

    def answering(self, network: keras.Model, form: str) -> keras.Model:
        from kerazoo.models.sam.bundle import box_network, embedding_network

        return box_network(network) if form == "prompts" else embedding_network(network)

    changes_network = True

    def packed(self, network: keras.Model, recipe: Recipe, *, enlarge: bool = False) -> keras.Model:
        from kerazoo.models.sam.encoder import merged

        if "maps" not in network.output_names and len(network.inputs) > 1:
            raise UserError(
                "This network has no decoder of all objects, which its bundle would be: convert a file of micro-sam, "
                "or train the network further."
            )
        if recipe.normalisation.method == "percentile" and recipe.normalisation.mean:
            raise UserError(
                "The images of this network are scaled twice, which a bundle does not say: apply the run itself."
            )
        return merged(self.image_network(network))

    def target(self, config: Config) -> Target:
        from kerazoo.models.sam.targets import MapTarget

        return MapTarget(config.data.ignore)

    def feed(self, *arguments: Any, **keywords: Any) -> Feed:
        from kerazoo.models.sam.feed import PromptFeed

        return PromptFeed(super().feed(*arguments, **keywords), OBJECTS, CORRECTIONS)

    def targets(self, target: Any, names: Sequence[str]) -> dict[str, Any]:
        return {"maps": target}

    def loss(self, config: Config, counts: np.ndarray) -> dict[str, keras.losses.Loss]:
        from kerazoo.models.sam.training import MapLoss, PromptLoss

        return {"maps": MapLoss(), "prompts": PromptLoss()}

    def loss_terms(self, config: Config) -> dict[str, float]:
        return {
            "cross entropy and Dice loss of the foreground": 1.0,
            "mean absolute error of the distances": 2.0,
            "Dice loss of the prompted masks": 1.0,
            "focal loss of the prompted masks": 20.0,
            "squared error of their scores": 1.0,
        }

    def decode(self, outputs: Outputs, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
        from kerazoo.models.sam.decoding import objects_of_maps

        if recipe.model != TINY:
            from kerazoo.models.sam.whole import objects_of_whole

            return objects_of_whole(outputs, **_decoding(recipe))
        (maps,) = outputs.values()
        return objects_of_maps(maps, **_decoding(recipe))

    def tuning(self, recipe: Recipe, median_area: float | None) -> tuple[str, dict[str, Sequence[float]]]:
        grid: dict[str, Sequence[float]] = {"threshold": THRESHOLDS, "seed_threshold": THRESHOLDS}
        return "ap_50_95", grid | minimum_sizes(median_area)

    def labels_in_graph(self, recipe: Recipe) -> LabelsEnding | None:
        from kerazoo.models.shared.packed import decoded_batch

        if recipe.model != TINY:
            return None
        return LabelsEnding(
            lambda output: decoded_batch(output, recipe, "float32"),
            function="kerazoo.models.sam.graph:find_objects",
            torch_function="kerazoo.models.sam.torch_graph:find_objects",
            arguments=_decoding(recipe),
        )

    def decoding_in_words(self, recipe: Recipe) -> str:
        decoding = recipe.decoding
        return (
            f"foreground above {decoding.threshold:g}, distances in seeds below {decoding.seed_threshold:g}, at least "
            f"{decoding.minimum_size} pixels"
        )


def _decoding(recipe: Recipe) -> dict[str, Any]:
    """Arguments of what finds objects."""
    return recipe.decoding.model_dump(include={"threshold", "seed_threshold", "minimum_size"})
