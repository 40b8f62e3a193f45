"""A report for a reader at a terminal, or of a log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from itertools import groupby
from typing import TYPE_CHECKING

from realstack.gates.finding import Finding
from realstack.gates.render.text import escaped
from realstack.gates.report import Report, by_rule

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

Piece = str | tuple[str, str]
"""Text, or text and its style."""
Paragraph = tuple[tuple[Piece, ...], tuple[Piece, ...]]
"""What stands at its first line, and what is wrapped to the right of that."""

# What would steer a terminal, or, as the last two ranges do, show text in another order than it has.
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNFIT_IN_A_NAME = re.compile(rf"[\t\n]|{_UNFIT.pattern}")
_LEAST_ROOM = 12


def render(report: Report, *, width: int | None = None, colour: bool = False) -> str:
    """By file, then what was found in all, by gate and rule. Without ``width`` no line is wrapped."""
    from rich.console import Console

    written = StringIO()
    console = Console(
        file=written,
        force_jupyter=False,
        color_system="standard" if colour else None,
        no_color=not colour,
        legacy_windows=False,
        highlight=False,
    )
    for lead, body in _paragraphs(report):
        for line in _wrapped(console, lead, body, width):
            console.print(line, soft_wrap=True)
    return written.getvalue()


def _paragraphs(report: Report) -> Iterator[Paragraph]:
    for path, findings in groupby(report.findings, key=lambda finding: finding.path):
        yield (), ((_name(path), "bold"),)
        yield from _of_one_file(list(findings))
        yield (), ()
    yield (), (_outcome(report),)
    for gate in report.every_gate:
        yield from _of_one_gate(report, gate)


def _of_one_file(findings: list[Finding]) -> Iterator[Paragraph]:
    lines = [str(finding.line) if finding.line > 0 else "file" for finding in findings]
    column = max(map(len, lines))
    for finding, line in zip(findings, lines, strict=True):
        lead = f"  {line:>{column}}  "
        yield ((lead, "cyan"),), ((_name(finding.rule), "red"), f": {_sentence(finding.says)}")
        if finding.fix:
            yield (" " * len(lead),), ((f"fix: {_sentence(finding.fix)}", "dim"),)


def _outcome(report: Report) -> Piece:
    if report.findings:
        files = len({finding.path for finding in report.findings})
        return f"{_counted(len(report.findings), 'finding')} in {_counted(files, 'file')}.", "bold red"
    return ("Nothing found.", "bold green") if report.gates else ("No gate ran.", "bold yellow")


def _of_one_gate(report: Report, gate: str) -> Iterator[Paragraph]:
    findings = report.of_gate(gate)
    said = [f"{report.checked[gate]} checked"] if gate in report.checked else []
    said += [_counted(len(findings), "finding")]
    said += [f"{report.took_s[gate]:.2f} s"] if gate in report.took_s else []
    yield ("  ",), (f"{_name(gate)}: {', '.join(said)}",)
    for rule, count in by_rule(findings).items():
        yield ("    ",), (f"{_name(rule)}: {count}",)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _name(text: str) -> str:
    return escaped(text, _UNFIT_IN_A_NAME)


def _sentence(text: str) -> str:
    return escaped(text, _UNFIT)


def _wrapped(console: Console, lead: tuple[Piece, ...], body: tuple[Piece, ...], width: int | None) -> Iterator[Text]:
    from rich.text import Text

    start, text = Text.assemble(*lead), Text.assemble(*body)
    room = max(width - start.cell_len, _LEAST_ROOM) if width else None
    lines = text.wrap(console, room, overflow="fold") if room else text.split("\n", allow_blank=True)
    for number, line in enumerate(lines):
        line.rstrip()
        yield Text.assemble(" " * start.cell_len if number else start, line)
