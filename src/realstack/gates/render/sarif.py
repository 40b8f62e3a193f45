"""A report as SARIF 2.1.0, which code hosts and editors read."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from realstack.gates.finding import RULES, Finding, Rule
from realstack.gates.render.text import LONE_SURROGATES, escaped
from realstack.gates.report import Report
from realstack.version import __version__

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "realstackFinding/v1"
_LINK = re.compile(r"\[(?=[^\]]*\]\()")


def render(report: Report) -> str:
    """One run, in ASCII, with the rules that it has results of.

    A result's fingerprint holds no line: it stays the same where code is moved within its file.
    """
    gates = {finding.rule: finding.gate for finding in report.findings}
    names = sorted(gates)
    driver = {
        "name": "realstack",
        "version": __version__,
        "rules": [_rule(RULES.get(name) or Rule(name, gates[name], name)) for name in names],
    }
    results = [
        _result(finding, names.index(finding.rule), fingerprint)
        for finding, fingerprint in zip(report.findings, _fingerprints(report.findings), strict=True)
    ]
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=2) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    """Section 3.49."""
    says = f"{rule.says[:1].upper()}{rule.says[1:]}."
    return {
        "id": _encodable(rule.name),
        "shortDescription": {"text": _message(says)},
        "fullDescription": {"text": _message(says)},
        "help": {"text": _message(f"{says} realstack's docs/rules/{rule.name}.md says more.")},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": [_encodable(rule.gate)]},
    }


def _result(finding: Finding, rule_index: int, fingerprint: str) -> dict[str, Any]:
    """Section 3.27."""
    says = f"{finding.says}\n{finding.fix}" if finding.fix else finding.says
    return {
        "ruleId": _encodable(finding.rule),
        "ruleIndex": rule_index,
        "level": "error",
        "message": {"text": _message(says)},
        "locations": [_location(finding)],
        "partialFingerprints": {FINGERPRINT: fingerprint},
    }


def _location(finding: Finding) -> dict[str, Any]:
    """Section 3.28. The bytes of a path that is no UTF-8 survive in its address."""
    address = quote(finding.path, safe="/", errors="surrogateescape")
    physical: dict[str, Any] = {"artifactLocation": {"uri": address, "uriBaseId": "%SRCROOT%"}}
    if finding.line > 0:
        physical["region"] = {"startLine": finding.line}
    location: dict[str, Any] = {"physicalLocation": physical}
    if finding.symbol:
        location["logicalLocations"] = [{"fullyQualifiedName": _encodable(finding.symbol)}]
    return location


def _fingerprints(findings: tuple[Finding, ...]) -> Iterator[str]:
    """By what a finding is about, without its words. Those about the same thing are told apart by their order."""
    seen: Counter[tuple[str, ...]] = Counter()
    for finding in findings:
        about = (finding.gate, finding.rule, finding.path, finding.symbol)
        yield sha256(json.dumps([*about, seen[about]]).encode("ascii")).hexdigest()
        seen[about] += 1


def _message(text: str) -> str:
    """Literally: braces would be placeholders (section 3.11.5), and brackets may be links (section 3.11.6)."""
    return _LINK.sub(r"\\[", _encodable(text).replace("{", "{{").replace("}", "}}"))


def _encodable(text: str) -> str:
    return escaped(text, LONE_SURROGATES)
