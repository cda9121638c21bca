"""The verdicts of `bmzpack check` against what really happens: a confusion matrix per consumer (`make contract`).

The truth is that of published models and of small bundles, both beside the checkout (CONTRACT_TRUTH names another
place): what JDLL's own code does by image size, and what the zoo's own runs in ilastik and bioimageio.core say. Where
there are environments of bioimageio.core by version (CONTRACT_CORES names another place), what each makes of the small
bundles, and of those of our own tests, is asked here.
"""

from __future__ import annotations

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bmzpack import check
from bmzpack.consumers.findings import Report, Severity, Verdict

HERE = Path(__file__).parent
TRUTH = Path(os.environ.get("CONTRACT_TRUTH", HERE.parents[2] / "shared"))
CORES = Path(os.environ.get("CONTRACT_CORES", HERE.parents[1] / ".venv" / "core"))
ABSENT = {"F1", "F2", "F3", "F5", "T4", "R8"}
"""Rules of files, which published descriptions come without."""
NO_FAULT = re.compile(
    r"conda|Client error|elements disagree|Connection broken|403|EOF when|undefined symbol|argument 'strict'|valid URL|"
    r"test command|HTTP",
)
"""What the zoo's own runs say of their infrastructure, or of numbers, and not of the program."""
RUNS = {
    "ilastik_1.4.2rc1": ("ilastik", None),
    "ilastik_1.4.1.post1": ("ilastik", "ilastik 1.4.1.post1"),
    "bioimageio.core_0.10.4": ("core", "bioimageio.core 0.10.2"),
}
"""By run of the zoo: the consumer, and the nearest of its releases where it is not the consumer itself."""
VERSIONS = {
    "0.11.0": None,
    "0.10.2": "bioimageio.core 0.10.2",
    "0.9.1": "bioimageio.core 0.9.1",
    "0.8.0": "bioimageio.core 0.8.0",
}
"""By version of bioimageio.core: the release of the consumer core."""
OF_DESCRIPTION = {"D1", "P10", "R1", "R5", "R6", "R7", "R14"}
"""Rules that hold of a description without its files."""
EXCEPTIONS = {
    "merry-gorilla": "Its outputs are always 1,440 x 1,920 pixels. None of the seven squares that JDLL was tried with "
    "runs, and the verdict says so of each; images of 1,440 x 1,920, and squares such as 640, run.",
}
"""Disagreements that say nothing against the verdict, with the reason."""
HERE_ONLY = {
    "fiji_05_bool_output_MISS": "The test of bioimageio.core 0.8.0 cannot compare truth values; the network runs.",
    "cover_of_another_format": "bioimageio.spec before 0.5.12 did not look at the covers' formats, the zoo does.",
}
"""Disagreements of older versions of bioimageio.core that say nothing against the verdict, with the reason."""
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
    "fiji_09_onnx_outputs_in_other_order_MISS": {"fiji": ("fails", "W8"), "core": ("fails", "W8")},
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
    wrong += sum(_run(truth, reports, run) for run in RUNS)
    wrong += _cases(cases)
    wrong += sum(_core(version, cases) for version in VERSIONS)
    print(f"\n{wrong} verdicts are wrong." if wrong else "\nNo verdict is wrong.")
    return int(bool(wrong))


