"""What a reader sees at a terminal."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from rich.cells import cell_len

from realstack.gates.render.terminal import render
from realstack.gates.report import Report
from tests.unit.gates.reports import CONTROL, HOSTILE, LINES, LONG, MARKUP, PLAIN, REPORT, WHOLE_FILE, of


def test_findings_stand_below_their_file_and_the_counts_at_the_end() -> None:
    assert render(REPORT) == (
        "src/shop/cart.py\n"
        "  file  syntax-error: No Python.\n"
        "        fix: Import what it has, or define it there.\n"
        "\n"
        "src/shop/orders.py\n"
        "  12  missing-name: `shop.money` has no name `Total`.\n"
        "      fix: Import what it has, or define it there.\n"
        "  40  missing-name: `shop.money` has no name `Tax`.\n"
        "\n"
        "3 findings in 2 files.\n"
        "  imports: 412 checked, 3 findings, 1.23 s\n"
        "    missing-name: 2\n"
        "    syntax-error: 1\n"
        "  routes: 7 checked, 0 findings, 0.50 s\n"
    )


def test_that_nothing_was_found_is_said_with_what_was_looked_at() -> None:
    assert render(replace(REPORT, findings=(), took_s={})) == (
        "Nothing found.\n  imports: 412 checked, 0 findings\n  routes: 7 checked, 0 findings\n"
    )


def test_a_run_without_gates_is_not_told_as_one_without_findings() -> None:
    assert render(Report()) == "No gate ran.\n"


def test_one_is_singular_and_what_a_gate_does_not_tell_is_not_made_up() -> None:
    assert render(of(WHOLE_FILE)).endswith("1 finding in 1 file.\n  imports: 1 finding\n    syntax-error: 1\n")


def test_line_numbers_end_in_one_column() -> None:
    lines = render(of(PLAIN, replace(PLAIN, line=7), replace(PLAIN, line=1000))).splitlines()
    assert [line.index("missing-name") for line in lines if "missing-name: `" in line] == [8, 8, 8]
    assert lines[1].startswith("     7  ")


def test_colours_change_no_letter_and_the_fix_is_dimmed() -> None:
    shown = render(REPORT, colour=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", shown) == render(REPORT)
    assert "\x1b[2mfix: Import what it has, or define it there.\x1b[0m" in shown
    assert "\x1b" not in render(REPORT)


@pytest.mark.parametrize("width", [20, 30, 80])
def test_narrow_terminals_get_every_letter_and_no_line_too_long(width: int) -> None:
    shown = render(
        of(*(replace(PLAIN, path="a/b.py", says=says) for says in (MARKUP, LONG, "日本語 🙂 " * 50))), width=width
    )
    assert [line for line in shown.splitlines() if cell_len(line) > width or line != line.rstrip()] == []
    said = re.sub(r"\s", "", shown)
    assert [says for says in (MARKUP, LONG, "日本語 🙂 " * 50) if re.sub(r"\s", "", says) not in said] == []


def test_what_is_wrapped_stays_right_of_the_line_number() -> None:
    said = render(of(PLAIN), width=30).splitlines()[1:6]
    assert said == [
        "  12  missing-name:",
        "      `shop.money` has no name",
        "      `Total`.",
        "      fix: Import what it has,",
        "      or define it there.",
    ]


def test_without_a_width_no_line_is_wrapped() -> None:
    assert LONG in render(of(replace(PLAIN, says=LONG)))


def test_markup_and_control_characters_of_the_project_are_shown_and_do_nothing() -> None:
    for colour in (False, True):
        assert MARKUP in render(of(replace(PLAIN, says=MARKUP)), colour=colour)
    shown = render(of(replace(PLAIN, says=CONTROL, symbol="")))
    assert r"\x1b[31mred\x00\x08\x7f\x9b \u202eback\u2066" in shown
    assert r"\udc80" in shown
    assert re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", render(HOSTILE, width=60)) == []


def test_a_break_in_a_sentence_is_kept_and_one_in_a_path_cannot_pose_as_a_line() -> None:
    shown = render(of(replace(PLAIN, path="a\n  13  b.py", says=LINES, fix="")))
    assert shown.startswith(
        "a\\n  13  b.py\n  12  missing-name: one\n      two\\r\n      ::error::three\\rfour%0A, five"
    )


def test_the_surroundings_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = render(REPORT), render(REPORT, width=50, colour=True)
    for name, value in {
        "TERM": "dumb",
        "NO_COLOR": "1",
        "FORCE_COLOR": "1",
        "COLUMNS": "9",
        "TTY_COMPATIBLE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    assert (render(REPORT), render(REPORT, width=50, colour=True)) == before
