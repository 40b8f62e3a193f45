"""The names that a scope binds, by its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from realstack.gates.imports.places import FUNCTIONS, Places, Scope, last_name, types_branch

_READING_METHODS = ("get", "items", "keys", "values", "copy", "__contains__", "__getitem__")
_READING_CALLS = ("dict", "eval", "frozenset", "get_type_hints", "len", "list", "set", "sorted", "tuple")
_READING_ATTRIBUTES = ("getattr", "hasattr")


@dataclass(frozen=True, slots=True)
class Bindings:
    """``names`` are bound at some time, even if deleted later; ``types_only`` for type checkers alone."""

    names: frozenset[str]
    types_only: frozenset[str]


def bindings_of(scope: Scope) -> Bindings:
    """What the scope binds itself: arguments, imports, definitions, targets of every kind, but not what is inside them.

    A module also binds what its functions declare ``global``. A name that is only annotated counts as bound: it may be
    set from elsewhere.
    """
    names: set[str] = set()
    types_only: set[str] = set()
    for node, for_types in _own(scope):
        (types_only if for_types else names).update(_bound_by(node))
    if isinstance(scope, ast.Module):
        names.update(name for node in ast.walk(scope) if isinstance(node, ast.Global) for name in node.names)
    return Bindings(frozenset(names), frozenset(types_only - names))


def deleted_in(scope: Scope) -> frozenset[str]:
    """The names that the scope deletes with ``del``."""
    return frozenset(node.id for node, _ in _own(scope) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del))


def injects_names(places: Places) -> bool:
    """Whether the module may get names that no statement of it binds.

    By writing to ``globals()`` or to itself in ``sys.modules``, by ``exec``, or by adding builtins.
    """
    return any(_may_inject(node, places) for node in places.nodes)


def set_on_modules(tree: ast.Module) -> frozenset[tuple[str, str]]:
    """The names that this module sets on modules it imported, each after the last part of that module's name.

    ``("engine", "url")`` for ``engine.url = ...`` after ``from app import engine``, in which ``engine`` has no say.
    """
    imported = {
        alias.asname or alias.name.rpartition(".")[2]: alias.name.rpartition(".")[2]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=target, attr=name, ctx=ast.Store()) if last_name(target) in imported:
                found.add((imported[last_name(target)], name))
            case ast.Call(func=ast.Name(id="setattr"), args=[target, ast.Constant(value=str(name)), _]):
                if last_name(target) in imported:
                    found.add((imported[last_name(target)], name))
    return frozenset(found)


def _own(scope: Scope) -> Iterator[tuple[ast.AST, bool]]:
    """The nodes of the scope without those of the scopes in it, each with whether only type checkers read it."""
    pending = [(node, False) for node in _content(scope)]
    while pending:
        node, for_types = pending.pop()
        yield node, for_types
        if isinstance(node, ast.If) and (branch := types_branch(node)):
            pending += [(each, for_types or branch == "body") for each in node.body]
            pending += [(each, for_types or branch == "orelse") for each in node.orelse]
        else:
            pending += [(each, for_types) for each in _in_same_scope(node)]


def _content(scope: Scope) -> list[ast.AST]:
    parameters: list[ast.AST] = list(getattr(scope, "type_params", ()))
    if isinstance(scope, FUNCTIONS):
        parameters += [node for node in ast.walk(scope.args) if isinstance(node, ast.arg)]
    body = scope.body if isinstance(scope.body, list) else [scope.body]
    return [*parameters, *body]


def _in_same_scope(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, FUNCTIONS):
        yield from (each for each in (*node.args.defaults, *node.args.kw_defaults) if each is not None)
        yield from getattr(node, "decorator_list", ())
    elif isinstance(node, ast.ClassDef):
        yield from (*node.decorator_list, *node.bases, *node.keywords)
    elif isinstance(node, ast.comprehension):
        yield from (node.iter, *node.ifs)
    else:
        yield from ast.iter_child_nodes(node)


def _bound_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
            yield name
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield node.name
        case ast.Import(names=names):
            yield from (alias.asname or alias.name.partition(".")[0] for alias in names)
        case ast.ImportFrom(names=names):
            yield from (alias.asname or alias.name for alias in names if alias.name != "*")
        case ast.MatchMapping(rest=str(name)):
            yield name
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            yield name
        case _ if type(node).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):  # from Python 3.12 on
            yield str(getattr(node, "name", ""))


def _may_inject(node: ast.AST, places: Places) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="globals")):
            return not _only_read(node, places)
        case ast.Call(func=ast.Name(id="locals" | "vars"), args=[]):
            return not places.in_function(node) and not _only_read(node, places)
        case ast.Call(func=ast.Name(id="exec"), args=[_]):
            return True
        case ast.Subscript(value=modules, slice=ast.Name(id="__name__")) if last_name(modules) == "modules":
            return _may_set_on(node, places)
    return _adds_builtins(node)


def _may_set_on(itself: ast.Subscript, places: Places) -> bool:
    above = places.parent(itself)
    if isinstance(above, ast.Call):
        return last_name(above.func) not in _READING_ATTRIBUTES
    return not (isinstance(above, ast.Attribute) and isinstance(above.ctx, ast.Load) and above.attr != "__dict__")


def _adds_builtins(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="setattr" | "vars"), args=[ast.Name(id="builtins" | "__builtins__"), *_]):
            return True
        case ast.Attribute(value=ast.Name(id="builtins" | "__builtins__"), attr=attribute, ctx=context):
            return attribute == "__dict__" or isinstance(context, ast.Store)
        case ast.Subscript(value=ast.Name(id="__builtins__"), ctx=ast.Store()):
            return True
    return False


def _only_read(namespace: ast.Call, places: Places) -> bool:
    above = places.parent(namespace)
    match above:
        case ast.Subscript(ctx=ast.Load()) | ast.Compare() | ast.For() | ast.comprehension():
            return True
        case ast.Attribute(attr=method):
            return method in _READING_METHODS
        case ast.Call(func=called):
            return last_name(called) in _READING_CALLS
    return False
