"""Names that no statement binds, by the analysis of pyflakes, without what it cannot prove."""

from __future__ import annotations

import ast
import difflib
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from pyflakes import checker, messages  # type: ignore[import-untyped]

from realstack.gates.finding import RULES, Finding
from realstack.gates.imports.bindings import Bindings, bindings_of, deleted_in, injects_names
from realstack.gates.imports.places import FUNCTIONS, Places, Scope, last_name, types_branch

_RULE = RULES["undefined-name"]
# what other interpreters have than the one that this runs in, and what type checkers give
_GIVEN = ("reveal_type", "reveal_locals", "PythonFinalizationError", "frozendict", "__firstlineno__")
_OF_PYTHON_2 = {
    *("apply", "basestring", "buffer", "cmp", "coerce", "execfile", "file", "intern", "long", "raw_input", "reduce"),
    *("reload", "unichr", "unicode", "xrange", "StandardError"),
}
_ASKS_FOR_VERSION = frozenset(("version_info", "hexversion", "PY2", "PY3", "six"))
_TYPING = ("typing", "typing_extensions", "collections", "types", "contextlib")
_GENERIC_BUILTINS = ("dict", "frozenset", "list", "set", "tuple", "type")
# SQLAlchemy looks names in these up among the mapped classes, whatever the module binds
_FROM_A_REGISTRY = ("DynamicMapped", "Mapped", "WriteOnlyMapped")
_BRANCHES = (ast.If, ast.IfExp, ast.BoolOp, ast.Try, ast.TryStar, ast.Match, ast.comprehension)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_ALIKE = 0.7
_UNBOUND = (messages.UndefinedName, messages.UndefinedLocal, messages.UndefinedExport)


def undefined_names(source: str, path: str, given: Collection[str] = ()) -> list[Finding]:
    """The names that will not be there when they are looked up, one finding for each scope and name, by line.

    They are bound nowhere, or in a function only after their use, or under ``if TYPE_CHECKING`` and used in a function
    at run time. ``path`` is relative to the project's root. ``given`` are names that the module gets from elsewhere:
    builtins that the project adds, and what other modules set on this one (``bindings.set_on_modules``). Source that is
    no Python yields nothing, and neither does a module that gets names by other ways than statements.
    """
    tree = _parsed(source)
    if tree is None:
        return []
    module = _Module(Places(tree))
    if injects_names(module.places):
        return []
    builtins = frozenset((*_GIVEN, *given))
    first: dict[str, Finding] = {}
    everything = [*_unbound(module, path, builtins), *_for_types_alone(module, source, path, builtins)]
    for finding in sorted(everything):
        first.setdefault(finding.symbol, finding)
    return sorted(first.values())


