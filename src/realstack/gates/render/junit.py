"""A report as JUnit XML, as Jenkins and GitLab read it: a gate is a suite, what it looked at is its cases."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from realstack.gates.finding import Finding
from realstack.gates.render.text import escaped
from realstack.gates.report import Report

# XML 1.0, section 2.2: the characters outside of Char cannot be written at all, not even as references.
_UNFIT = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(report: Report, *, times: bool = False) -> str:
    """Every item is a case, named by its path; one with findings fails. What XML forbids is written as an escape.

    A gate that has neither items nor findings gets one case that passes, as a suite without cases counts as not run.
    How long the gates took is left out unless ``times``, as it differs from run to run.
    """
    root = Element("testsuites", name="realstack")
    for gate in report.every_gate:
        root.append(_suite(report, gate, times))
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in root)))
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(report: Report, gate: str, times: bool) -> Element:
    findings: dict[str, list[Finding]] = {}
    for finding in report.of_gate(gate):
        findings.setdefault(finding.path, []).append(finding)
    paths = sorted({*report.items.get(gate, ()), *findings}) or ["nothing found"]
    counts = {"tests": len(paths), "failures": len(findings), "errors": 0, "skipped": 0}
    suite = Element("testsuite", _fit({"name": gate, **{name: str(count) for name, count in counts.items()}}))
    if times and gate in report.took_s:
        suite.set("time", f"{report.took_s[gate]:.3f}")
    if gate in report.checked:
        SubElement(SubElement(suite, "properties"), "property", name="checked", value=str(report.checked[gate]))
    for path in paths:
        # Jenkins takes what stands before the last dot for a package, and shows the packages.
        case = SubElement(suite, "testcase", _fit({"classname": f"realstack.{gate}", "name": path}))
        if path in findings:
            case.append(_failure(findings[path]))
    return suite


def _failure(findings: list[Finding]) -> Element:
    """One for all of a case's findings: GitLab reads no second one."""
    first, *others = findings
    message = f"{first.says} (and {len(others)} more)" if others else first.says
    failure = Element("failure", _fit({"message": message, "type": first.rule}))
    failure.text = escaped("\n".join(_paragraph(finding) for finding in findings), _UNFIT)
    return failure


def _paragraph(finding: Finding) -> str:
    where = f"{finding.path}:{finding.line}" if finding.line > 0 else finding.path
    return f"{where}: {finding.rule}: {finding.says}" + (finding.fix and f"\n    {finding.fix}")


def _fit(attributes: dict[str, str]) -> dict[str, str]:
    return {name: escaped(value, _UNFIT) for name, value in attributes.items()}
