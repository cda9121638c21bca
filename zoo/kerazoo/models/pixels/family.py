"""Networks with a class index per pixel: classes, a foreground, or the interior and border of objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kerazoo.models.exchange import ImageOutputs, LabelsEnding, Outputs
from kerazoo.models.family import Family, Task
from kerazoo.models.pixels.about import MODELS, USES
from kerazoo.models.shared.tuning import THRESHOLDS, minimum_sizes

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerazoo.config import Config, ModelConfig
    from kerazoo.data.survey import Survey
    from kerazoo.data.target import Target
    from kerazoo.models.entry import Model
    from kerazoo.models.proposal import Proposal
    from kerazoo.models.recipe import Recipe

CHANNELS = {"border": ("background", "interior", "border"), "foreground": ("background", "foreground")}
"""By kind of target; of `classes` they are those of the configuration."""
MACRO = "objects_in_imagej.ijm"
"""Name of the macro in the bundle."""
NECKS = (0.8, 0.85, 0.75, 0.7, 0.6, 0.0)


class Pixels(Family):
    """U-Nets. `border`: objects are found from their interior and border by a watershed."""

    name = "pixels"
    models = MODELS
    kinds = ("classes", "foreground", "border")
    shows_probabilities = True
    blocks_only = False
    imagej_macro = MACRO
    object_channel = "interior"

    def defaults(self, config: Config, model: Model) -> dict[str, dict[str, Any]]:
        return {"targets": {"kind": "border"}}

    def propose(self, start: ModelConfig, model: Model, survey: Survey, source: Recipe | None) -> Proposal:
        from kerazoo.models.pixels.proposal import propose

        return propose(start, model, survey)

    def task(self, kind: str) -> Task:
        return "instances" if kind == "border" else "semantic"

    def is_binary(self, kind: str) -> bool:
        return kind == "foreground"

    def channel_names(self, config: Config) -> list[str]:
        return list(CHANNELS.get(str(config.targets.kind), config.data.classes))

    def target(self, config: Config) -> Target:
        from kerazoo.models.pixels.targets import PixelTarget

        return PixelTarget(config, len(self.channel_names(config)))

    def metrics(self, config: Config) -> list[keras.metrics.Metric]:
        from kerazoo.models.shared.metrics import ConfusionMetrics

        return [ConfusionMetrics(len(self.channel_names(config)), config.targets.kind in CHANNELS)]

    def decode(self, outputs: Outputs, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
        from kerazoo.models.pixels.decoding import classify, find_objects

        (probabilities,) = outputs.values()
        regions = classify(probabilities, recipe)
        return find_objects(regions, recipe.decoding) if recipe.targets == "border" else regions.astype("int32")

    def decode_large(self, image: ImageOutputs, recipe: Recipe) -> np.ndarray:
        """See `Family`; a byte per pixel is kept."""
        import numpy as np

        from kerazoo.models.pixels.decoding import classify, find_objects

        regions = np.empty(image.shape, "uint8")
        for rows, band in image.bands():
            (probabilities,) = band.values()
            regions[rows] = classify(probabilities, recipe)
        if recipe.targets != "border":
            return regions.astype("int32")
        return image.in_blocks(lambda rows, columns: find_objects(regions[rows, columns], recipe.decoding))

    def tuning(self, recipe: Recipe, median_area: float | None) -> tuple[str, dict[str, Sequence[float]]] | None:
        if recipe.targets == "classes":
            return None
        if recipe.targets == "foreground":
            return "dice", {"threshold": THRESHOLDS}
        grid: dict[str, Sequence[float]] = {"threshold": THRESHOLDS, "seed_threshold": THRESHOLDS, "neck": NECKS}
        return "ap_50_95", grid | minimum_sizes(median_area)

    def bundle_extras(self, recipe: Recipe) -> tuple[dict[str, Any], dict[str, str]]:
        from kerazoo.models.pixels.macro import macro

        if recipe.targets != "border":
            return {}, {}
        return {}, {MACRO: macro(recipe)}

    def labels_in_graph(self, recipe: Recipe) -> LabelsEnding | None:
        from kerazoo.models.shared.packed import decoded_batch

        if recipe.targets != "border":
            return None
        return LabelsEnding(
            lambda output: decoded_batch(output, recipe, "float32"),
            function="kerazoo.models.pixels.graph:find_objects",
            torch_function="kerazoo.models.pixels.torch_graph:find_objects",
            arguments=recipe.decoding.model_dump(include={"threshold", "seed_threshold", "neck", "minimum_size"}),
        )

    def use(self, recipe: Recipe) -> str:
        return USES[recipe.targets]

    def use_in_report(self, recipe: Recipe, channels: str) -> str:
        text = f"The output has the channels {channels}: probabilities between 0 and 1."
        if recipe.targets == "border":
            return (
                f"{text} The label images that are scored here come from `kerazoo predict`. For the same objects in "
                "Fiji and QuPath, export the run with `--form labels`: the graph itself ends in the label image. What "
                "is above a threshold in the channel interior is smaller than the objects, and joined where they touch."
            )
        if recipe.targets == "foreground":
            return f"{text} The foreground is where its channel is above {recipe.decoding.threshold:g}."
        return f"{text} The class of a pixel is the channel with the highest value."

    def decoding_in_words(self, recipe: Recipe) -> str:
        decoding = recipe.decoding
        if recipe.targets == "classes":
            return ""
        text = f"foreground above {decoding.threshold:g}"
        if recipe.targets == "foreground":
            return text
        return (
            f"{text}, seeds above {decoding.seed_threshold:g}, neck {decoding.neck:g}, at least "
            f"{decoding.minimum_size} pixels"
        )
