"""``realstack check``: runs the gates over the project, and prints what they found."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from realstack.cli import exit_codes
from realstack.config import CheckSettings, find_root, load_check_settings
from realstack.errors import SettingsError
from realstack.gates.report import Report

GATES = ("imports",)
"""Those that there are."""


def check(
    gates: Annotated[list[str] | None, typer.Argument(help=f"{', '.join(GATES)}, or all.")] = None,
    package: Annotated[list[str] | None, typer.Option(help="A package, by name or path; as often as needed.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="A pattern of what is left out; replaces the rest.")] = None,
    python: Annotated[str, typer.Option(help="The project's interpreter.")] = "",
    output: Annotated[str, typer.Option("--format", help="terminal, json, junit, sarif or github.")] = "terminal",
    fork: Annotated[bool, typer.Option(help="Share what modules import; else each is imported alone.")] = True,
) -> None:
    """Look at the code for what would break in production. Exit code 1 if there are findings."""
    from realstack.gates.render import FORMATS, renderer

    wanted = _wanted(gates or ["all"])
    if output not in FORMATS:
        raise SettingsError(f"there is no format {output!r}.", remedy=f"choose one of {', '.join(FORMATS)}.")
    root = find_root(Path.cwd())
    settings = load_check_settings(root)
    chosen = CheckSettings(
        tuple(package or settings.packages),
        tuple(exclude or settings.exclude),
        python or settings.python,
        settings.timeout_s,
    )
    report = _report(root, chosen, wanted, fork=fork)
    if output == "terminal":
        from realstack.gates.render.terminal import render

        text = render(report, width=_width(), colour=sys.stdout.isatty())
    else:
        text = renderer(output)(report)
    sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
    raise typer.Exit(exit_codes.FAILED if report.findings else exit_codes.FINE)


def interpreter_of(root: Path, named: str) -> Path:
    """The project's Python: as named, the active environment's, that of ``.venv``, else the one that runs this.

    :raises SettingsError: the one that is named is not there.
    """
    if named:
        path = root / named
        if not path.is_file():
            raise SettingsError(f"there is no interpreter at {path}.", remedy="name a Python program: --python PATH.")
        return path
    below = Path("Scripts/python.exe") if os.name == "nt" else Path("bin/python")
    for folder in (os.environ.get("VIRTUAL_ENV", ""), str(root / ".venv")):
        if folder and (Path(folder) / below).is_file():
            return Path(folder) / below
    return Path(sys.executable)


def _report(root: Path, settings: CheckSettings, gates: Sequence[str], *, fork: bool) -> Report:
    from realstack.gates import allowances
    from realstack.gates.imports import gate as imports
    from realstack.gates.imports.verdicts import Interpreter
    from realstack.gates.project import find_project

    began = time.monotonic()
    project = find_project(root, settings.packages, settings.exclude)
    interpreter = Interpreter(interpreter_of(root, settings.python), project.roots, project.root, settings.timeout_s)
    findings = imports.check(project, interpreter, use_forks=fork and hasattr(os, "fork"))
    paths = {module.shown: module.path for module in project.modules}
    findings = allowances.apply(findings, lambda shown: _content(paths.get(shown)), gates_run=gates, paths=paths)
    return Report(
        tuple(findings),
        tuple(gates),
        checked={"imports": len(project.modules)},
        took_s={"imports": time.monotonic() - began},
        items={"imports": tuple(paths)},
    )


def _content(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError:
        return None


def _wanted(named: Sequence[str]) -> list[str]:
    for name in named:
        if name not in (*GATES, "all"):
            raise SettingsError(f"there is no gate {name!r}.", remedy=f"choose of {', '.join(GATES)}, or all.")
    return [name for name in GATES if name in named or "all" in named]


def _width() -> int | None:
    return os.get_terminal_size().columns if sys.stdout.isatty() else None
