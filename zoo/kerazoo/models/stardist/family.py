"""StarDist as a family: star-convex polygons, from object probabilities and distances along rays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from kerazoo.models.exchange import Converted, ImageOutputs, LabelsEnding, Outputs
from kerazoo.models.family import Family
from kerazoo.models.stardist.about import MODELS, OUTPUT, USE

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from kerazoo.config import Config, ModelConfig
    from kerazoo.data.survey import Survey
    from kerazoo.data.target import Target
    from kerazoo.models.entry import Model
    from kerazoo.models.proposal import Proposal
    from kerazoo.models.recipe import Recipe

RAYS = 32
"""Number of rays where a configuration does not name it."""
GRID = 2
"""Grid where a configuration does not name it."""


class StarDist(Family):
    """Networks for star-convex objects (Schmidt et al. 2018)."""

    name = "stardist"
    models = MODELS
    use_text, output_text = USE, OUTPUT
    kinds = ("stars",)
    learns_objects = True
    converts = True
    blocks_only = False

    def propose(self, start: ModelConfig, model: Model, survey: Survey, source: Recipe | None) -> Proposal:
        from kerazoo.models.shared.proposal import objects_of, propose_pixels

        objects = objects_of(model, survey)
        large = 2 * math.sqrt(objects.areas[2] / math.pi)
        # Objects should not be larger than the receptive field, which grows with the grid.
        grid = 1 if large < 20 else 2 if large < 80 else 4
        reason = "grid 4 sees objects of twice the size in half the time, grid 1 smaller ones"
        return propose_pixels(
            start,
            model,
            survey,
            targets={"kind": ("stars", "object probability and star distances")},
            batch=4,
            steps=1200,
            arguments=({"rays": RAYS, "grid": [grid, grid]}, reason),
            learning_rate=0.0003,
            objects=objects,
        )

    def check(self, config: Config, model: Model) -> None:
        rays = config.model.arguments.get("rays", RAYS)
        if config.data.annotation != "classes" and not (isinstance(rays, int) and rays >= 3):
            raise ValueError(f"model.arguments.rays is {rays!r}: choose a whole number from 3 on")
        super().check(config, model)

    def channel_names(self, config: Config) -> list[str]:
        return ["probability", *(f"distance{ray}" for ray in range(config.model.arguments.get("rays", RAYS)))]

    def target(self, config: Config) -> Target:
        from kerazoo.models.stardist.targets import StarTarget, grid_side

        arguments = config.model.arguments
        return StarTarget(arguments.get("rays", RAYS), grid_side(arguments.get("grid", GRID)), config.data.ignored)

    def loss(self, config: Config, counts: np.ndarray) -> keras.losses.Loss:
        from kerazoo.models.stardist.loss import StarLoss

        return StarLoss()

    def loss_terms(self, config: Config) -> dict[str, float]:
        from kerazoo.models.stardist.loss import WEIGHTS

        names = ("binary cross entropy of the probability", "mean absolute error of the distances")
        return dict(zip(names, WEIGHTS, strict=True))

    def decode(self, outputs: Outputs, recipe: Recipe, shape: tuple[int, ...] | None = None) -> np.ndarray:
        from kerazoo.models.shared.watershed import remove_small
        from kerazoo.models.stardist.decoding import find_stars

        (output,), grid, decoding = outputs.values(), recipe.geometry.grid, recipe.decoding
        labels = find_stars(output, (grid, grid), decoding.threshold, decoding.overlap)
        height, width = shape[:2] if shape else labels.shape
        return remove_small(labels[:height, :width], decoding.minimum_size)

    def decode_large(self, image: ImageOutputs, recipe: Recipe) -> np.ndarray:
        """See `Family`; polygons are suppressed strip by strip."""
        from kerazoo.models.stardist.strips import find_stars_in_strips

        def bands() -> Iterator[tuple[slice, np.ndarray]]:
            for rows, band in image.bands():
                (stars,) = band.values()
                yield rows, stars

        return find_stars_in_strips(bands(), image.shape, recipe)

    def tune(
        self, outputs: Sequence[Outputs], truths: Sequence[np.ndarray], ignored: Sequence[np.ndarray], recipe: Recipe
    ) -> dict[str, float] | None:
        """See `Family`; all thresholds are tried at once."""
        from kerazoo.models.stardist.thresholds import optimise_thresholds

        if not any((truth[~hidden] > 0).any() for truth, hidden in zip(truths, ignored, strict=True)):
            return {}
        stars, grid = [array for (array,) in (output.values() for output in outputs)], recipe.geometry.grid
        found = optimise_thresholds(stars, truths, (grid, grid), ignored)
        return dict(zip(("threshold", "overlap"), found, strict=True))

    changes_network = True

    def packed(self, network: keras.Model, recipe: Recipe, *, enlarge: bool = False) -> keras.Model:
        from kerazoo.models.stardist.bundle import full_resolution

        return full_resolution(network, recipe.geometry.grid)

    def convert(self, checkpoint: Path, channels: int | None) -> Converted:
        """See `Family`: the folder of a model."""
        from kerazoo.models.stardist.checkpoint import convert

        return convert(checkpoint, channels)

    def unpacked(self, network: keras.Model) -> keras.Model:
        from kerazoo.models.shared.packed import without_last
        from kerazoo.models.stardist.bundle import FULL_RESOLUTION

        return without_last(network, FULL_RESOLUTION)

    def bundle_name(self, name: str) -> str:
        """See `Family`; people search for StarDist by the name."""
        return name if "stardist" in name.lower() else f"{name} (StarDist)"

    def bundle_extras(self, recipe: Recipe) -> tuple[dict[str, Any], dict[str, str]]:
        """See `Family`: what the macro needs. Under ``config.stardist`` JDLL would run Python StarDist in its place."""
        from kerazoo.models.stardist import bundle

        return {"kerazoo_stardist": bundle.config(recipe)}, {bundle.MACRO: bundle.macro(recipe)}

    def operation(self, recipe: Recipe) -> LabelsEnding:
        from kerazoo.models.stardist.bundle import operation

        return operation(recipe)

    def labels_in_graph(self, recipe: Recipe) -> LabelsEnding:
        from kerazoo.models.stardist.bundle import labels_in_graph

        return labels_in_graph(recipe)

    def decoding_in_words(self, recipe: Recipe) -> str:
        decoding = recipe.decoding
        return f"object probability above {decoding.threshold:g}, overlap up to {decoding.overlap:g}"
