"""A report as text. Adding a format is one module here and one line in :data:`FORMATS`.

A renderer is pure: the same report gives the same text. What it shows of the project is never taken for markup.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from realstack.gates.report import Report

Renderer = Callable[[Report], str]

FORMATS = {
    "terminal": "realstack.gates.render.terminal:render",
    "json": "realstack.gates.render.as_json:render",
    "junit": "realstack.gates.render.junit:render",
    "sarif": "realstack.gates.render.sarif:render",
    "github": "realstack.gates.render.github:render",
}


def renderer(name: str) -> Renderer:
    """The renderer of that format; its module is imported only now."""
    module, _, function = FORMATS[name].partition(":")
    found: Renderer = getattr(import_module(module), function)
    return found
