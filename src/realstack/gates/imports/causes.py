"""Why a module cannot be imported: from what became of its import to a finding at the place where it went wrong."""

from __future__ import annotations

import difflib
import re
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from realstack.gates.finding import Finding
from realstack.gates.imports.dependencies import normalised
from realstack.gates.imports.verdicts import Verdict
from realstack.gates.project import Module, Project

GATE = "imports"
DISTRIBUTIONS = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "git": "GitPython",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "multipart": "python-multipart",
    "PIL": "Pillow",
    "psycopg2": "psycopg2-binary",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
"""Well-known distributions whose packages have another name."""

_NO_BINDING = re.compile(r"name '(?P<name>[^']+)' is not defined")
_NO_NAME = re.compile(
    r"cannot import name '(?P<name>[^']+)' from (?P<partly>partially initialized module )?'(?P<module>[^']+)'"
)
_NO_ATTRIBUTE = re.compile(
    r"(?P<partly>partially initialized )?module '(?P<module>[^']+)' has no attribute '(?P<name>[^']+)'"
)


@dataclass(frozen=True, slots=True)
class Known:
    """What the causes are told by. ``names_of``: the names that a module of the project binds, None: it is not known.

    ``declared``: the distributions that the project asks for; ``optional``: those of its extras, with the extra.
    ``removed``: the commit that took a file or a name away, from a path and a name ("": the file), or "".
    """

    project: Project
    names_of: Callable[[str], Iterable[str] | None]
    declared: frozenset[str] = frozenset()
    optional: Mapping[str, str] | None = None
    removed: Callable[[Path, str], str] = lambda _path, _name: ""


def findings_of(verdicts: Iterable[Verdict], known: Known) -> list[Finding]:
    """One finding for each cause, however many modules it keeps from being imported."""
    by_cause: dict[Finding, list[str]] = {}
    for verdict in verdicts:
        by_cause.setdefault(_cause(verdict, known), []).append(verdict.module)
    return sorted(_with_count(finding, modules, known) for finding, modules in by_cause.items())


def flaky(first: Verdict, second: Verdict, module: Module) -> Finding:
    """Of a module that failed, and did not when it was tried again alone."""
    went = {"raised": f"{first.type}: {first.message}", "timeout": "no end", "crash": "a crash", "exit": "an exit"}
    return Finding(
        module.shown,
        0,
        GATE,
        "flaky-import",
        module.name,
        f"its import failed ({went.get(first.outcome, first.outcome)}), and went well when it was tried again "
        f"({second.seconds:.1f} s).",
        "let it depend on nothing that changes from one import to the next: time, network, what else was imported.",
    )


def _cause(verdict: Verdict, known: Known) -> Finding:
    module = _module(verdict.module, known)
    where, line = _place(verdict, known) or (module, 0)
    if verdict.outcome != "raised":
        return _ended(verdict, where, line)
    if "SyntaxError" in verdict.kinds:
        return _syntax(verdict, where, known)
    return _of_a_name(verdict, where, line, known) or _of_its_code(verdict, where, line)


def _of_a_name(verdict: Verdict, where: Module, line: int, known: Known) -> Finding | None:
    """Of a module, name or attribute that is not there."""
    kinds, message = set(verdict.kinds), verdict.message
    if "ModuleNotFoundError" in kinds:
        return _no_module(verdict.name, where, line, known) if verdict.name else None
    is_import = "ImportError" in kinds
    found = (
        (_NO_NAME if is_import else _NO_ATTRIBUTE).search(message)
        if kinds & {"ImportError", "AttributeError"}
        else None
    )
    if found is None:
        return None
    if found["partly"]:
        return _circular(verdict, found["module"], found["name"], where, line)
    return (_no_name if is_import else _no_attribute)(found["module"], found["name"], where, line, known)


def _of_its_code(verdict: Verdict, where: Module, line: int) -> Finding:
    unbound = _NO_BINDING.search(verdict.message) if "NameError" in verdict.kinds else None
    if unbound:  # by its words: before Python 3.10 the exception has no name
        symbol, says = f"{where.name}:{unbound['name']}", f"the name {unbound['name']!r} is bound nowhere."
        return Finding(where.shown, line, GATE, "undefined-name", symbol, says, "import or define it.")
    if "KeyError" in verdict.kinds and verdict.frames and verdict.frames[-1][3] == "os":
        says = f"the environment variable {verdict.name} has to be set for its import."
        fix, symbol = "read it when it is used, or give it a default.", f"{where.name}:{verdict.name}"
        return Finding(where.shown, line, GATE, "environment-at-import", symbol, says, fix)
    first = verdict.message.strip().partition("\n")[0]
    says = f"its import raises {verdict.type}{f': {first}' if first else ''}."
    cause = f"it began with {verdict.cause}." if verdict.cause else ""
    return Finding(where.shown, line, GATE, "error-at-import", f"{where.name}:{verdict.type}", says, cause)


