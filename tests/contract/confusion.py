"""The verdicts of `bmzpack check` against what really happens: a confusion matrix per consumer (`make contract`).

The truth is that of published models and of small bundles, both beside the checkout (CONTRACT_TRUTH names another
place): what JDLL's own code does by image size, and what the zoo's own runs in ilastik and bioimageio.core say.
"""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from bmzpack import check
from bmzpack.consumers.findings import Report, Severity, Verdict

TRUTH = Path(os.environ.get("CONTRACT_TRUTH", Path(__file__).parents[3] / "shared"))
ABSENT = {"F1", "F2", "F3", "F5", "T4", "R8"}
"""Rules of files, which published descriptions come without."""
NO_FAULT = re.compile(
    r"conda|Client error|elements disagree|Connection broken|403|EOF when|undefined symbol|argument 'strict'|valid URL|"
    r"test command|HTTP",
)
"""What the zoo's own runs say of their infrastructure, or of numbers, and not of the program."""
RUNS = {
    "ilastik": ("ilastik_1.4.2rc1", "ilastik_1.4.1.post1"),
    "core": ("bioimageio.core_0.10.4",),
}
CASES: dict[str, dict[str, tuple[str, str]]] = {
    "core_ilastik_01_github_user_MISS": {
        "core": ("degraded", "R13"),
        "ilastik": ("degraded", "R13"),
    },
    "fiji_01_state_dict_only_FALSE_ALARM": {"fiji": ("opens", "")},
    "fiji_02_torchscript_taken_first_MISS": {"fiji": ("fails", "W4")},
    "fiji_03_torchscript_taken_first_FALSE_ALARM": {"fiji": ("opens", "")},
    "fiji_04_input_without_channel_axis_MISS": {"fiji": ("fails", "T2")},
    "fiji_05_bool_output_MISS": {"fiji": ("fails", "T11")},
    "fiji_07_ensure_dtype_output_MISS": {"fiji": ("fails", "T11")},
    "fiji_08_square_input_MISS": {"fiji": ("fails", "R6")},
    "fiji_09_onnx_outputs_in_other_order_MISS": {"fiji": ("fails", "W8")},
    "fiji_10_allow_tiling_false_MISS": {"fiji": ("fails", "R6")},
    "fiji_12_scale_linear_scalar_axes_FALSE_ALARM": {"fiji": ("opens", "")},
    "fiji_14_own_stardist_bundle_MISS": {"fiji": ("fails", "R11")},
    "fiji_15_large_image_hang_MISS": {"fiji": ("opens", "")},
    "fiji_16_vector_output_FALSE_ALARM": {"fiji": ("degraded", "T5")},
    "ilastik_02_architecture_imports_MISS": {"ilastik": ("fails", "N3"), "core": ("degraded", "N3")},
    "qupath_01_scale_linear_number_MISS": {"qupath": ("fails", "P11")},
    "qupath_03_no_authors_MISS": {"qupath": ("fails", "D4")},
    "qupath_05_own_classifier_and_no_authors_MISS": {"qupath": ("fails", "D4")},
}
"""By small bundle and consumer: the right verdict, and the rule that gives the reason."""


def main() -> int:
    """Print the matrices; 1 where a verdict is wrong that may not be."""
    zoo, cases = TRUTH / "zoo", TRUTH / "cases" / "contract"
    if not zoo.is_dir():
        print(f"There is no {zoo}: CONTRACT_TRUTH names the folder that holds zoo/ and cases/.")
        return 2
    truth = json.loads((zoo / "truth.json").read_text(encoding="utf-8"))
    reports = {name: _check(zoo / "rdf" / f"{name}.yaml") for name in truth}
    wrong = _fiji(truth, reports)
    for consumer, names in RUNS.items():
        for name in names:
            _run(truth, reports, consumer, name)
    wrong += _cases(cases)
    print(f"\n{wrong} verdicts are wrong." if wrong else "\nNo verdict is wrong.")
    return int(bool(wrong))


