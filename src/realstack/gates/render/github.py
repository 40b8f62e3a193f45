"""A report as GitHub's workflow commands, which it shows at the lines of a change."""

from __future__ import annotations

import re

from realstack.gates.finding import Finding
from realstack.gates.render.text import escaped
from realstack.gates.report import Report

# A job's log shows colours: an escape sequence in a message could hide what comes after it.
_UNFIT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def render(report: Report) -> str:
    """One ``::error`` a line for each finding, and nothing else: no finding, no text."""
    return "".join(f"{_command(finding)}\n" for finding in report.findings)


def _command(finding: Finding) -> str:
    properties = {"file": finding.path, "line": str(finding.line), "title": f"{finding.gate} {finding.rule}"}
    if finding.line <= 0:
        del properties["line"]
    shown = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    says = f"{finding.says}\n{finding.fix}" if finding.fix else finding.says
    return f"::error {shown}::{_message(says)}"


def _property(value: str) -> str:
    return _message(value).replace(":", "%3A").replace(",", "%2C")


def _message(value: str) -> str:
    """``%`` goes first: it is what the others are escaped with."""
    return escaped(value, _UNFIT).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
