"""The page and the terminal of a check: the same cells, nothing of a hostile bundle but its text, worst first."""

import html.parser
import io
import json
import re

import pytest
from rich.console import Console

from bmzpack.consumers import page, terminal
from bmzpack.consumers.findings import Finding, Report, Severity, Verdict
from bmzpack.consumers.registry import CONSUMERS
from bmzpack.consumers.summary import LONGEST, NOTHING_FOUND, PLACES, printable, summarise
from bmzpack.engines.matrix import Cell, Matrix

NAMES = [consumer.name for consumer in CONSUMERS.values()]

VOID = {"meta", "br", "wbr"}
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "&lt;b&gt; &amp;",
    "</title></style><!-- ",
    "[bold red]red[/] [link=https://example.org]x[/link] [/]",
    "$body ${title} {body} %s",
    "\x1b[31mred\x1b]8;;https://example.org\x07link\x1b[2J\x9b2J\x00\x7f",
    "two\nlines\r\tand\u2028more",
    "gpj\u202efdp\u200b\u2066",
    "\udc80\ud800",
    "`<i>code</i>`",
    ":warning:",
    "W" * 5000,
)


def finding(rule: str, severity: Severity, **texts: str) -> Finding:
    texts = {
        "where": f"where {rule}",
        "found": f"found {rule}",
        "why": f"why {rule}",
        "remedy": f"remedy {rule}",
        "title": f"title {rule}",
    } | texts
    return Finding(rule=rule, severity=severity, **texts)


CANNOT, WRONG, DEGRADED, ADVICE = Severity
REPORT = Report(
    bundle="models/nuclei.zip",
    name="Nuclei",
    consumers={
        "core": Verdict([finding("A1", ADVICE)]),
        "fiji": Verdict([finding("R1", CANNOT), finding("W3", DEGRADED), finding("A1", ADVICE)]),
        "qupath": Verdict([finding("P1", WRONG), finding("A1", ADVICE)]),
        "ilastik": Verdict([]),
    },
    matrix=Matrix(
        ["ONNX Runtime 1.13.1", "TensorFlow 2.10.1", "torch 2.13"],
        ["onnx", "tensorflow_saved_model_bundle", "torchscript"],
        {
            ("ONNX Runtime 1.13.1", "onnx"): Cell("passed", 1.2e-6, 0.0041),
            ("TensorFlow 2.10.1", "tensorflow_saved_model_bundle"): Cell("absent", message="needs Python 3.10"),
            ("torch 2.13", "torchscript"): Cell("failed", 0.25, 1.25, "another output"),
        },
    ),
)