def _ended(verdict: Verdict, where: Module, line: int) -> Finding:
    if verdict.outcome == "timeout":
        return Finding(
            where.shown, line, GATE, "timeout-at-import", where.name,
            f"its import had come to no end after {verdict.seconds:.0f} s.",
            "let nothing wait, serve or loop at import; put it into a function.",
        )  # fmt: skip
    if verdict.outcome == "crash":
        name = signal.Signals(verdict.signal).name if verdict.signal in set(signal.Signals) else str(verdict.signal)
        return Finding(
            where.shown, line, GATE, "crash-at-import", where.name,
            f"its import killed the interpreter ({name}).",
            "look at the extension modules that it imports: python -X faulthandler -c 'import …'.",
        )  # fmt: skip
    how = verdict.message or f"status {verdict.status}"
    return Finding(
        where.shown, line, GATE, "exit-at-import", where.name,
        f"its import ended the process ({how}).",
        "put what runs a program under `if __name__ == \"__main__\":`.",
    )  # fmt: skip


def _syntax(verdict: Verdict, where: Module, known: Known) -> Finding:
    module = next((each for each in known.project.modules if str(each.path) == verdict.file), where)
    fix = "mend it, or check the project with the Python that it is written for: --python."
    return Finding(module.shown, verdict.at or 0, GATE, "syntax-error", module.name, f"{verdict.message}.", fix)


def _no_module(name: str, where: Module, line: int, known: Known) -> Finding:
    top = name.partition(".")[0]
    symbol = f"{where.name}:{name}"
    ours = [each.name for each in known.project.modules]
    if top in {each.partition(".")[0] for each in ours}:
        says = f"it imports {name}, and there is no such module."
        return Finding(
            where.shown, line, GATE, "missing-module", symbol, says, _nearest(name, ours, _removed(name, known))
        )
    distribution = DISTRIBUTIONS.get(top, top)
    plain = normalised(distribution)
    extra = (known.optional or {}).get(plain)
    if plain in known.declared:
        says = f"it imports {name}, which is declared, and not installed in this environment."
        return Finding(where.shown, line, GATE, "missing-package", symbol, says, "install the project's dependencies.")
    if extra is not None:
        says = f"it imports {name}, which only the extra {extra!r} of the project installs."
        fix = f"install the extra, or import {top} where it is used and say there what is missing."
        return Finding(where.shown, line, GATE, "optional-package", symbol, says, fix)
    says = f"it imports {name}, which is not installed, and not among the project's dependencies."
    return Finding(
        where.shown, line, GATE, "missing-package", symbol, says, f"declare {distribution}, or import it no more."
    )


def _no_name(module: str, name: str, where: Module, line: int, known: Known) -> Finding:
    says = f"it imports {name} from {module}, which has no such name."
    names = known.names_of(module)
    if names is None:
        fix = f"look which version of {module.partition('.')[0]} is installed: others may have it."
    else:
        fix = _nearest(name, names, _removed(module, known, name))
    return Finding(where.shown, line, GATE, "missing-name", f"{where.name}:{module}.{name}", says, fix)


def _no_attribute(module: str, name: str, where: Module, line: int, known: Known) -> Finding:
    says = f"it uses {module}.{name}, and {module} has no such attribute."
    names = known.names_of(module)
    fix = f"import {module}.{name}, if it is a module." if names is None else _nearest(name, names, "")
    return Finding(where.shown, line, GATE, "missing-attribute", f"{where.name}:{module}.{name}", says, fix)


def _circular(verdict: Verdict, module: str, name: str, where: Module, line: int) -> Finding:
    """The cycle is what was being imported since ``module`` began."""
    order = list(dict.fromkeys(frame[3] for frame in verdict.frames if frame[2] == "<module>"))
    cycle = [*order[order.index(module) :], module] if module in order else [module, where.name, module]
    says = f"it needs {name} of {module}, whose own import waits for it: {' → '.join(cycle)}."
    fix = "import it inside the function that uses it, or move what both need into a module of its own."
    return Finding(where.shown, line, GATE, "circular-import", f"{where.name}:{module}.{name}", says, fix)


def _place(verdict: Verdict, known: Known) -> tuple[Module, int] | None:
    """The innermost line of the project's."""
    by_path = {str(each.path): each for each in known.project.modules}
    for file, line, _, _ in reversed(verdict.frames):
        if file in by_path:
            return by_path[file], line
    return None


def _module(name: str, known: Known) -> Module:
    return next(each for each in known.project.modules if each.name == name)


def _removed(module: str, known: Known, name: str = "") -> str:
    parts = module.split(".")
    for each in known.project.modules:
        if each.name == module:
            return known.removed(each.path, name)
    for root in known.project.roots:
        if commit := known.removed(root.joinpath(*parts).with_suffix(".py"), ""):
            return commit
    return ""


def _nearest(name: str, known: Iterable[str], removed: str) -> str:
    near = difflib.get_close_matches(name, sorted(set(known)), 1, 0.6)
    said = [f"did you mean {near[0]}?"] if near else []
    return " ".join([*said, f"Commit {removed} took it away."] if removed else said)


def _with_count(finding: Finding, modules: Sequence[str], known: Known) -> Finding:
    others = [name for name in modules if _module(name, known).shown != finding.path]
    if not others:
        return finding
    shown = ", ".join(sorted(others)[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    says = f"{finding.says} So {shown} cannot be imported either."
    return Finding(finding.path, finding.line, finding.gate, finding.rule, finding.symbol, says, finding.fix)
