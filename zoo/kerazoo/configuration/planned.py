"""How many epochs a training has, so that it takes the time that a user has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bmzpack.commands import import_tensorflow
from bmzpack.errors import UserError
from kerazoo.models.configure import family_of, make_config
from kerazoo.models.proposal import Proposal

FEWEST, MOST = 10, 400
"""Epochs of a plan: the learning rate falls over them, and the network of the best one is kept."""
SHORTEST = 60
"""Steps of a plan: fewer teach nothing."""


def planned(
    proposal: Proposal, content: dict[str, Any], minutes: float, folder: Path, say: Callable[[str], None]
) -> Proposal:
    """A proposal whose training takes so long on this machine.

    Parameters
    ----------
    proposal
        That of a family, whose steps of an epoch are kept where that makes enough epochs. It stays as it is where only
        the head of a fixed encoder is fitted.
    content
        The whole configuration with it.
    minutes
        Of the training, its validations included.
    folder
        That of the configuration, absolute.
    say
        Told what was measured, and what more time would bring.

    Raises
    ------
    UserError
        There are no minutes, or nothing can be learned in them.
    """
    if not 0 < minutes < 1e5:
        raise UserError(f"--minutes is {minutes:g}: name the minutes that the training may take, such as 20.")
    config = make_config(content, folder=folder)
    family = family_of(config)
    if config.training.transfer == "freeze" and family.features_layer:
        return proposal  # only a small head is fitted, in seconds
    import_tensorflow()
    from kerazoo.training.duration import measure

    duration = measure(config)
    steps = config.training.steps_per_epoch or duration.once
    seconds = 60 * minutes
    if steps * duration.step + duration.validation > seconds / FEWEST:
        steps = int((seconds / FEWEST - duration.validation) / duration.step)
    most = config.training.epochs if family.task(family.kinds[0]) == "classification" else MOST
    epochs = min(round(seconds / (max(steps, 1) * duration.step + duration.validation)), most)
    if steps * epochs < SHORTEST:
        needed = (SHORTEST * duration.step + FEWEST * duration.validation) / 60
        raise UserError(
            f"A step takes {duration.step:.2g} s here, so that {minutes:g} minutes are too short to learn anything: "
            f"give at least --minutes {needed:.0f}, or lower training.patch_size or training.batch_size."
        )
    longest = epochs * (steps * duration.step + duration.validation) / 60
    told = f"{min(minutes, longest):.2g} minutes, as a step takes {duration.step:.2g} s on this machine"
    say(f"{epochs} epochs of {steps} steps: {told}. More minutes give better scores, up to a few hours: --minutes.")
    training = proposal.training | {"epochs": (epochs, told), "steps_per_epoch": steps}
    return dataclasses.replace(proposal, training=training)
