"""What a gate found, and the rules that it may have found it by. Values only, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong, at one place.

    ``path`` is relative to the root of the project, with ``/``; ``line`` counts from 1, 0: the file. ``symbol`` is
    the dotted name of what it is about, which stays the same where code is moved within its file. ``says`` is one
    sentence for a reader, ``fix`` what to do. Findings sort by path, then line.
    """

    path: str
    line: int
    gate: str
    rule: str
    symbol: str
    says: str
    fix: str = ""

    def as_json(self) -> dict[str, str | int]:
        """By the names of the fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule has a name that never changes, and a page ``docs/rules/<name>.md``. ``says``: what it finds, in short."""

    name: str
    gate: str
    says: str


def _rules(gate: str, **says: str) -> dict[str, Rule]:
    return {name.replace("_", "-"): Rule(name.replace("_", "-"), gate, what) for name, what in says.items()}


SHARED = "all"
RULES: dict[str, Rule] = {
    **_rules(
        SHARED,
        allowance_without_reason="an allowance that gives no reason",
        allowance_unused="an allowance of what is no longer found, or of a rule that is none",
    ),
    **_rules(
        "imports",
        unreadable_file="a file that cannot be read or decoded",
        syntax_error="a file that is no Python to the project's interpreter",
        missing_package="an import of a distribution that is not installed",
        optional_package="an import of a distribution that only an extra of the project declares",
        missing_module="an import of a module of the project that is not there",
        missing_name="an import of a name that its module does not have",
        circular_import="modules that import each other, and fail from one of them",
        environment_at_import="an environment variable that has to be set at import",
        error_at_import="an exception in a module's own code at import",
        exit_at_import="a module that ends the process at import",
        crash_at_import="a module that kills the interpreter at import",
        timeout_at_import="a module whose import comes to no end",
        flaky_import="a module whose import fails at times",
        undefined_name="a name that is bound nowhere",
        unresolved_import="an import inside a function, or for type checkers alone, of what is not there",
        missing_attribute="an attribute that its module does not have",
    ),
}
"""Every rule by its name."""
