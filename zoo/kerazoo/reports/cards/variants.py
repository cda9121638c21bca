"""Records of the same images side by side, and how much their scores really say."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from kerazoo.config import AugmentationConfig
from kerazoo.reports.cards.records import CardRecord, mean_and_deviation
from kerazoo.reports.tasks import PRESENTATIONS


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All records of one set of images."""

    dataset: str
    head: list[str]
    rows: list[list[str]]
    remarks: str
    """What the numbers do not say, in sentences."""


def compare_variants(records: Sequence[CardRecord]) -> list[Comparison]:
    """Compare the records of the same images.

    Parameters
    ----------
    records
        All records of one model.

    Returns
    -------
    list of Comparison
        One for every set of images with several records.
    """
    by_dataset: dict[str, list[CardRecord]] = {}
    for record in records:
        by_dataset.setdefault(record.dataset, []).append(record)
    return [_comparison(members) for members in by_dataset.values() if len(members) > 1]


def _comparison(records: Sequence[CardRecord]) -> Comparison:
    part = "test" if all(run.test for record in records for run in record.runs) else "validation"
    names = [
        name for name in PRESENTATIONS[records[0].task].compared if any(record.values(part, name) for record in records)
    ]
    rows = [
        [
            _name(record),
            *(mean_and_deviation(values) if (values := record.values(part, name)) else "-" for name in names),
            "yes" if _augments(record) else "none",
            str(len(record.runs)),
        ]
        for record in records
    ]
    sentences = [*_judged(records, part, names[0]), *_confounded(records)] if names else []
    head = ["variant", *(f"`{name}`, {part}" for name in names), "augmentation", "runs"]
    return Comparison(records[0].dataset, head, rows, " ".join(sentences))


def _name(record: CardRecord) -> str:
    return record.variant or "without a name"


def _augments(record: CardRecord) -> bool:
    changed = {name: record.settings.get(f"augmentation.{name}") for name in AugmentationConfig.model_fields}
    known = {name: value for name, value in changed.items() if value is not None}
    return any((AugmentationConfig().model_dump() | known).values())


def _judged(records: Sequence[CardRecord], part: str, score: str) -> list[str]:
    """Which variants overlap with the best one: those of which one run is as good as one of its own."""
    scored = [(record, values) for record in records if (values := record.values(part, score))]
    best, top = max(scored, key=lambda pair: statistics.fmean(pair[1]))
    single = [record for record, values in scored if len(values) == 1]
    others = [(record, values) for record, values in scored if record is not best and record not in single]
    if best in single:
        others = []
    alike = [record for record, values in others if max(values) >= min(top)]
    below = [record for record, values in others if max(values) < min(top)]
    sentences = [f"By the mean of `{score}` {_quoted([best])} is best."]
    if alike:
        sentences.append(
            f"But its runs and those of {_quoted(alike)} overlap: so few runs do not tell which is better."
        )
    if below:
        sentences.append(f"Every run of {_quoted(below)} is below all of its runs.")
    if single:
        sentences.append(f"Of {_quoted(single)} there is one run only: its spread is not known.")
    return sentences


def _confounded(records: Sequence[CardRecord]) -> list[str]:
    without = [record for record in records if not _augments(record)]
    if not without or len(without) == len(records):
        return []
    return [f"{_quoted(without)} had no augmentation: that may be the difference, not what the name says."]


def _quoted(records: Sequence[CardRecord]) -> str:
    names = [f'"{_name(record)}"' for record in records]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
