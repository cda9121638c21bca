"""All consumers; a new one is a file like those beside this one, and an entry here."""

from __future__ import annotations

from bmzpack.consumers.consumer import Consumer
from bmzpack.consumers.core import CORE
from bmzpack.consumers.fiji import FIJI
from bmzpack.consumers.ilastik import ILASTIK
from bmzpack.consumers.qupath import QUPATH

CONSUMERS: dict[str, Consumer] = {consumer.key: consumer for consumer in (FIJI, ILASTIK, QUPATH, CORE)}
"""By key, in the order of tables."""


def programs() -> dict[str, Consumer]:
    """Consumers with an entry of their own in the zoo: those that users open bundles in."""
    return {key: consumer for key, consumer in CONSUMERS.items() if consumer.link is not None}


def program_names() -> str:
    """The names of `programs` for a sentence, such as "Fiji, ilastik and QuPath"."""
    names = [consumer.in_sentences for consumer in programs().values()]
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
