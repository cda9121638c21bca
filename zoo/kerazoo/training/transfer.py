"""Transfer learning: which weights of a pretrained network are estimated in which epochs."""

from __future__ import annotations

import dataclasses
from typing import Any

from bmzpack.errors import UserError
from kerazoo.config import Config
from kerazoo.models.backbones import encoder_of, freeze_statistics, stages_of
from kerazoo.models.configure import family_of
from kerazoo.models.weights import below_head, is_folded
from kerazoo.runs.run import recipe_beside

WHOLE = "whole"
"""All of the backbone, its top included; without a backbone all but the last layer."""
STAGED_RATES = (1.0, 0.3, 0.1)
"""Factors on the learning rate of the three phases of `staged`."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """Epochs in which the same weights are estimated."""

    start: int
    end: int
    frozen: str | None = None
    """The stage of the backbone up to which it is fixed, or `WHOLE`; None where all is estimated."""
    rate: float = 1.0
    """Factor on the learning rate."""


def phases_of(config: Config, model: Any) -> list[Phase]:
    """The phases of a training.

    Parameters
    ----------
    config
        Its ``training`` and ``model`` are used.
    model
        The network, whose stages are counted.

    Returns
    -------
    list of Phase
        One after the other; with few epochs some of `staged` may be left out.
    """
    training, epochs = config.training, config.training.epochs
    match training.transfer if is_pretrained(config) else "all":
        case "freeze":
            return [Phase(0, epochs, training.freeze_until or WHOLE)]
        case "staged":
            ends = [round(epochs * part / 3) for part in range(4)]
            stages = stages_of(model, config.model.backbone) if config.model.backbone else []
            frozen = [WHOLE, stages[-2] if len(stages) > 1 else None, None]
            phases = [
                Phase(start, end, stage, rate)
                for start, end, stage, rate in zip(ends[:-1], ends[1:], frozen, STAGED_RATES, strict=True)
            ]
            return [phase for phase in phases if phase.end > phase.start]
        case _:
            return [Phase(0, epochs)]


def choose_trainable(model: Any, config: Config, frozen: str | None) -> None:
    """Fix and free the layers of a network's backbone, or of a pretrained network without one.

    Fixed layers keep their weights; batch normalisation that is fixed, and unless the transfer is `initialise` all that
    is pretrained, also keeps its statistics and uses them in training as it does in prediction.

    Parameters
    ----------
    model
        The network.
    config
        Its ``training.transfer`` and ``model`` are used.
    frozen
        As in `Phase`.
    """
    backbone = config.model.backbone
    if backbone is None and not is_pretrained(config):
        return
    encoder = encoder_of(model, backbone) if backbone else below_head(model)
    for layer in encoder.layers:
        layer.trainable = True
    if is_pretrained(config) and config.training.transfer != "initialise":
        freeze_statistics(encoder)
    if frozen is not None:
        for layer in (encoder if frozen == WHOLE else encoder_of(model, str(backbone), frozen)).layers:
            # of a layer that is adapted by a product of small matrices (Hu et al. 2022), these are estimated
            layer.trainable = adapted = getattr(layer, "lora_enabled", False)
            for variable in layer.variables if adapted else ():
                variable.trainable = variable.name.startswith("lora")


def is_pretrained(config: Config) -> bool:
    """Whether the network has weights from elsewhere."""
    return config.model.weights is not None


def is_same_problem(config: Config) -> bool:
    """Whether the weights are those of a run of the same network that gives the same classes: its last layer too."""
    source = recipe_beside(config.model.weights)
    return source is not None and (source.model, source.targets, source.classes) == (
        config.model.name,
        config.targets.kind,
        family_of(config).channel_names(config),
    )


def check_transfer(config: Config) -> None:
    """Refuse a transfer that the weights do not allow.

    Raises
    ------
    UserError
        There are no pretrained weights, the normalisation is not that of the pretrained backbone or of the run that the
        weights are from, `initialise` with folded batch normalisation, or ``freeze_until`` without `freeze` or without
        a backbone.
    """
    training, model = config.training, config.model
    if training.transfer != "all" and not is_pretrained(config):
        raise UserError(
            f"training.transfer is {training.transfer}, but nothing is pretrained: name model.weights, or set it to "
            "all."
        )
    if training.freeze_until is not None and training.transfer != "freeze":
        raise UserError(
            f"training.freeze_until is {training.freeze_until}, but training.transfer is {training.transfer}: set that "
            "to freeze, or leave freeze_until out."
        )
    if training.freeze_until is not None and model.backbone is None:
        raise UserError(
            f"training.freeze_until is {training.freeze_until}, the stage of a backbone, but {model.name} has none: "
            "leave it out, and all but the last layer is fixed."
        )
    normalisation, source = config.normalisation, recipe_beside(model.weights)
    if is_pretrained(config) and model.backbone and normalisation.method not in ("scaling", "percentile"):
        possible = "scaling" if config.data.annotation == "image" else "scaling or percentile"
        raise UserError(
            f"normalisation.method is {normalisation.method}, but the pretrained {model.backbone} takes values "
            f"between 0 and 1: set it to {possible}."
        )
    if source is not None:
        for key in ("method", "scope"):
            before, now = getattr(source.normalisation, key), getattr(normalisation, key)
            if key == "method" and before == "percentile" and source.normalisation.mean:
                before = "standardisation"  # what official Segment Anything sees after that
            if before != now and (key == "method" or normalisation.method == "standardisation"):
                raise UserError(
                    f"normalisation.{key} is {now}, but {model.weights} was trained with {before}: set it to {before}."
                )
    if training.transfer == "initialise" and model.weights != "imagenet" and is_folded(str(model.weights)):
        raise UserError(
            f"{model.weights} has folded batch normalisation, without the statistics that training.transfer initialise "
            "would go on from: set it to all, freeze or staged."
        )
