"""What programs read."""

from __future__ import annotations

import json
from dataclasses import fields, replace

from realstack import __version__
from realstack.gates.finding import Finding
from realstack.gates.render.as_json import FORMAT_VERSION, render
from realstack.gates.report import Report
from tests.unit.gates.reports import HOSTILE, PLAIN, REPORT, of


def test_the_object_holds_the_versions_the_gates_the_counts_and_the_findings() -> None:
    shown = json.loads(render(REPORT))
    assert list(shown) == ["format_version", "realstack", "gates", "counts", "findings"]
    assert (shown["format_version"], shown["realstack"]) == (FORMAT_VERSION, __version__)
    assert shown["gates"] == [
        {"name": "imports", "checked": 412, "found": 3},
        {"name": "routes", "checked": 7, "found": 0},
    ]
    assert shown["counts"] == {"missing-name": 2, "syntax-error": 1}
    assert shown["findings"] == [finding.as_json() for finding in REPORT.findings]


def test_a_findings_keys_have_the_order_of_its_fields() -> None:
    names = [each.name for each in fields(Finding)]
    assert [list(finding) for finding in json.loads(render(REPORT))["findings"]] == [names] * 3


def test_gates_are_sorted_whatever_order_they_ran_in() -> None:
    assert render(replace(REPORT, gates=REPORT.gates[::-1])) == render(REPORT)


def test_nothing_found_is_an_empty_list() -> None:
    shown = json.loads(render(Report(gates=("imports",))))
    assert (shown["findings"], shown["counts"]) == ([], {})
    assert shown["gates"] == [{"name": "imports", "checked": None, "found": 0}]


def test_times_are_shown_when_asked_for() -> None:
    shown = json.loads(render(replace(REPORT, took_s={"imports": 0.12345}), times=True))
    assert [gate.get("took_s") for gate in shown["gates"]] == [0.123, None]


def test_the_text_is_ascii_and_ends_with_one_newline() -> None:
    shown = render(HOSTILE)
    assert shown.isascii()
    assert shown.endswith("}\n")


def test_hostile_text_comes_back_as_it_was() -> None:
    fit = tuple(each for each in HOSTILE.findings if "\udc80" not in each.path + each.says)
    assert len(fit) > 10
    assert json.loads(render(of(*fit)))["findings"] == [finding.as_json() for finding in fit]


def test_a_path_that_is_no_unicode_leaves_the_document_readable() -> None:
    [shown] = json.loads(render(of(replace(PLAIN, path="a/\udc80.py"))))["findings"]
    assert shown["path"] == r"a/\udc80.py"
