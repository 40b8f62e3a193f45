"""The modules of a project as they are written: read and parsed once, and asked by all that look at their text."""

from __future__ import annotations

import ast
import gc
import io
import tokenize
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from realstack.gates.finding import Finding
from realstack.gates.imports.statements import ImportStatement, ModuleFacts, facts_of, import_statements
from realstack.gates.project import Module, Project


@contextmanager
def _uncollected() -> Iterator[None]:
    """Trees have no garbage, and are looked through again and again for it as they become more."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@dataclass(slots=True)
class Source:
    """A module's text, None where it cannot be read; its tree, None where it is no Python of this version."""

    module: Module
    text: str | None = None
    tree: ast.Module | None = None
    statements: list[ImportStatement] = field(default_factory=list)


class Sources:
    """All modules of a project. ``unreadable`` are findings of those that have no text."""

    def __init__(self, project: Project) -> None:
        self.by_name: dict[str, Source] = {}
        self.unreadable: list[Finding] = []
        self.packages = {module.name.partition(".")[0] for module in project.modules}
        with _uncollected():
            for module in project.modules:
                self.by_name[module.name] = self._read(module)
        self._below: dict[str, set[str]] = {}
        for name in self.by_name:
            parent, _, own = name.rpartition(".")
            self._below.setdefault(parent, set()).add(own)
        self._facts: dict[str, ModuleFacts | None] = {}

    def graph(self) -> dict[str, set[str]]:
        """For each module those of the project that its import may import, itself left out."""
        return {
            name: {found for one in source.statements if one.at_import for found in self._targets(one)} - {name}
            for name, source in self.by_name.items()
        }

    def others(self) -> dict[str, set[str]]:
        """The modules that are not the project's and are asked for at import, each with the names asked of it."""
        found: dict[str, set[str]] = {}
        for source in self.by_name.values():
            for one in source.statements:
                if one.at_import and one.module and one.module.partition(".")[0] not in self.packages:
                    found.setdefault(one.module, set()).update(name for name in one.names if name != "*")
        return found

    def facts(self, name: str) -> ModuleFacts | None:
        """What a module has, None if the project has no such module. Of others nothing is known: all may be there."""
        if name.partition(".")[0] not in self.packages:
            return ModuleFacts(frozenset(), open_ended=True)
        if name not in self._facts:
            self._facts[name] = self._found(name)
        return self._facts[name]

    def names(self, name: str) -> Collection[str] | None:
        """The names that a module of the project binds, its submodules too; None where that is not known."""
        facts = self.facts(name)
        return None if facts is None or facts.open_ended else facts.names | facts.submodules

    def _found(self, name: str) -> ModuleFacts | None:
        below = self._below.get(name, set())
        source = self.by_name.get(name)
        if source is None:
            return ModuleFacts(frozenset(), frozenset(below)) if below else None
        if source.tree is None:
            return ModuleFacts(frozenset(), frozenset(below), open_ended=True)
        return facts_of(source.tree, below)

    def _targets(self, statement: ImportStatement) -> set[str]:
        """The modules of the project that it names, or the nearest above them that there are."""
        if statement.module is None or statement.module.partition(".")[0] not in self.packages:
            return set()
        asked = {statement.module, *(f"{statement.module}.{name}" for name in statement.names)}
        return {found for each in asked if (found := self._nearest(each))}

    def _nearest(self, name: str) -> str:
        while name and name not in self.by_name:
            name = name.rpartition(".")[0]
        return name

    def _read(self, module: Module) -> Source:
        source = Source(module)
        try:
            content = module.path.read_bytes()
            encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
            source.text = content.decode(encoding)
        except (OSError, UnicodeDecodeError, SyntaxError, LookupError) as problem:
            said = problem.strerror if isinstance(problem, OSError) else str(problem)
            self.unreadable.append(
                Finding(
                    module.shown, 0, "imports", "unreadable-file", module.name, f"it cannot be read: {said}.",
                    "save it as UTF-8, or name its encoding in its first line.",
                )
            )  # fmt: skip
            return source
        with warnings.catch_warnings(action="ignore"):
            try:
                source.tree = ast.parse(source.text)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return source  # the project's own interpreter says so, if it is none to it either
        source.statements = import_statements(source.tree, module.name, module.is_package)
        return source