@dataclass(slots=True)
class _Module:
    places: Places
    names: dict[tuple[int, int, str], ast.AST] = field(default_factory=dict)
    strings: dict[tuple[int, int], ast.AST] = field(default_factory=dict)
    asked_for: set[str] = field(default_factory=set)
    known: dict[Scope, Bindings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for node in self.places.nodes:
            match node:
                case ast.Name(id=name):
                    self.names.setdefault((node.lineno, node.col_offset, name), node)
                case ast.Constant(value=str()):
                    self.strings.setdefault((node.lineno, node.col_offset), node)
                case ast.Compare(left=ast.Constant(value=str(name)), ops=[ast.In() | ast.NotIn()]):
                    self.asked_for.add(name)
                case ast.Call(func=ast.Name(id="hasattr"), args=[_, ast.Constant(value=str(name))]):
                    self.asked_for.add(name)
            if {last_name(node), getattr(node, "name", "")} & _ASKS_FOR_VERSION:
                self.asked_for |= _OF_PYTHON_2

    def bindings(self, scope: Scope) -> Bindings:
        if scope not in self.known:
            self.known[scope] = bindings_of(scope)
        return self.known[scope]

    def node_of(self, message: messages.Message) -> ast.AST | None:
        """What a message of pyflakes is about: a name, or the string that it is written in."""
        place = (message.lineno, message.col)
        return self.names.get((*place, _name(message))) or self.strings.get(place)

    def fix(self, name: str, node: ast.AST) -> str:
        bound = {each for scope in self.places.visible(node) for each in self.bindings(scope).names}
        alike = difflib.get_close_matches(name, sorted(bound - {name}), 1, _ALIKE)
        return f"Write `{alike[0]}`, or bind `{name}`." if alike else f"Import `{name}`, or define it."

    def finding(self, path: str, name: str, node: ast.AST, line: int, says: str) -> Finding:
        scope = self.places.qualified(node)
        symbol = f"{scope}:{name}" if scope else name
        where = f"`{scope}`" if scope else "module level"
        return Finding(path, line, _RULE.gate, _RULE.name, symbol, says.format(where), self.fix(name, node))


def _parsed(source: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as those of invalid escapes: not of this rule
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _messages(
    tree: ast.Module, path: str, builtins: frozenset[str], *, with_types: bool = True
) -> list[messages.Message]:
    try:
        read = tree if with_types else _WithoutTypes().visit(tree)
        told = checker.Checker(read, filename=path, builtins=builtins, withDoctest=False).messages
    except RecursionError:  # of an expression as long as only generated ones are
        return []
    return [each for each in told if isinstance(each, _UNBOUND)]


def _name(message: messages.Message) -> str:
    arguments = message.message_args
    return arguments if isinstance(arguments, str) else str(arguments[0])  # the bare name where it hides a builtin


def _unbound(module: _Module, path: str, builtins: frozenset[str]) -> Iterator[Finding]:
    tree = module.places.tree
    for message in _messages(tree, path, builtins):
        name = _name(message)
        if isinstance(message, messages.UndefinedExport):
            own = module.bindings(tree)
            if "__getattr__" not in own.names and name not in own.names | own.types_only:
                says = f"`__all__` names `{name}`, which is bound nowhere in this module."
                fix = module.fix(name, tree.body[0]).replace(f"bind `{name}`", "take it out of `__all__`")
                yield Finding(path, message.lineno, _RULE.gate, _RULE.name, f"__all__:{name}", says, fix)
            continue
        node = module.node_of(message)
        if node is None or _excused(name, node, module):
            continue
        holder = _holder(name, node, module)
        if holder is None:
            says = f"`{name}` is used in {{}}, and bound nowhere in this module."
            if module.places.in_annotation(node):
                says = f"An annotation in {{}} names `{name}`, which is bound nowhere in this module."
            yield module.finding(path, name, node, message.lineno, says)
        elif _comes_before(name, node, holder, module):
            yield module.finding(
                path, name, node, message.lineno, f"`{name}` is read in {{}} before it is bound there."
            )


def _for_types_alone(module: _Module, source: str, path: str, builtins: frozenset[str]) -> Iterator[Finding]:
    """By a second look at the module without what only type checkers read."""
    if not any(isinstance(node, ast.If) and types_branch(node) for node in module.places.nodes):
        return
    tree = _parsed(source)
    if tree is None:
        return
    for message in _messages(tree, path, builtins, with_types=False):
        name = _name(message)
        node = module.node_of(message)
        if not isinstance(node, ast.Name) or module.places.in_annotation(node) or _excused(name, node, module):
            continue
        if _asks_for_types(node, module):
            continue
        scopes = module.places.visible(node)
        bound = [module.bindings(scope) for scope in scopes]
        if (
            isinstance(scopes[0], FUNCTIONS)
            and any(name in each.types_only for each in bound)
            and not any(name in each.names for each in bound)
        ):
            says = f"`{name}` is used in {{}} at run time, and bound under `if TYPE_CHECKING` alone."
            yield module.finding(path, name, node, message.lineno, says)


class _WithoutTypes(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST:
        branch = types_branch(node)
        self.generic_visit(node)
        if branch == "body":
            node.body = [ast.copy_location(ast.Pass(), node)]
        elif branch == "orelse":
            node.orelse = []
        return node


def _excused(name: str, node: ast.AST, module: _Module) -> bool:
    places = module.places
    if name in module.asked_for or places.guarded(node, ("NameError", "UnboundLocalError"), bare=False):
        return True
    for step in places.up(node):
        if isinstance(step.parent, ast.Subscript) and step.field == "slice":
            generic = last_name(step.parent.value)
            if generic in _FROM_A_REGISTRY or (
                isinstance(node, ast.Constant) and not _takes_types(step.parent, module)
            ):
                return True
    innermost = places.visible(node)[0]
    # the metaclass may prepare a namespace that has the name
    return isinstance(innermost, ast.ClassDef) and any(each.arg == "metaclass" for each in innermost.keywords)


def _asks_for_types(node: ast.AST, module: _Module) -> bool:
    """Whether a condition with ``TYPE_CHECKING`` in it stands around, such as ``not TYPE_CHECKING or ...``."""
    return any(
        last_name(each) == "TYPE_CHECKING"
        for step in module.places.up(node)
        if isinstance(step.parent, (ast.BoolOp, ast.IfExp, ast.If))
        for each in ast.walk(getattr(step.parent, "test", step.parent))
    )


def _takes_types(node: ast.Subscript, module: _Module) -> bool:
    """Whether strings in the brackets are types for sure: other classes make of them what they want."""
    base = node.value.value if isinstance(node.value, ast.Attribute) else node.value
    name = last_name(base)
    if name in _GENERIC_BUILTINS:
        return True
    for statement in module.places.nodes:
        match statement:
            case ast.ImportFrom(module=str(origin), names=names) if origin.partition(".")[0] in _TYPING:
                if any((alias.asname or alias.name) == name for alias in names):
                    return True
            case ast.Import(names=names):
                for alias in names:
                    if (alias.asname or alias.name) == name and alias.name.partition(".")[0] in _TYPING:
                        return True
    return False


def _holder(name: str, node: ast.AST, module: _Module) -> Scope | None:
    for scope in module.places.visible(node):
        own = module.bindings(scope)
        if name in own.names or name in own.types_only:
            return scope
    return None


def _comes_before(name: str, node: ast.AST, holder: Scope, module: _Module) -> bool:
    """Whether a use that stands before the binding also runs before it: an earlier turn of a loop may have bound."""
    places = module.places
    own_function = isinstance(holder, FUNCTIONS) and places.visible(node)[0] is holder
    if not own_function or places.in_annotation(node) or isinstance(node, ast.Constant) or name in deleted_in(holder):
        return False
    skipped_at_times = False
    for step in places.up(node):
        if step.parent is holder:
            break
        if isinstance(step.parent, _LOOPS) and skipped_at_times:
            return False
        skipped_at_times |= isinstance(step.parent, (*_BRANCHES, *_LOOPS))
    return True
