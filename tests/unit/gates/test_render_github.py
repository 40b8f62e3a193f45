"""What a job of GitHub Actions shows at the lines of a change."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from realstack.gates.render.github import render
from realstack.gates.report import Report
from tests.unit.gates.reports import CONTROL, HOSTILE, LINES, LONG, PATHS, PLAIN, REPORT, WHOLE_FILE, XML, of

COMMAND = re.compile(r"::error (?P<properties>[^:]*)::(?P<message>.*)")


def read(line: str) -> tuple[dict[str, str], str]:
    """The properties and the message, unescaped in the order that the runner does it."""
    command = COMMAND.fullmatch(line)
    assert command is not None
    pairs = [each.split("=", 1) for each in command["properties"].split(",")]
    return {name: unescaped(value, "%3A", "%2C") for name, value in pairs}, unescaped(command["message"])


def unescaped(value: str, *also: str) -> str:
    """``%25`` goes last."""
    for escape in (*also, "%0D", "%0A", "%25"):
        value = value.replace(escape, chr(int(escape[1:], 16)))
    return value


def test_a_finding_is_one_command() -> None:
    assert render(of(PLAIN)) == (
        "::error file=src/shop/orders.py,line=12,title=imports missing-name::"
        "`shop.money` has no name `Total`.%0AImport what it has, or define it there.\n"
    )


def test_a_finding_of_a_whole_file_has_no_line() -> None:
    assert render(of(replace(WHOLE_FILE, fix=""))) == (
        "::error file=src/shop/cart.py,title=imports syntax-error::No Python.\n"
    )


def test_there_is_nothing_but_a_command_for_each_finding() -> None:
    assert render(Report(gates=("imports",))) == ""
    shown = render(REPORT).splitlines()
    assert [read(line)[0].get("line") for line in shown] == [None, "12", "40"]


def test_what_is_special_is_escaped_as_documented() -> None:
    shown = render(of(replace(PLAIN, path="a%:,\r\n.py", says="a%:,\r\n::error::b", fix="")))
    assert shown == ("::error file=a%25%3A%2C%0D%0A.py,line=12,title=imports missing-name::a%25:,%0D%0A::error::b\n")


@pytest.mark.parametrize("says", [LINES, XML, LONG])
@pytest.mark.parametrize("path", PATHS[:3])
def test_the_runner_reads_what_was_written(path: str, says: str) -> None:
    [line] = render(of(replace(PLAIN, path=path, says=says, fix="do"))).splitlines()
    properties, message = read(line)
    assert (properties["file"], message) == (path, f"{says}\ndo")


def test_no_text_of_the_project_begins_a_line_or_steers_the_log() -> None:
    lines = render(HOSTILE).split("\n")
    assert lines.pop() == ""
    assert len(lines) == len(HOSTILE.findings)
    assert all(COMMAND.fullmatch(line) for line in lines)
    assert r"\x1b[31mred\x00\x08\x7f\x9b" in render(of(replace(PLAIN, says=CONTROL)))
    assert re.findall(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", "".join(lines)) == []
