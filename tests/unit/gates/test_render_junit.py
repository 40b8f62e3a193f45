"""What Jenkins and GitLab read."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest

from realstack.gates.render.junit import render
from realstack.gates.report import Report
from tests.unit.gates.reports import CONTROL, HOSTILE, LINES, LONG, PATHS, PLAIN, REPORT, WHOLE_FILE, XML, of

ITEMS = {"imports": ("src/shop/orders.py", "src/shop/money.py"), "routes": ("src/shop/web.py",)}
ALLOWED = {
    "testsuites": {"name", "tests", "failures", "errors", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "classname"},
    "failure": {"message", "type"},
}
"""A subset of what the schemas of Jenkins and of Ant's reports both know."""
NEEDED = {"testsuite": {"name", "tests", "failures", "errors"}, "testcase": {"name"}, "property": {"name", "value"}}
WITHIN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase"},
    "properties": {"property"},
    "testcase": {"failure"},
}


def parsed(text: str) -> Element:
    """The root, of bytes as they would be in the file."""
    return ElementTree.fromstring(text.encode("utf-8"))  # noqa: S314 - written by the code under test


def case(root: Element, name: str) -> Element:
    """The one of that name."""
    [found] = [each for each in root.iter("testcase") if each.get("name") == name]
    return found


@pytest.mark.parametrize(
    "report", [REPORT, replace(REPORT, items=ITEMS), HOSTILE, Report()], ids=["plain", "items", "hostile", "empty"]
)
def test_it_has_the_structure_of_the_schema_and_its_counts_are_right(report: Report) -> None:
    root = parsed(render(report, times=True))
    assert root.tag == "testsuites"
    for element in root.iter():
        assert NEEDED.get(element.tag, set()) <= set(element.attrib) <= ALLOWED[element.tag]
        assert {child.tag for child in element} <= WITHIN.get(element.tag, set())
        if element.tag in ("testsuite", "testsuites"):
            assert element.get("tests") == str(len(list(element.iter("testcase"))))
            assert element.get("failures") == str(len(list(element.iter("failure"))))
            assert element.get("errors") == "0"
            assert re.fullmatch(r"\d+\.\d{3}", element.get("time", "0.000"))
    assert [suite.get("name") for suite in root] == list(report.every_gate)


def test_every_item_is_a_case_and_those_with_findings_fail() -> None:
    root = parsed(render(replace(REPORT, items=ITEMS)))
    found = {(each.get("classname"), each.get("name")): len(each) for each in root.iter("testcase")}
    assert found == {
        ("realstack.imports", "src/shop/cart.py"): 1,
        ("realstack.imports", "src/shop/money.py"): 0,
        ("realstack.imports", "src/shop/orders.py"): 1,
        ("realstack.routes", "src/shop/web.py"): 0,
    }


def test_a_failure_has_the_rule_as_type_the_sentence_as_message_and_the_place_in_its_text() -> None:
    [failure] = case(parsed(render(REPORT)), "src/shop/cart.py")
    assert failure.attrib == {"message": "No Python.", "type": "syntax-error"}
    assert failure.text == f"src/shop/cart.py: syntax-error: No Python.\n    {WHOLE_FILE.fix}"


def test_several_findings_of_one_item_are_one_failure_that_tells_all() -> None:
    [failure] = case(parsed(render(REPORT)), "src/shop/orders.py")
    assert failure.get("message") == f"{PLAIN.says} (and 1 more)"
    text = failure.text or ""
    assert [line.split(": ")[0] for line in text.splitlines() if line[0] != " "] == [
        "src/shop/orders.py:12",
        "src/shop/orders.py:40",
    ]


def test_a_gate_that_found_nothing_has_a_case_that_passes_and_how_much_it_checked() -> None:
    suite = parsed(render(REPORT))[1]
    assert [dict(each.attrib) for each in suite.iter("testcase")] == [
        {"classname": "realstack.routes", "name": "nothing found"}
    ]
    assert [dict(each.attrib) for each in suite.iter("property")] == [{"name": "checked", "value": "7"}]
    assert list(parsed(render(of())).iter("property")) == []


def test_times_are_shown_when_asked_for() -> None:
    assert [suite.get("time") for suite in parsed(render(REPORT, times=True))] == ["1.234", "0.500"]
    assert [suite.get("time") for suite in parsed(render(REPORT))] == [None, None]


@pytest.mark.parametrize("says", [XML, LINES, LONG])
def test_text_comes_back_as_it_was(says: str) -> None:
    [failure] = case(parsed(render(of(replace(PLAIN, path=PATHS[2], says=says)))), PATHS[2])
    assert failure.get("message") == says
    # A parser makes one newline of each kind of line break in text, by section 2.11 of XML 1.0.
    assert says.replace("\r\n", "\n").replace("\r", "\n") in (failure.text or "")


def test_characters_that_xml_forbids_are_written_as_escapes() -> None:
    path = "a/\x00.py"
    [failure] = case(parsed(render(of(replace(PLAIN, path=path, says=CONTROL)))), r"a/\x00.py")
    wanted = "\\x1b[31mred\\x00\\x08\x7f\x9b \u202eback\u2066 \\ufffe \\udc80"
    assert failure.get("message") == wanted
    assert wanted in (failure.text or "")


def test_the_file_says_what_it_is() -> None:
    shown = render(REPORT)
    assert shown.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ')
    assert shown.endswith("</testsuites>\n")
