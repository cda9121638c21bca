"""What a rule says, program by program, and which programs and rules there are: for `bmzpack explain` and `--list`."""

from __future__ import annotations

from bmzpack.consumers.consumer import Consumer
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.consumers.rules import TITLES, Rule
from bmzpack.errors import UserError

LEGEND = "(observed): seen when the program was run; (from the source code): read there."


def explain(rule: str) -> str:
    """A page on a rule: what should hold, why, an example, and what to do.

    Parameters
    ----------
    rule
        Its id, such as ``R6``.

    Raises
    ------
    UserError
        There is no such rule.
    """
    rule, titles = rule.upper(), all_titles()
    if rule not in titles:
        raise UserError(f"There is no rule {rule!r}: `bmzpack check --list` names all of them.")
    lines, examples = [f"{rule}: {titles[rule]}", ""], []
    for consumer in CONSUMERS.values():
        for entry in rules_of(consumer):
            if entry.id == rule:
                lines += [
                    f"{consumer.name} ({_versions(consumer)}): {entry.severity.value}",
                    f"  why         {entry.why}",
                    f"  what to do  {entry.remedy}",
                ]
                examples.append(entry.example)
    for example in dict.fromkeys(filter(None, examples)):
        lines += ["", "Example:", *(f"  {line}" for line in example.splitlines())]
    return "\n".join([*lines, "", LEGEND])


def all_titles() -> dict[str, str]:
    """What should hold, by the id of the rule: those that several programs share, then those of one program."""
    own = {rule.id: rule.title for consumer in CONSUMERS.values() for rule in rules_of(consumer)}
    return TITLES | {rule: title for rule, title in own.items() if rule not in TITLES}


def overview() -> str:
    """Programs, the versions that their rules were seen on, and the rules of each."""
    lines = []
    for consumer in CONSUMERS.values():
        ids = dict.fromkeys(rule.id for rule in rules_of(consumer))
        lines += [f"{consumer.key}: {consumer.name}", f"  seen on  {_versions(consumer)}"]
        lines.append(f"  rules    {' '.join(sorted(ids, key=_natural))}")
    titles = [f"{rule:4} {title}" for rule, title in all_titles().items()]
    return "\n".join([*lines, "", *titles, "", "`bmzpack explain RULE` says why, and what to do.", LEGEND])


def rules_of(consumer: Consumer) -> list[Rule]:
    """The rules of a program, that of the specification among them."""
    return [*consumer.rules, *([consumer.specification] if consumer.specification else [])]


def _versions(consumer: Consumer) -> str:
    return ", ".join(f"{name} {version}" for name, version in consumer.versions.items())


def _natural(rule: str) -> tuple[str, int]:
    letters = rule.rstrip("0123456789")
    return letters, int(rule[len(letters) :] or 0)
