"""Import statements in any scope, and whether what they ask for is there."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from realstack.gates.finding import RULES, Finding
from realstack.gates.imports.bindings import bindings_of, injects_names
from realstack.gates.imports.places import Places, last_name

_RULE = RULES["unresolved-import"]
_MISSING = ("ImportError", "ModuleNotFoundError", "Exception", "BaseException")
_EVERY_MODULE = {
    *("__annotations__", "__builtins__", "__cached__", "__class__", "__dict__", "__doc__", "__file__", "__loader__"),
    *("__name__", "__package__", "__path__", "__spec__"),
}


@dataclass(frozen=True, slots=True)
class ImportStatement:
    """One module that a statement asks for, and the names that it takes from it.

    ``module`` is absolute; None: the dots of the statement lead beyond the top package. ``names`` is empty for
    ``import module``. ``scope`` is the definition around it, such as ``Class.method``, "" for none. ``at_import``: it
    runs when the module is imported. ``guarded``: its failure is caught around it. ``for_types``: it stands under
    ``if TYPE_CHECKING``. ``conditional``: a version, a platform or another package decides whether it runs.
    """

    module: str | None
    names: tuple[str, ...]
    line: int
    scope: str
    at_import: bool
    guarded: bool = False
    for_types: bool = False
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """What a module has: ``names`` of its top level, ``types_only`` under ``if TYPE_CHECKING`` alone, and submodules.

    ``open_ended``: it may have any other name too, or be whatever it likes.
    """

    names: frozenset[str]
    submodules: frozenset[str] = frozenset()
    open_ended: bool = False
    types_only: frozenset[str] = frozenset()


def import_statements(tree: ast.Module, module: str, is_package: bool) -> list[ImportStatement]:
    """Every import of the module ``module``, by line; one of each module where a statement names several."""
    places = Places(tree)
    skipped = _skipped_without(places)
    found = []
    for node in places.nodes:
        if isinstance(node, ast.Import):
            found += [_statement(node, alias.name, (), places, skipped) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            found.append(_statement(node, _absolute(node, module, is_package), names, places, skipped))
    return sorted(found, key=lambda statement: statement.line)


def facts_of(tree: ast.Module, submodules: Collection[str] = ()) -> ModuleFacts:
    """The facts of a module by its source; ``submodules`` are those in its folder, where it is a package."""
    own = bindings_of(tree)
    places = Places(tree)
    is_open = "__getattr__" in own.names or any(map(_opens, places.nodes)) or injects_names(places)
    return ModuleFacts(own.names, frozenset(submodules), is_open, own.types_only)


def unresolved(
    statements: Iterable[ImportStatement], knows: Callable[[str], ModuleFacts | None], path: str
) -> list[Finding]:
    """What the statements ask for in vain, of those that importing does not run and nothing guards.

    ``knows`` tells the facts of a module by its absolute name, None if there is no such module. A package that is not
    there at all is no finding under ``if TYPE_CHECKING``: it may be one of stubs, such as ``_typeshed``.
    """
    return [
        finding
        for statement in statements
        if not (statement.at_import or statement.guarded or statement.conditional)
        for finding in _judged(statement, knows, path)
    ]


def _statement(
    node: ast.Import | ast.ImportFrom, module: str | None, names: tuple[str, ...], places: Places, skipped: set[str]
) -> ImportStatement:
    for_types = places.for_types(node)
    return ImportStatement(
        module=module,
        names=names,
        line=node.lineno,
        scope=places.qualified(node),
        at_import=not (for_types or places.in_function(node) or places.when_run_as_script(node)),
        guarded=places.guarded(node, _MISSING, bare=True),
        for_types=for_types,
        conditional=(module or "").partition(".")[0] in skipped or places.decided_elsewhere(node),
    )


def _skipped_without(places: Places) -> set[str]:
    """The top packages whose absence skips tests."""
    return {
        str(node.args[0].value).partition(".")[0]
        for node in places.nodes
        if isinstance(node, ast.Call)
        and last_name(node.func) == "importorskip"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str | None:
    if not node.level:
        return node.module
    package = module.split(".") if is_package else module.split(".")[:-1]
    kept = len(package) - (node.level - 1)
    if kept < 1:
        return None
    return ".".join([*package[:kept], *([node.module] if node.module else [])])


def _opens(node: ast.AST) -> bool:
    """Whether it imports every name of a module, or puts something else into ``sys.modules``."""
    if isinstance(node, ast.ImportFrom):
        return node.names[0].name == "*"
    return isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and last_name(node.value) == "modules"


def _judged(statement: ImportStatement, knows: Callable[[str], ModuleFacts | None], path: str) -> Iterator[Finding]:
    if statement.module is None:
        yield _finding(statement, path, "", "A relative import leads beyond the top package.", "Take dots out of it.")
        return
    facts = knows(statement.module)
    if facts is None:
        if not (_may_come_from_a_parent(statement.module, knows) or _is_for_type_checkers(statement, knows)):
            says = f"There is no module `{statement.module}`, which {_who(statement)} imports."
            yield _finding(statement, path, statement.module, says, _nearest_module(statement.module, knows))
        return
    for name in statement.names:
        if name == "*" or facts.open_ended or name in facts.names | facts.submodules | _EVERY_MODULE:
            continue
        if knows(whole := f"{statement.module}.{name}") is not None:
            continue
        if name not in facts.types_only:
            says = f"`{statement.module}` has no `{name}`, which {_who(statement)} imports from it."
            alike = difflib.get_close_matches(name, sorted(facts.names | facts.submodules), 1)
            fix = f"Write `{alike[0]}`." if alike else f"Define `{name}` there, or import it from where it is."
            yield _finding(statement, path, whole, says, fix)
        elif not statement.for_types:
            where = f"`{statement.module}` has `{name}` under `if TYPE_CHECKING` alone"
            says = f"{where}: {_who(statement)} fails at run time."
            yield _finding(statement, path, whole, says, "Import it from where it is defined.")


def _may_come_from_a_parent(module: str, knows: Callable[[str], ModuleFacts | None]) -> bool:
    parent = module.rpartition(".")[0]
    while parent:
        facts = knows(parent)
        if facts is not None:
            return facts.open_ended
        parent = parent.rpartition(".")[0]
    return False


def _is_for_type_checkers(statement: ImportStatement, knows: Callable[[str], ModuleFacts | None]) -> bool:
    """Whether nothing is there of a package that only type checkers ask for: they may have stubs, or do without."""
    return statement.for_types and knows(str(statement.module).partition(".")[0]) is None


def _nearest_module(module: str, knows: Callable[[str], ModuleFacts | None]) -> str:
    parent, _, asked = module.rpartition(".")
    while parent:
        facts = knows(parent)
        if facts is not None:
            alike = difflib.get_close_matches(asked, sorted(facts.submodules), 1)
            return f"Write `{parent}.{alike[0]}`." if alike else f"`{parent}` is there: correct what follows."
        parent, _, asked = parent.rpartition(".")
    return f"Install what has `{module}`, or correct its name."


def _who(statement: ImportStatement) -> str:
    if statement.scope:
        return f"`{statement.scope}`"
    return "a block for type checkers" if statement.for_types else "a block that importing does not run"


def _finding(statement: ImportStatement, path: str, asked: str, says: str, fix: str) -> Finding:
    symbol = ":".join(part for part in (statement.scope, asked or "beyond the top package") if part)
    return Finding(path, statement.line, _RULE.gate, _RULE.name, symbol, says, fix)
