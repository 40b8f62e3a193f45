"""The gate ``imports``: what would fail in production for want of a module or a name."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from realstack.errors import RealstackError
from realstack.gates.finding import Finding
from realstack.gates.imports import causes
from realstack.gates.imports.bindings import set_on_modules
from realstack.gates.imports.dependencies import dependencies_of
from realstack.gates.imports.sources import Sources
from realstack.gates.imports.statements import unresolved
from realstack.gates.imports.unbound import undefined_names
from realstack.gates.imports.verdicts import Interpreter, Verdict
from realstack.gates.project import Module, Project

SAMPLE = 3
"""Modules that went well, and are tried in an interpreter of their own too, to see that it is so."""


def check(project: Project, interpreter: Interpreter, *, use_forks: bool = hasattr(os, "fork")) -> list[Finding]:
    """All findings, sorted. Without forks each module is imported in an interpreter of its own.

    :raises RealstackError: the interpreter cannot run, or the verdicts of forks and of fresh interpreters differ.
    """
    sources = Sources(project)
    modules = {module.name: module for module in project.modules}
    failed, unsteady = _tried(modules, sources, interpreter, use_forks=use_forks)
    needed = dependencies_of(project.root)
    known = causes.Known(project, sources.names, needed.declared, needed.optional, Commits(project.root).that_removed)
    unreadable = {finding.path for finding in sources.unreadable}
    by_import = [one for one in causes.findings_of(failed, known) if one.path not in unreadable]
    return sorted([*sources.unreadable, *unsteady, *_merged(by_import, _by_text(sources))])


def _tried(
    modules: dict[str, Module], sources: Sources, interpreter: Interpreter, *, use_forks: bool
) -> tuple[list[Verdict], list[Finding]]:
    """The modules whose import fails, and the findings of those that fail at times."""
    tried = [name for name, module in modules.items() if not module.is_program]
    warm = sorted(sources.others().items())
    by_forks = interpreter.by_forks(tried, sources.graph(), warm) if use_forks else {}
    doubtful = [name for name in tried if name not in by_forks or not by_forks[name].is_fine]
    fine = [name for name in tried if name in by_forks and by_forks[name].is_fine]
    sample = random.Random(len(fine)).sample(fine, min(SAMPLE, len(fine)))  # noqa: S311 - the same in each run
    fresh = interpreter.fresh([*doubtful, *sample])
    for name in sample:
        if not fresh[name].is_fine:
            raise RealstackError(
                f"{name} was imported by forks, and fails in a fresh interpreter: {fresh[name].message}.",
                remedy="this is a fault of realstack's: report it with the module; --no-fork tries each module alone.",
            )
    failed = [fresh[name] for name in doubtful if not fresh[name].is_fine]
    unsteady = [
        causes.flaky(by_forks[name], fresh[name], modules[name])
        for name in doubtful
        if fresh[name].is_fine and name in by_forks
    ]
    return failed, unsteady


def _by_text(sources: Sources) -> list[Finding]:
    given: dict[str, set[str]] = {}
    trees = {name: source.tree for name, source in sources.by_name.items() if source.tree is not None}
    for tree in trees.values():
        for name, attribute in set_on_modules(tree):
            given.setdefault(name, set()).add(attribute)
    found: list[Finding] = []
    for name in trees:
        source = sources.by_name[name]
        found += unresolved(source.statements, sources.facts, source.module.shown)
        found += undefined_names(source.text or "", source.module.shown, given.get(name.rpartition(".")[2], ()))
    return found


def _merged(by_import: Iterable[Finding], by_text: Sequence[Finding]) -> list[Finding]:
    """Both, without what the import says of a name that the text tells more of."""
    told = {(each.path, each.line) for each in by_text if each.rule == "undefined-name"}
    rest = [each for each in by_import if each.rule != "undefined-name" or (each.path, each.line) not in told]
    return [*rest, *by_text]


class Commits:
    """What git knows of files and names that are gone. Where there is no git, or no repository, it knows nothing."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def that_removed(self, path: Path, name: str) -> str:
        """The commit that took the file, or the last one that added or took away the name in it; "" for none."""
        search = [f"-S{name}"] if name else ["--diff-filter=D"]
        command = ["git", "log", "-1", "--format=%h (%s)", *search, "--", str(path)]
        try:
            found = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return found.stdout.strip()
