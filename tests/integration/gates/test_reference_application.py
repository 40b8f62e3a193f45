"""The reference application passes the gates that there are, with no baseline."""

from __future__ import annotations

import sys
from pathlib import Path

from realstack.config import EXCLUDED
from realstack.gates.imports.gate import check
from realstack.gates.imports.verdicts import Interpreter
from realstack.gates.project import find_project

ROOT = Path(__file__).parents[3]


def test_nothing_is_found_in_it() -> None:
    project = find_project(ROOT, ["examples/netra/netra_backend"], EXCLUDED)
    assert len(project.modules) > 5
    assert check(project, Interpreter(Path(sys.executable), project.roots, ROOT)) == []
