"""What a rule says, program by program, and which programs and rules there are: for `bmzpack explain` and `--list`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from bmzpack.consumers.consumer import Consumer
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.consumers.rule_texts import TITLES
from bmzpack.consumers.rules import ENGINE, Rule
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
    lines = [f"{rule}: {titles[rule]}", ""]
    for program, entry in _entries(rule):
        lines += [
            f"{program}: {entry.severity.value}",
            f"  why         {entry.why}",
            f"  what to do  {entry.remedy}",
        ]
    for example in _examples(rule):
        lines += ["", "Example:", *(f"  {line}" for line in example.splitlines())]
    return "\n".join([*lines, "", LEGEND])


def explain_all() -> str:
    """The pages of all rules as one document, in Markdown."""
    parts = ["# Rules of `bmzpack check`", LEGEND]
    for rule, title in sorted(all_titles().items(), key=lambda item: _natural(item[0])):
        parts.append(f"## {rule}: {title}")
        parts += [
            f"**{program}: {entry.severity.value}.** {entry.why}\n*What to do:* {entry.remedy}"
            for program, entry in _entries(rule)
        ]
        parts += [f"```text\n{example}\n```" for example in _examples(rule)]
    return "\n\n".join(parts)


def all_titles() -> dict[str, str]:
    """What should hold, by the id of the rule: those that several programs share, then those of one program."""
    own = {rule.id: rule.title for consumer in CONSUMERS.values() for rule in rules_of(consumer)}
    return TITLES | {rule: title for rule, title in own.items() if rule not in TITLES}


def overview() -> str:
    """Programs, the versions that their rules were seen on, and the rules of each."""
    lines = []
    for consumer in CONSUMERS.values():
        lines += [
            f"{consumer.key}: {consumer.name}",
            f"  seen on  {_versions(consumer.versions)}",
            f"  rules    {_ids(rules_of(consumer))}",
        ]
        for release in consumer.releases:
            but = f", without {' '.join(sorted(release.without, key=_natural))}" if release.without else ""
            lines.append(f"  also     {_versions(release.versions)}: these{but}, and {_ids(release.rules)}")
    titles = [f"{rule:4} {title}" for rule, title in all_titles().items()]
    return "\n".join([*lines, "", *titles, "", "`bmzpack explain RULE` says why, and what to do.", LEGEND])


def rules_of(consumer: Consumer) -> list[Rule]:
    """The rules of a program, that of the specification among them."""
    return [*consumer.rules, *([consumer.specification] if consumer.specification else [])]


def _entries(rule: str) -> Iterator[tuple[str, Rule]]:
    """A rule as each program and each other version has it, with the program's name and versions."""
    said = set()
    for program, entry in _every(rule):
        if (program, entry.why) not in said:
            said.add((program, entry.why))
            yield program, entry


def _every(rule: str) -> Iterator[tuple[str, Rule]]:
    if rule == ENGINE.id:
        yield "All programs", ENGINE
    for consumer in CONSUMERS.values():
        for entry in rules_of(consumer):
            if entry.id == rule:
                yield f"{consumer.name} ({_versions(consumer.versions)})", entry
        for release in consumer.releases:
            for entry in release.rules:
                if entry.id == rule:
                    yield _versions(release.versions), entry


def _examples(rule: str) -> list[str]:
    return list(dict.fromkeys(entry.example for _, entry in _entries(rule)))


def _ids(rules: Iterable[Rule]) -> str:
    return " ".join(sorted({rule.id for rule in rules}, key=_natural))


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _natural(rule: str) -> tuple[str, int]:
    number = re.search(r"\d*$", rule)
    assert number is not None
    return rule[: number.start()], int(number[0] or 0)
