"""Where a node of a syntax tree stands: its scope, what guards it, and when it runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from typing import NamedTuple, TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Scope: TypeAlias = Function | ast.ClassDef | ast.Module

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_GUARDING_CONTEXTS = ("suppress", "raises")
_LEAVES_ITS_BLOCK = (ast.Return, ast.Raise, ast.Continue, ast.Break)
# what the interpreter, the platform or another package decides, so that only one branch is meant for this one
_DECIDED_ELSEWHERE = re.compile(
    r"\b(version_info|hexversion|python_version\w*|__version__|PY[23]\w*|find_spec|is_\w+_(available|installed))\b"
    r"|\b(sys\.platform|sys\.implementation|os\.name|platform\.\w+)|\b_?HAS_|_(AVAILABLE|INSTALLED)\b"
)


class Step(NamedTuple):
    """``child`` stands in the field ``field`` of ``parent``."""

    child: ast.AST
    parent: ast.AST
    field: str


class Places:
    """The way from each node of ``tree`` up to its module. ``nodes`` are all of them, outer ones first."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.nodes = list(ast.walk(tree))
        self._above: dict[ast.AST, tuple[ast.AST, str]] = {}
        for parent in self.nodes:
            for field, value in ast.iter_fields(parent):
                for child in value if isinstance(value, list) else (value,):
                    if isinstance(child, ast.AST):
                        self._above[child] = (parent, field)

    def up(self, node: ast.AST) -> Iterator[Step]:
        """Each step from the node to the module, innermost first."""
        while node in self._above:
            parent, field = self._above[node]
            yield Step(node, parent, field)
            node = parent

    def parent(self, node: ast.AST) -> ast.AST:
        """What the node stands in; the module stands in itself."""
        return self._above.get(node, (node, ""))[0]

    def qualified(self, node: ast.AST) -> str:
        """The definitions around the node, such as ``Class.method``; "" at module level.

        Decorators, defaults and annotations count to the definition that they belong to.
        """
        around = [step.parent.name for step in self.up(node) if isinstance(step.parent, _DEFINITIONS)]
        return ".".join(reversed(around))

    def visible(self, node: ast.AST) -> list[Scope]:
        """The scopes that a name at this node is looked up in, innermost first, without comprehensions."""
        found: list[Scope] = []
        for step in self.up(node):
            if step.field != "body":
                continue
            is_seen_class = isinstance(step.parent, ast.ClassDef) and not found
            if isinstance(step.parent, (*FUNCTIONS, ast.Module)) or is_seen_class:
                found.append(step.parent)  # type: ignore[arg-type]  # a ClassDef by the line above
        return found

    def in_function(self, node: ast.AST) -> bool:
        """Whether it runs when a function is called, not when the module is imported."""
        return any(step.field == "body" and isinstance(step.parent, FUNCTIONS) for step in self.up(node))

    def in_annotation(self, node: ast.AST) -> bool:
        """Whether it is a part of an annotation, or of what a ``type`` statement or a type parameter means."""
        return any(
            step.field in ("annotation", "returns", "bound")
            or (type(step.parent).__name__ == "TypeAlias" and step.field == "value")  # from Python 3.12 on
            for step in self.up(node)
        )

    def for_types(self, node: ast.AST) -> bool:
        """Whether it stands under ``if TYPE_CHECKING``."""
        return any(
            isinstance(step.parent, ast.If) and step.field == types_branch(step.parent) for step in self.up(node)
        )

    def when_run_as_script(self, node: ast.AST) -> bool:
        """Whether it stands under ``if __name__ == "__main__"``."""
        return any(
            isinstance(step.parent, ast.If)
            and step.field == "body"
            and isinstance(step.parent.test, ast.Compare)
            and {"__name__", "'__main__'"} <= set(ast.unparse(step.parent.test).split())
            for step in self.up(node)
        )

    def guarded(self, node: ast.AST, errors: Collection[str], *, bare: bool) -> bool:
        """Whether one of ``errors`` is caught around the node, in its own function; ``bare``: by ``except:`` too."""
        for step in self.up(node):
            if step.field != "body":
                continue
            if isinstance(step.parent, FUNCTIONS):
                return False
            if isinstance(step.parent, (ast.Try, ast.TryStar)):
                if any(_catches(handler.type, errors, bare=bare) for handler in step.parent.handlers):
                    return True
            elif isinstance(step.parent, (ast.With, ast.AsyncWith)) and _suppresses(step.parent, errors):
                return True
        return False

    def decided_elsewhere(self, node: ast.AST) -> bool:
        """Whether it runs only on some versions or platforms, or only beside some package."""
        for step in self.up(node):
            if isinstance(step.parent, (ast.If, ast.IfExp)) and step.field != "test" and _asks(step.parent.test):
                return True
            block = getattr(step.parent, step.field)
            for before in block[: block.index(step.child)] if isinstance(block, list) else ():
                if isinstance(before, ast.If) and isinstance(before.body[-1], _LEAVES_ITS_BLOCK) and _asks(before.test):
                    return True
        return False


def types_branch(node: ast.If) -> str | None:
    """The field of an ``if`` that only type checkers read; None if it does not ask for ``TYPE_CHECKING``."""
    if last_name(node.test) == "TYPE_CHECKING":
        return "body"
    negated = isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)
    if negated and last_name(node.test.operand) == "TYPE_CHECKING":  # type: ignore[attr-defined]  # a UnaryOp
        return "orelse"
    return None


def last_name(node: ast.AST | None) -> str:
    """``c`` of ``c`` and of ``a.b.c``; "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _asks(test: ast.expr) -> bool:
    return _DECIDED_ELSEWHERE.search(ast.unparse(test)) is not None


def _catches(caught: ast.expr | None, errors: Collection[str], *, bare: bool) -> bool:
    if caught is None:
        return bare
    if isinstance(caught, ast.Tuple):
        return any(_catches(each, errors, bare=bare) for each in caught.elts)
    name = last_name(caught)
    return name in errors or name.isupper()  # a constant that holds exceptions: which ones is not known


def _suppresses(node: ast.With | ast.AsyncWith, errors: Collection[str]) -> bool:
    return any(
        isinstance(call := item.context_expr, ast.Call)
        and last_name(call.func) in _GUARDING_CONTEXTS
        and any(_catches(each, errors, bare=False) for each in call.args)
        for item in node.items
    )
