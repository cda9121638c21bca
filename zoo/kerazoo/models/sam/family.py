"""Segment Anything as a family: objects from prompts, and all objects at once from three maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bmzpack.errors import UserError
from kerazoo.models.family import Family, LabelsEnding, Outputs
from kerazoo.models.sam.about import MODELS, OUTPUT, USE, WINDOW
from kerazoo.models.shared.tuning import minimum_sizes

if TYPE_CHECKING:
    import keras

    from kerazoo.config import Config, ModelConfig
    from kerazoo.data.feed import Feed
    from kerazoo.data.survey import Survey
    from kerazoo.data.target import Target
    from kerazoo.models.entry import Model
    from kerazoo.models.proposal import Proposal
    from kerazoo.models.recipe import Recipe

OBJECTS = 8
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

        return propose_pixels(
            start,
            model,
            survey,
            targets={"kind": ("prompts", "masks of prompts, and maps of all objects")},
            batch=4,
            steps=1700,
            patch=WINDOW,
            objects=objects_of(model, survey),
        )

    def check(self, config: Config, model: Model) -> None:
        if config.training.patch_size != WINDOW:
            raise ValueError(
                f"training.patch_size is {config.training.patch_size}: set it to {WINDOW} for {model.name}"
            )
        super().check(config, model)

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

    def objects_of_points(self, network: Any, embedding: Any, outputs: Outputs, recipe: Recipe) -> np.ndarray:
        from kerazoo.models.sam.points import objects_of_points

        (maps,) = outputs.values()
        return objects_of_points(network, embedding, maps, **_decoding(recipe))

    def answering(self, network: keras.Model, form: str) -> keras.Model:
        from kerazoo.models.sam.bundle import box_network, embedding_network

        return box_network(network) if form == "prompts" else embedding_network(network)

    changes_network = True

    def packed(self, network: keras.Model, recipe: Recipe, *, enlarge: bool = False) -> keras.Model:
        return self.image_network(network)

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

        (maps,) = outputs.values()
        return objects_of_maps(maps, **_decoding(recipe))

    def tuning(self, recipe: Recipe, median_area: float | None) -> tuple[str, dict[str, Sequence[float]]]:
        grid: dict[str, Sequence[float]] = {"threshold": THRESHOLDS, "seed_threshold": THRESHOLDS}
        return "ap_50_95", grid | minimum_sizes(median_area)

    def labels_in_graph(self, recipe: Recipe) -> LabelsEnding:
        from kerazoo.models.shared.packed import decoded_batch

        return LabelsEnding(
            lambda output: decoded_batch(output, recipe, np.float32),
            function="kerazoo.models.sam.graph:find_objects",
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
