"""A report for programs, as JSON."""

from __future__ import annotations

import json
from typing import Any

from realstack.gates.render.text import LONE_SURROGATES, escaped
from realstack.gates.report import Report, by_rule
from realstack.version import __version__

FORMAT_VERSION = 1
"""Rises when a key is taken away or means something else; a new key does not raise it."""


def render(report: Report, *, times: bool = False) -> str:
    """One object, in ASCII. ``checked`` is null where a gate does not tell it.

    How long the gates took is left out unless ``times``, as it differs from run to run.
    """
    shown = {
        "format_version": FORMAT_VERSION,
        "realstack": __version__,
        "gates": [_gate(report, gate, times) for gate in sorted(report.every_gate)],
        "counts": by_rule(report.findings),
        "findings": [finding.as_json() for finding in report.findings],
    }
    return json.dumps(_encodable(shown), indent=2) + "\n"


def _gate(report: Report, gate: str, times: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": gate, "checked": report.checked.get(gate), "found": len(report.of_gate(gate))}
    if times and gate in report.took_s:
        shown["took_s"] = round(report.took_s[gate], 3)
    return shown


def _encodable(value: Any) -> Any:
    """Parsers may refuse a whole document for one lone surrogate, even where it stands as an escape."""
    if isinstance(value, str):
        return escaped(value, LONE_SURROGATES)
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value
