"""The trained network from which a new training starts, and what it changes in the proposal."""

from __future__ import annotations

import dataclasses
import math

from bmzpack.errors import UserError
from kerazoo.config import ModelConfig
from kerazoo.data.survey import Survey
from kerazoo.models.entry import Model
from kerazoo.models.proposal import Proposal, Settings, as_yaml
from kerazoo.models.trained import trained_networks
from kerazoo.runs.run import Run
from kerazoo.runs.trained import open_run

NONE = "none"
"""As `weights`: start from random numbers, whatever trained networks there are."""
RATE_FACTOR = 0.3
"""What the learning rate of a training from random numbers is multiplied by."""
FAR = 2.0
"""Objects that are larger or smaller by this factor are said to be far from those of the trained network."""


def start_of(entry: Model, weights: str | None, backbone: str | None, measured: Survey) -> str | None:
    """The trained network from which a training starts; None where it starts from something else.

    Parameters
    ----------
    entry
        The network that is trained.
    weights, backbone
        What was asked for: a trained network by its name, `NONE`, or a file; if nothing, the trained network for such
        images whose objects are most alike in size.
    measured
        The data set.

    Raises
    ------
    UserError
        A trained network was asked for, but it is another network, or one for other images.
    """
    fitting = {name: run for name in trained_networks() if _fits(run := open_run(name), entry, measured)}
    if weights in trained_networks():
        if weights not in fitting or backbone is not None:
            channels = f"{measured.channels} channel{'s' * (measured.channels > 1)}"
            wanted = entry.name if backbone is None else f"{entry.name} with {backbone}"
            raise UserError(
                f"{weights} is no start for {wanted} on these images ({channels}, {measured.annotation}): "
                + (f"choose {' or '.join(fitting)}, " if fitting and backbone is None else "")
                + "leave --weights out, or set it to none."
            )
        return weights
    if weights is not None or backbone is not None:
        return None
    return min(fitting, key=lambda name: abs(math.log(_ratio(fitting[name], measured) or 1.0)), default=None)


def start_from(name: str) -> ModelConfig:
    """The network of a trained network, with its weights."""
    trained = open_run(name).config.model
    return ModelConfig(name=trained.name, backbone=trained.backbone, weights=name, arguments=trained.arguments)


def continued(proposal: Proposal, name: str, measured: Survey) -> Proposal:
    """A proposal for a training that starts from a trained network.

    Parameters
    ----------
    proposal
        That of the family for the data set.
    name
        See `kerazoo.models.trained.trained_networks`.
    measured
        The data set.

    Returns
    -------
    Proposal
        The network sees images as it did in its own training, all of its weights are trained further, and the learning
        rate is lower.
    """
    run = open_run(name)
    config = run.config
    rate = float(_value(proposal.training, "learning_rate")) * RATE_FACTOR
    training = proposal.training | {
        "learning_rate": (f"{rate:g}", "a third of that of a network without a head start"),
    }
    normalisation: Settings = config.normalisation.model_dump(exclude_unset=True)
    return dataclasses.replace(
        proposal,
        model={
            "backbone": as_yaml(config.model.backbone),
            "weights": (as_yaml(name), about(name, measured)),
            "arguments": config.model.arguments,
        },
        normalisation=normalisation | {"method": (config.normalisation.method, "as it was trained")},
        targets=config.targets.model_dump(exclude_unset=True),
        training=training,
    )


def about(name: str, measured: Survey) -> str:
    """What a trained network is, and how the objects of a data set compare with its own, on one line."""
    run = open_run(name)
    origin, ratio = run.record.origin, _ratio(run, measured)
    sizes = ""
    if ratio is not None and measured.objects is not None and origin is not None and origin.diameter:
        sizes = (
            f"; its objects have a diameter of {origin.diameter:.0f} pixels, these of {measured.objects.diameter:.0f}"
        )
        if not 1 / FAR < ratio < FAR:
            sizes += ": far from each other, so compare with --weights none"
    return f"trained on {origin.name if origin else 'other images'}{sizes}"


def _fits(run: Run, entry: Model, measured: Survey) -> bool:
    """Whether it is this network, trained on images and annotations of such a kind."""
    data = run.config.data
    if (run.config.model.name, data.channels, data.annotation) != (entry.name, measured.channels, measured.annotation):
        return False
    classes = measured.settings.get("classes") if measured.categories is None else measured.categories.names
    return data.annotation == "labels" or data.classes == list(classes or ())


def _ratio(run: Run, measured: Survey) -> float | None:
    """How much larger the objects of a data set are than those of a trained network."""
    origin = run.record.origin
    if measured.objects is None or origin is None or not origin.diameter:
        return None
    return measured.objects.diameter / origin.diameter


def _value(settings: Settings, key: str) -> str | float:
    value = settings[key]
    return value[0] if isinstance(value, tuple) else value
