"""What a run of gates comes to, and the table of its renderers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

from realstack.gates.render import FORMATS, renderer
from realstack.gates.report import Report, by_rule
from tests.unit.gates.reports import HOSTILE, PLAIN, REPORT, SECOND, WHOLE_FILE


def test_findings_are_sorted_however_they_come() -> None:
    assert Report((SECOND, PLAIN, WHOLE_FILE)).findings == (WHOLE_FILE, PLAIN, SECOND)


def test_a_report_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        REPORT.gates = ()  # type: ignore[misc]


def test_a_gate_that_only_a_finding_names_comes_after_those_that_ran() -> None:
    shared = replace(PLAIN, gate="all", rule="allowance-unused")
    assert replace(REPORT, findings=(shared, PLAIN)).every_gate == ("imports", "routes", "all")


def test_findings_are_counted_by_rule_and_told_apart_by_gate() -> None:
    other = replace(PLAIN, gate="routes")
    report = replace(REPORT, findings=(WHOLE_FILE, PLAIN, SECOND, other))
    assert list(by_rule(report.findings).items()) == [("missing-name", 3), ("syntax-error", 1)]
    assert report.of_gate("routes") == (other,)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("report", [REPORT, HOSTILE, Report()], ids=["plain", "hostile", "empty"])
def test_the_order_of_what_is_given_changes_no_byte_and_every_byte_can_be_written(name: str, report: Report) -> None:
    turned = replace(
        report,
        findings=report.findings[::-1],
        checked=dict(sorted(report.checked.items(), reverse=True)),
        took_s=dict(sorted(report.took_s.items(), reverse=True)),
    )
    shown = renderer(name)(report)
    assert renderer(name)(turned).encode("utf-8") == shown.encode("utf-8")


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"terminal"}))
def test_only_the_terminal_shows_the_time_unasked(name: str) -> None:
    assert renderer(name)(REPORT) == renderer(name)(replace(REPORT, took_s={"imports": 99.0}))
    assert renderer("terminal")(REPORT) != renderer("terminal")(replace(REPORT, took_s={"imports": 99.0}))


def test_a_format_is_imported_when_it_is_asked_for_and_rich_for_the_terminal_alone() -> None:
    asked = (
        "import sys\n"
        "from realstack.gates.render import renderer\n"
        "from realstack.gates.report import Report\n"
        "assert 'realstack.gates.render.sarif' not in sys.modules\n"
        "for name in ('sarif', 'json', 'junit', 'github'): renderer(name)(Report())\n"
        "assert 'realstack.gates.render.sarif' in sys.modules\n"
        "assert 'realstack.gates.render.terminal' not in sys.modules\n"
        "assert 'rich' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", asked], check=True)