def _check(description: Path) -> Report:
    """The report on a description alone."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(description, Path(folder) / "rdf.yaml")
        return check(folder)


def _apart_from_files(verdict: Verdict) -> tuple[str, list[str]]:
    """The verdict without rules of files, and the reasons."""
    kept = [finding for finding in verdict.findings if finding.rule not in ABSENT]
    reasons = [f"{finding.rule} {finding.found}" for finding in kept if finding.severity is not Severity.ADVICE]
    return Verdict(kept).verdict, reasons


def _fiji(truth: dict, reports: dict[str, Report]) -> int:
    matrix: collections.Counter[tuple[str, str]] = collections.Counter()
    pairs = agreed = wrong = 0
    lines = []
    for name, entry in truth.items():
        jdll, verdict = entry["jdll_0.6.1"], reports[name].consumers["fiji"]
        said, reasons = _apart_from_files(verdict)
        sizes = {int(side): outcome == "ok" for side, outcome in (jdll.get("sizes") or {}).items()}
        whole = all(jdll.get(key) == "ok" for key in ("parse", "processing", "preprocess", "postprocess"))
        happens = "runs" if whole and any(sizes.values()) else "refused"
        no_engine = any(reason.startswith(("N1", "N3")) for reason in reasons)
        if no_engine and happens == "runs":
            happens = "runs, but for its engine"
        matrix[said, happens] += 1
        numbers = all("WRONG" in reason for reason in reasons)
        if (happens == "refused" and said != "fails") or (happens == "runs" and said == "fails" and not numbers):
            severities = {finding.severity for finding in verdict.findings if finding.rule not in ABSENT}
            if happens == "refused" or Severity.CANNOT_OPEN in severities:
                wrong += 1
                lines.append(f"  WRONG {name}: said {said} {reasons[:2]}, {happens} {jdll.get('preprocess')!s:.60}")
        for side, runs in sizes.items():
            pairs += 1
            if _runs(verdict, side) == runs:
                agreed += 1
            else:
                lines.append(f"  size {side} of {name}: said {'runs' if not runs else 'refused'}")
    _print("Fiji (JDLL 0.6.1), by description", matrix, lines)
    share = agreed / max(pairs, 1)
    print(f"  by size: {agreed} of {pairs} agree, {share:.2%}")
    return wrong + int(share < 0.99)


def _runs(verdict: Verdict, side: int) -> bool:
    stretches = verdict.sides.running if verdict.sides else []
    return any(stretch.first <= side <= (stretch.last or side) for stretch in stretches)


def _run(truth: dict, reports: dict[str, Report], consumer: str, run: str) -> None:
    matrix: collections.Counter[tuple[str, str]] = collections.Counter()
    lines = []
    for name, entry in truth.items():
        found = entry["ci"].get(run) or {}
        if found.get("status") is None:
            continue
        happens = found["status"]
        if happens == "failed" and NO_FAULT.search(found["why"]):
            happens = "infrastructure or numbers"
        said, reasons = _apart_from_files(reports[name].consumers[consumer])
        matrix[said, happens] += 1
        if (said, happens) == ("opens", "failed") or (said, happens) == ("fails", "passed"):
            lines.append(f"  {name}: said {said} {reasons[:1]}, {happens} {found['why']:.80}")
    _print(f"{consumer} ({run})", matrix, lines)


def _cases(folder: Path) -> int:
    wrong = 0
    print("\nSmall bundles")
    for name, expected in CASES.items():
        report = check(folder / name, consumers=list(expected))
        for consumer, (verdict, rule) in expected.items():
            found = report.consumers[consumer]
            rules = {finding.rule for finding in found.findings}
            absent = not (folder / name / "in.npy").exists()
            said = _apart_from_files(found)[0] if absent else found.verdict
            right = said == verdict and (not rule or rule in rules)
            wrong += not right
            if not right:
                texts = [f"{finding.rule} {finding.severity.value}: {finding.found}" for finding in found.findings]
                print(f"  WRONG {name}, {consumer}: {said}, not {verdict} ({rule}): {texts[:3]}")
    print(f"  {sum(map(len, CASES.values()))} verdicts, {wrong} wrong")
    return wrong


def _print(title: str, matrix: collections.Counter[tuple[str, str]], lines: list[str]) -> None:
    columns = sorted({happens for _, happens in matrix})
    print(f"\n{title}\n  {'said':10}" + "".join(f"{column:>28}" for column in columns))
    for said in ("opens", "degraded", "fails"):
        print(f"  {said:10}" + "".join(f"{matrix[said, column]:28}" for column in columns))
    print("\n".join(lines) if lines else "  no disagreement")


if __name__ == "__main__":
    sys.exit(main())
