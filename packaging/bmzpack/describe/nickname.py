"""Nicknames of bundles, such as friendly-newt: without one Fiji cannot open a bundle that the zoo has not numbered."""

from __future__ import annotations

ADJECTIVES = """
agile amiable ample brave bright brisk calm candid careful cheerful clever cordial curious daring deft dreamy eager
earnest easy elegant fair faithful famous fearless fine fond frank friendly gallant gentle glad graceful grand happy
hardy honest humble jolly keen kind lively loyal lucid lucky mellow merry mild modest neat nimble noble patient
placid playful polite proud quick quiet ready serene sharp shiny shy silent sincere sleek smart smooth snug sober
steady still sturdy subtle sunny swift tender thrifty tidy tranquil true trusty upbeat vivid warm watchful wise
witty
""".split()  # noqa: SIM905
ANIMALS = """
alpaca badger bear beaver bee bison bobcat camel carp cat cheetah condor coral crab crane cricket deer dingo dolphin
dove dragonfly duck eagle eel egret elk falcon ferret finch firefly fox frog gazelle gecko gibbon goat goose grouse
hamster hare hawk hedgehog heron hippo horse ibex ibis iguana jackal jaguar jay kestrel kiwi koala lark lemur lion
lizard llama lobster lynx magpie manatee marmot marten mole moose moth newt octopus otter owl panda pelican penguin
pony puffin quail rabbit raven robin salmon seal shark sparrow squid stork swan tapir tiger toad turtle vole walrus
whale wolf wombat wren yak zebra
""".split()  # noqa: SIM905


def nickname(seed: str) -> str:
    """An adjective and an animal, the same for the same seed (a hexadecimal number)."""
    number = int(seed[:16], 16)
    return f"{ADJECTIVES[number % len(ADJECTIVES)]}-{ANIMALS[number // len(ADJECTIVES) % len(ANIMALS)]}"
