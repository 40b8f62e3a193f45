"""What code hosts read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from realstack import __version__
from realstack.gates.finding import RULES
from realstack.gates.render.sarif import FINGERPRINT, render
from realstack.gates.report import Report
from tests.unit.gates.reports import HOSTILE, MARKUP, PATHS, PLAIN, REPORT, SECOND, of


def run(report: Report) -> dict[str, Any]:
    """The one run of its log."""
    [found] = json.loads(render(report))["runs"]
    assert isinstance(found, dict)
    return found


def fingerprints(report: Report) -> list[str]:
    """Of its results."""
    return [result["partialFingerprints"][FINGERPRINT] for result in run(report)["results"]]


@pytest.mark.parametrize("report", [REPORT, HOSTILE, Report()], ids=["plain", "hostile", "empty"])
def test_it_has_what_the_schema_requires(report: Report) -> None:
    log = json.loads(render(report))
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    [only] = log["runs"]
    assert set(only) == {"tool", "results"}
    driver = only["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("realstack", __version__)
    names = [rule["id"] for rule in driver["rules"]]
    assert len(names) == len(set(names))
    assert set(names) == {finding.rule for finding in report.findings}
    for rule in driver["rules"]:
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription", "help"))
    assert len(only["results"]) == len(report.findings)
    for result in only["results"]:
        assert_is_a_result(result, names)


def assert_is_a_result(result: dict[str, Any], rules: list[str]) -> None:
    """Sections 3.27 to 3.30, as far as they bind what is used of them."""
    known = {"ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"}
    assert set(result) == known
    assert rules[result["ruleIndex"]] == result["ruleId"]
    assert result["level"] in ("none", "note", "warning", "error")
    assert isinstance(result["message"]["text"], str)
    [location] = result["locations"]
    assert set(location) <= {"physicalLocation", "logicalLocations"}
    artifact = location["physicalLocation"]["artifactLocation"]
    assert set(artifact) == {"uri", "uriBaseId"}
    address = urlsplit(artifact["uri"])
    assert (address.scheme, address.netloc, address.query, address.fragment) == ("", "", "", "")
    assert re.fullmatch(r"(?:[A-Za-z0-9._~/-]|%[0-9A-F]{2})+", artifact["uri"])
    assert not artifact["uri"].startswith("/")
    region = location["physicalLocation"].get("region", {"startLine": 1})
    assert set(region) == {"startLine"}
    assert region["startLine"] >= 1
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in result["partialFingerprints"].values())


def test_a_finding_of_a_whole_file_has_no_region() -> None:
    regions = [result["locations"][0]["physicalLocation"].get("region") for result in run(REPORT)["results"]]
    assert regions == [None, {"startLine": 12}, {"startLine": 40}]


def test_a_result_tells_the_sentence_the_fix_and_the_symbol() -> None:
    [result] = run(of(PLAIN))["results"]
    assert result["message"] == {"text": f"{PLAIN.says}\n{PLAIN.fix}"}
    assert result["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": PLAIN.symbol}]
    [result] = run(of(replace(PLAIN, symbol="", fix="")))["results"]
    assert result["message"] == {"text": PLAIN.says}
    assert "logicalLocations" not in result["locations"][0]


def test_rules_are_those_with_results_and_have_their_help() -> None:
    rules = run(REPORT)["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["missing-name", "syntax-error"]
    wanted = RULES["missing-name"].says
    assert rules[0]["shortDescription"]["text"].lower() == f"{wanted}.".lower()
    assert "docs/rules/missing-name.md" in rules[0]["help"]["text"]


def test_a_rule_that_the_table_does_not_know_is_a_rule_all_the_same() -> None:
    [rule] = run(of(replace(PLAIN, rule="brand-new", gate="other")))["tool"]["driver"]["rules"]
    assert (rule["id"], rule["properties"]) == ("brand-new", {"tags": ["other"]})


@pytest.mark.parametrize("path", PATHS)
def test_an_address_leads_back_to_its_path(path: str) -> None:
    [result] = run(of(replace(PLAIN, path=path)))["results"]
    address = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote(address, errors="surrogateescape") == path


def test_fingerprints_stay_where_code_is_moved_or_a_sentence_reworded() -> None:
    moved = [replace(each, line=each.line + 100, says=f"In line {each.line + 100}.") for each in (PLAIN, SECOND)]
    assert fingerprints(of(*moved)) == fingerprints(of(PLAIN, SECOND))


def test_fingerprints_differ_by_all_that_a_finding_is_about() -> None:
    others = (
        PLAIN,
        replace(PLAIN, path="x.py"),
        replace(PLAIN, rule="syntax-error"),
        replace(PLAIN, symbol="x"),
        replace(PLAIN, gate="x"),
    )
    assert len({fingerprints(of(other))[0] for other in others}) == 5


def test_two_findings_about_the_same_have_two_fingerprints() -> None:
    twice = fingerprints(of(PLAIN, replace(PLAIN, line=13)))
    assert len(set(twice)) == 2
    assert twice[:1] == fingerprints(of(PLAIN))


def test_braces_and_brackets_of_the_project_are_neither_placeholders_nor_links() -> None:
    [result] = run(of(replace(PLAIN, says=MARKUP, fix="")))["results"]
    assert result["message"]["text"] == (
        r"[bold]no[/bold] [/] [link=http://there]here[/link] :boom: {{0}} \[a](http://there)"
    )


def test_the_text_is_ascii_and_ends_with_one_newline() -> None:
    assert render(HOSTILE).isascii()
    assert render(HOSTILE).endswith("}\n")
    assert r"\\udc80" in render(of(replace(PLAIN, says="\udc80")))
