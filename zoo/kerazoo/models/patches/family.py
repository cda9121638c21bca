"""Networks that give one class per patch: of images that have one class each, or patches of class masks."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kerazoo.models.family import Family, Task
from kerazoo.models.patches.about import MODELS, USE

if TYPE_CHECKING:
    import keras

    from kerazoo.config import Config, ModelConfig
    from kerazoo.data.feed import Feed
    from kerazoo.data.normalise import Normalisation
    from kerazoo.data.survey import Survey
    from kerazoo.files.pairs import Sample
    from kerazoo.models.entry import Model
    from kerazoo.models.proposal import Proposal
    from kerazoo.models.recipe import Recipe, TileGeometry


class PatchClassifiers(Family):
    """Classifiers of patches; a bundle holds a network that gives a map with one pixel per patch."""

    name = "patches"
    models = MODELS
    use_text = USE
    kinds = ("patch",)
    shows_probabilities = True
    features_layer = "features"

    def defaults(self, config: Config, model: Model) -> dict[str, dict[str, Any]]:
        scores = model.output == "score"
        loss = {"dice": 0.0, "cross_entropy": float(not scores), "squared_error": float(scores)}
        values: dict[str, dict[str, Any]] = {"targets": {"kind": "patch"}, "training.loss": loss}
        if config.training.loss.has_terms:
            del values["training.loss"]
        if model.backbones:
            values["model"] = {"backbone": self.default_backbone(model)}
        return values

    def default_backbone(self, model: Model) -> str | None:
        return model.backbones[0] if model.backbones else None

    def propose(self, start: ModelConfig, model: Model, survey: Survey, source: Recipe | None) -> Proposal:
        from kerazoo.models.patches.proposal import propose

        return propose(start, model, survey, source)

    def check(self, config: Config, model: Model) -> None:
        super().check(config, model)
        if config.data.annotation not in ("image", "classes"):
            raise ValueError(
                f"data.annotation is {config.data.annotation}, but patches get their class from the whole image or "
                "from class masks: set it to image or classes"
            )

    def task(self, kind: str) -> Task:
        return "classification"

    def arguments(self, config: Config) -> dict[str, Any]:
        """See `Family`; all patches have one size."""
        size = config.training.patch_size
        return super().arguments(config) | {"input_shape": (size, size, config.data.channels)}

    def geometry(self, network: keras.Model, config: Config) -> TileGeometry:
        from kerazoo.models.recipe import TileGeometry

        size = config.training.patch_size
        return TileGeometry(step=size, halo=0, minimum=size)

    def feed(
        self,
        train: Sequence[Sample],
        validation: Sequence[Sample],
        config: Config,
        normalisation: Normalisation,
        margin: int,
        outputs: Sequence[str],
    ) -> Feed:
        from kerazoo.data.patch_feed import PatchFeed

        targets = functools.partial(self.targets, names=outputs)
        return PatchFeed(train, validation, config, normalisation, self.inputs, targets)

    def metrics(self, config: Config) -> list[keras.metrics.Metric]:
        from kerazoo.models.shared.metrics import ConfusionMetrics

        return [ConfusionMetrics(len(config.data.classes), foreground=False, patches=True)]

    changes_network = True

    def packed(self, network: keras.Model, recipe: Recipe, *, enlarge: bool = False) -> keras.Model:
        """See `Family`: the map of the patches."""
        from kerazoo.models.patches.map import patch_map

        return patch_map(network, enlarge)

    def patches_per_side(self, recipe: Recipe) -> int:
        from kerazoo.models.patches.map import grid_of

        assert recipe.patch is not None
        return grid_of(recipe.patch.size)

    def use_in_report(self, recipe: Recipe, channels: str) -> str:
        assert recipe.patch is not None
        scores = any(model.name == recipe.model and model.output == "score" for model in self.models)
        values = "scores, the highest of which decides" if scores else "probabilities between 0 and 1"
        return (
            f"The output has the channels {channels}: {values}. It is a map with one pixel for each patch of "
            f"{recipe.patch.size} x {recipe.patch.size} pixels, side by side over the image; the class of a patch is "
            "the channel with the highest value. `kerazoo predict` classifies whole images, and draws finer maps. For "
            "ilastik export with `--enlarge`: there the map has to be as large as the image."
        )