class Page(html.parser.HTMLParser):
    """Reads a page strictly: every tag is closed in order, tables become lists of texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.ids: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.comments: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if {"th", "td"} & set(self.open):
            self.tables[-1][-1][-1] += data


def shown(report: Report, width: int = 200, **options: object) -> str:
    file = io.StringIO()
    terminal.show(report, Console(file=file, width=width, **options))  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def terminal_tables(text: str) -> list[list[list[str]]]:
    """Tables of a terminal wide enough to keep a line per row; further lines of a cell are joined."""
    tables: list[list[list[str]]] = []
    for line in text.splitlines():
        if line[:1] == "┏":
            tables.append([])
        if line[:1] in ("┡", "├", "┏"):
            tables[-1].append([])
        if line[:1] in ("┃", "│"):
            cells = [cell.strip() for cell in line.strip("┃│").replace("┃", "│").split("│")]
            old = tables[-1][-1] or [""] * len(cells)
            tables[-1][-1] = [f"{before} {cell}".strip() for before, cell in zip(old, cells, strict=True)]
    return tables


def without_signs(text: str) -> str:
    return " ".join(re.sub(r"[✕≠▲✓○]|\bi (?=advice)", "", text).split())


def test_the_page_and_the_terminal_show_the_same_cells() -> None:
    on_page = [[[without_signs(cell) for cell in row] for row in table] for table in Page(page.render(REPORT)).tables]
    in_terminal = terminal_tables(shown(REPORT))
    for table in in_terminal:
        for row in table:
            row[0] = re.sub(r"\((\w+)\)$", r"\1", row[0])
    assert on_page == in_terminal
    assert on_page[0] == [
        ["should hold", *NAMES],
        ["title R1 R1", "cannot open", "-", "-", "-"],
        ["title P1 P1", "-", "-", "wrong result", "-"],
        ["title W3 W3", "degraded", "-", "-", "-"],
        ["title A1 A1", "advice", "-", "advice", "advice"],
    ]
    assert on_page[1] == [
        ["engine", "onnx", "tensorflow_saved_model_bundle", "torchscript"],
        ["ONNX Runtime 1.13.1", "passed error 1.2e-06 4.1 ms", "-", "-"],
        ["TensorFlow 2.10.1", "-", "not installed", "-"],
        ["torch 2.13", "-", "-", "failed error 2.5e-01 1,250 ms"],
    ]


def test_all_that_was_found_is_told_in_both() -> None:
    for text in (Page(page.render(REPORT)).text, shown(REPORT)):
        for rule in ("R1", "W3", "P1", "A1"):
            for part in ("where", "found", "why", "remedy", "title"):
                assert f"{part} {rule}" in text
        for sentence in (
            "Fiji cannot use this model: found R1.",
            "ilastik can open this model.",
            "QuPath opens this model, but would compute wrong results, so do not use it there: found P1.",
            "Python (bioimageio.core) can open this model; 1 thing could be better.",
            "1 of 2 runs failed or gave another output than the bundle expects. Not installed here, so not tried: "
            "TensorFlow 2.10.1.",
            "needs Python 3.10",
            "another output",
        ):
            assert sentence in text


def test_worst_comes_first_then_what_more_programs_suffer_from() -> None:
    report = Report(
        "b.zip",
        "",
        {
            "fiji": Verdict([finding("D", DEGRADED), finding("A", ADVICE), finding("B", CANNOT)]),
            "qupath": Verdict([finding("C", WRONG), finding("E", CANNOT), finding("B", ADVICE)]),
            "core": Verdict([finding("D", WRONG), finding("E", CANNOT)]),
        },
    )
    summary = summarise(report)
    assert [row.rule for row in summary.rows] == ["E", "B", "D", "C", "A"]
    assert summary.rows[1].cells == [CANNOT, ADVICE, None]
    assert summary.name == "A model without a name"


def test_a_cell_is_the_worst_of_its_findings() -> None:
    report = Report("b.zip", "n", {"fiji": Verdict([finding("R", ADVICE), finding("R", CANNOT, where="there")])})
    (row,) = summarise(report).rows
    assert row.cells == [CANNOT]
    assert sorted((reason.severity, note.places[0][0]) for note in row.notes for reason in note.reasons) == [
        (ADVICE, "where R"),
        (CANNOT, "there"),
    ]


def test_what_programs_share_is_said_once() -> None:
    verdicts = {
        "fiji": Verdict([finding("R", CANNOT, why="it dies"), finding("R", CANNOT, why="it dies", where="there")]),
        "ilastik": Verdict([finding("R", WRONG, why="it errs"), finding("R", WRONG, why="it errs", where="there")]),
        "qupath": Verdict([finding("R", WRONG, why="it errs"), finding("R", WRONG, why="it errs", where="there")]),
        "core": Verdict([finding("R", ADVICE, why="it could be better")]),
    }
    (row,) = summarise(Report("b.zip", "n", verdicts)).rows
    shared, own = row.notes
    assert shared.places == [("where R", "found R"), ("there", "found R")]
    assert [(reason.programs, reason.why) for reason in shared.reasons] == [
        ("Fiji (deepImageJ)", "it dies"),
        ("ilastik, QuPath", "it errs"),
    ]
    assert own.places == [("where R", "found R")]
    assert [reason.programs for reason in own.reasons] == ["Python (bioimageio.core)"]


def test_sentences_with_limits_and_with_many_reasons() -> None:
    limits = Verdict([finding("L", DEGRADED, found="ONNX is slow."), finding("A", ADVICE)])
    many = Verdict([finding(rule, CANNOT) for rule in "KLMN"] + [finding("K", CANNOT, found="elsewhere")])
    programs = summarise(Report("b.zip", "n", {"fiji": limits, "ilastik": many})).programs
    assert programs[0].sentence == "Fiji opens it, with limits: ONNX is slow."
    assert programs[0].verdict == "degraded"
    assert programs[1].sentence == "ilastik cannot use this model: found K. found L. Below: 2 more reasons."


def test_without_findings_it_is_said_plainly() -> None:
    report = Report("b.zip", "n", {name: Verdict([]) for name in CONSUMERS})
    read = Page(page.render(report))
    assert not read.tables
    for text in (read.text, shown(report)):
        assert NOTHING_FOUND in text
        assert "Fiji can open this model." in text
        assert "engine" not in text


def test_only_the_programs_that_were_checked_are_columns() -> None:
    report = Report("b.zip", "n", {"qupath": Verdict([finding("R", ADVICE)])})
    assert Page(page.render(report)).tables[0][0] == ["should hold", "QuPath"]


@pytest.mark.parametrize("text", HOSTILE, ids=[f"{text[:12]!a}" for text in HOSTILE])
def test_text_of_a_bundle_stays_text(text: str) -> None:
    plain = page.render(REPORT)
    hostile = Finding(text, DEGRADED, text, text, text, text, text)
    report = Report(
        text,
        text,
        {"fiji": Verdict([hostile]), text: Verdict([hostile])},
        Matrix([text], [text], {(text, text): Cell("failed", message=text)}),
    )
    rendered = page.render(report)
    rendered.encode("utf-8")
    read = Page(rendered)
    known = Page(plain)
    assert read.tags <= known.tags | {"code"}
    assert {name for name, _ in read.attributes} <= {name for name, _ in known.attributes}
    assert not read.comments
    assert all(value and value.startswith("#rule-") for name, value in read.attributes if name == "href")
    assert len(read.ids) == len(set(read.ids))
    assert "https" not in re.sub(r"<[^>]*>", "", rendered) or "https" in text
    if len(text) < 100 and "`" not in text:
        assert printable(text) in read.text or not printable(text)
        assert all(part in shown(report) for part in printable(text).split())
    coloured = shown(report, width=80, force_terminal=True, color_system="truecolor")
    assert set(coloured) - {"\n", "\x1b"} <= {character for character in coloured if character.isprintable()}
    assert all(re.fullmatch(r"\[[\d;]*m", code) for code in re.findall(r"\x1b(\[[\d;]*\w|.?)", coloured))


def test_printable() -> None:
    assert printable("\x1b[31mred\x07\x9b") == "[31mred"
    assert printable("a\r\nb\t\u2028c  d") == "a b c d"
    assert printable("\u202eabc\u200b\ufeff") == "abc"
    assert printable("café 細胞 µm ≥") == "café 細胞 µm ≥"
    assert printable("\udcff.zip") == ".zip"
    assert printable("x" * 50, 10) == "x" * 9 + "…"
    assert len(printable("x" * 10**6)) == LONGEST


def test_long_texts_and_many_places() -> None:
    long = "word " * 10_000
    findings = [finding("R", DEGRADED, where=f"inputs.0.axes.{number}", found=long) for number in range(1000)]
    report = Report(long, long, {"fiji": Verdict(findings)})
    rendered = page.render(report)
    assert len(rendered) < 200_000
    assert f"and in {1000 - PLACES} more places" in Page(rendered).text
    for width in (20, 40, 80):
        text = shown(report, width=width)
        assert f"in {1000 - PLACES}" in " ".join(text.split())
        assert max(map(len, text.splitlines())) <= width


def test_a_console_of_an_old_encoding() -> None:
    raw = io.BytesIO()
    report = Report(
        "b.zip", "細胞 ≥ é", {"fiji": Verdict([finding("R", ADVICE, found="≠ " + "x" * 5000)])}, REPORT.matrix
    )
    with io.TextIOWrapper(raw, encoding="latin-1", write_through=True) as file:
        terminal.show(report, Console(file=file, width=80))
        assert "?? ? é" in raw.getvalue().decode("latin-1")


def test_the_page_needs_nothing_else() -> None:
    rendered = page.render(REPORT)
    read = Page(rendered)
    assert rendered.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "img", "iframe", "object", "form"} & read.tags
    assert not re.search(r"https?:|url\(|@import|javascript:", rendered)
    targets = {value for name, value in read.attributes if name == "href"}
    assert targets == {f"#{anchor}" for anchor in read.ids}
    assert len(read.ids) == len(REPORT.consumers)


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.1."""
    digits = colour * 2 if len(colour) == 3 else colour
    channels = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_contrast_is_that_of_wcag_aa_in_light_and_dark() -> None:
    schemes = [
        dict(re.findall(r"--(\w+): #(\w+)", block)) for block in re.findall(r":root {(.*?)}", page.render(REPORT), re.S)
    ]
    assert len(schemes) == 2
    for colours in schemes:
        pairs = [(ink, paper) for ink in set(colours) - {"paper", "wash", "line", "on"} for paper in ("paper", "wash")]
        for one, other in [*pairs, ("on", "bad"), ("on", "wrong")]:
            dark, light = sorted((luminance(colours[one]), luminance(colours[other])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (one, other)


def test_matrix_as_json() -> None:
    assert REPORT.matrix
    assert not REPORT.matrix.passed
    assert REPORT.matrix.as_dict() == {
        "passed": False,
        "engines": {
            "ONNX Runtime 1.13.1": {
                "onnx": {"status": "passed", "max_abs_error": 1.2e-6, "seconds": 0.0041, "message": "", "seam": None}
            },
            "TensorFlow 2.10.1": {
                "tensorflow_saved_model_bundle": {
                    "status": "absent",
                    "max_abs_error": None,
                    "seconds": None,
                    "message": "needs Python 3.10",
                    "seam": None,
                }
            },
            "torch 2.13": {
                "torchscript": {
                    "status": "failed",
                    "max_abs_error": 0.25,
                    "seconds": 1.25,
                    "message": "another output",
                    "seam": None,
                }
            },
        },
    }


@pytest.mark.parametrize(
    ("cells", "passed", "sentence"),
    [
        ([Cell("passed")], True, "The model was run, and gave the output that the bundle expects."),
        (
            [Cell("passed", 0.0), Cell("passed"), Cell("unsupported")],
            True,
            "The model was run in 2 ways, and each gave",
        ),
        ([Cell("passed"), Cell("failed", float("nan"))], False, "1 of 2 runs failed"),
        ([Cell("failed")], False, "1 of 1 run failed"),
        ([Cell("absent")], False, "The model could not be run: there is no engine here"),
        ([], False, "The model could not be run: there is no engine here"),
    ],
)
def test_what_is_said_of_the_runs(cells: list[Cell], passed: bool, sentence: str) -> None:
    engines = [f"engine {number}" for number in range(len(cells))]
    matrix = Matrix(engines, ["onnx"], {(engine, "onnx"): cell for engine, cell in zip(engines, cells, strict=True)})
    assert matrix.passed is passed
    json.loads(json.dumps(matrix.as_dict(), allow_nan=False))
    report = Report("b.zip", "n", {}, matrix)
    for text in (Page(page.render(report)).text, shown(report)):
        assert sentence in text
    if any(cell.max_abs_error is not None and cell.max_abs_error != 0 for cell in cells):
        assert "error not finite" in shown(report)