def _check(description: Path) -> Report:
    """The report on a description alone."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(description, Path(folder) / "rdf.yaml")
        return check(folder)


def _of_release(report: Report, consumer: str, release: str | None) -> Verdict:
    """The verdict of a consumer, or of another version of it; they are one where nothing can be read."""
    verdict = report.consumers[consumer]
    return verdict if release is None else verdict.releases.get(release, verdict)


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
                wrong += name not in EXCEPTIONS
                sort = f"excepted: {EXCEPTIONS[name]}" if name in EXCEPTIONS else f"WRONG {reasons[:2]}"
                lines.append(f"  {name}: said {said}, {happens}; {sort}")
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


def _run(truth: dict, reports: dict[str, Report], run: str) -> int:
    """Against a run of the zoo."""
    consumer, release = RUNS[run]
    matrix: collections.Counter[tuple[str, str]] = collections.Counter()
    wrong, lines = 0, []
    for name, entry in truth.items():
        found = entry["ci"].get(run) or {}
        if found.get("status") is None:
            continue
        happens = found["status"]
        if happens == "failed" and NO_FAULT.search(found["why"]):
            happens = "infrastructure or numbers"
        said, reasons = _apart_from_files(_of_release(reports[name], consumer, release))
        matrix[said, happens] += 1
        if (said, happens) in (("opens", "failed"), ("fails", "passed")):
            wrong += name not in EXCEPTIONS
            lines.append(f"  {name}: said {said} {reasons[:1]}, {happens} {found['why']:.80}")
    _print(f"{release or consumer}, in the zoo's run of {run.replace('_', ' ')}", matrix, lines)
    return wrong


def _cases(folder: Path) -> int:
    """Small bundles, each with the right verdict and the rule that has to say it."""
    matrices: dict[str, collections.Counter[tuple[str, str]]] = collections.defaultdict(collections.Counter)
    lines: dict[str, list[str]] = collections.defaultdict(list)
    for name, expected in CASES.items():
        report = check(folder / name, consumers=list(expected))
        for consumer, (verdict, rule) in expected.items():
            found = report.consumers[consumer]
            rules = {finding.rule for finding in found.findings}
            absent = not (folder / name / "in.npy").exists()
            said = _apart_from_files(found)[0] if absent else found.verdict
            matrices[consumer][said, verdict] += 1
            if said != verdict or (rule and rule not in rules):
                texts = [f"{finding.rule} {finding.severity.value}: {finding.found}" for finding in found.findings]
                lines[consumer].append(f"  WRONG {name}: {said}, not {verdict} ({rule}): {texts[:3]}")
    for consumer, matrix in matrices.items():
        _print(f"{consumer}, small bundles", matrix, lines[consumer])
    return sum(map(len, lines.values()))


def _core(version: str, cases: Path) -> int:
    """What a version of bioimageio.core, run here, makes of small bundles, and of those of the tests."""
    title, python = f"bioimageio.core {version}, run here on small bundles", CORES / version / "bin" / "python"
    if not python.is_file():
        print(f"\n{title}\n  not run: there is no {python} (`make contract` makes it)")
        return 0
    with tempfile.TemporaryDirectory() as made:
        whole, broken = _own(Path(made))
        whole = [*sorted(path for path in cases.iterdir() if path.is_dir()), *whole]
        command = [python, HERE / "core_verdicts.py", *whole, "--", *broken]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"\n{title}\n  not run: {done.stderr[-300:]}")
            return 1
        found = json.loads(done.stdout.splitlines()[-1])
        verdicts = {folder: _of_release(check(folder), "core", VERSIONS[version]) for folder in (*whole, *broken)}
    matrix: collections.Counter[tuple[str, str]] = collections.Counter()
    wrong, lines = 0, []
    for folder, verdict in verdicts.items():
        real = found[str(folder)]
        happens = "refused" if not real["loads"] else {None: "taken", True: "runs", False: "fails"}[real["onnx"]]
        matrix[verdict.verdict, happens] += 1
        refusing = {finding.rule for finding in verdict.findings if finding.severity is Severity.CANNOT_OPEN}
        missed = verdict.verdict == "opens" and happens in ("refused", "fails")
        missed = missed or (verdict.verdict != "fails" and happens == "refused")
        if missed or (real["loads"] and refusing & OF_DESCRIPTION):
            excepted = HERE_ONLY.get(folder.name)
            wrong += not excepted
            sort = f"excepted: {excepted}" if excepted else "WRONG"
            lines.append(
                f"  {folder.name}: said {verdict.verdict} {sorted(refusing)}, {happens} {real['why']:.120}; {sort}"
            )
    _print(title, matrix, lines)
    return wrong


def _own(folder: Path) -> tuple[list[Path], list[Path]]:
    """The small bundles of the tests: whole ones, and those with broken descriptions, which describe no network."""
    sys.path.insert(0, str(HERE.parent / "packaging" / "consumers"))
    import cases
    import corpus

    bases = corpus.BASES | corpus.OTHER_BASES
    whole = [make(folder / "whole" / name.replace(" ", "_")).finish() for name, make in bases.items()]
    for name, case in cases.CASES.items():
        if case.pydantic is None:
            bundle = bases[case.base](folder / "broken" / name)
            case.break_(bundle)
            bundle.finish()
    return whole, sorted(path for path in (folder / "broken").iterdir() if (path / "rdf.yaml").is_file())


def _print(title: str, matrix: collections.Counter[tuple[str, str]], lines: list[str]) -> None:
    columns = sorted({happens for _, happens in matrix})
    print(f"\n{title}\n  {'said':10}" + "".join(f"{column:>28}" for column in columns))
    for said in ("opens", "degraded", "fails"):
        print(f"  {said:10}" + "".join(f"{matrix[said, column]:28}" for column in columns))
    print("\n".join(lines) if lines else "  no disagreement")


if __name__ == "__main__":
    sys.exit(main())
