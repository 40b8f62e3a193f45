"""Templates: jinja2's language, of it only what a reply needs, and bounded in what it may cost.

A template has text, expressions, ``if``, ``for``, ``set`` and the words of :mod:`fake_llm.template_words`. Nothing in
it loads, includes, defines or calls anything else, so that a bound on each operation bounds the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from typing import Any

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import pass_context

from fake_llm.asked import NAMES, AnswerFault, Asked
from fake_llm.complaints import nearest
from fake_llm.model import Json
from fake_llm.template_budget import CURRENT, as_text, operate, steps, weighed
from fake_llm.template_words import FILTERS, FUNCTIONS, TESTS, Function, attribute, is_missing

MAX_SOURCE = 64 * 1024
MAX_NODES = 2_000
"""Of a template's tree; jinja2 compiles about as many in half a second."""
_OF_THE_COMPILER = frozenset({"_loop_vars", "_block_vars"})
"""What jinja2 adds to the arguments of calls, for functions that want the context."""
_RESULT = "result"
_STATEMENTS = {"Macro": "macro", "CallBlock": "call", "FilterBlock": "filter", "With": "with", "Block": "block",
               "Include": "include", "Import": "import", "FromImport": "from", "Extends": "extends",
               "AssignBlock": "set … endset", "ScopedEvalContextModifier": "autoescape"}  # fmt: skip
_KNOWN = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.For, nodes.If, nodes.Assign, nodes.Name, nodes.NSRef,
    nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr, nodes.Filter,
    nodes.Test, nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand,
    nodes.BinExpr, nodes.UnaryExpr,
)  # fmt: skip


class _Environment(ImmutableSandboxedEnvironment):
    """Where templates run: every way from one value to another is one of ours."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, optimized=False, finalize=_written, keep_trailing_newline=True)
        inner = {"_weighed": weighed, "_text": as_text, "_steps": steps}
        self.filters = {name: _paid(does) for name, does in FILTERS.items()}
        self.filters |= {name: _in_context(does) for name, does in inner.items()}
        self.tests = {name: _paid(does) for name, does in TESTS.items()}
        self.globals = dict(FUNCTIONS)

    def getattr(self, obj: Any, attribute_: str) -> Any:
        """``obj.name``."""
        if isinstance(obj, Undefined):
            str(obj)  # says what is missing, by an exception
        found = attribute(obj, attribute_)
        return self.undefined(obj=obj, name=attribute_) if is_missing(found) else found

    def getitem(self, obj: Any, argument: Any) -> Any:
        """``obj[argument]``."""
        if isinstance(obj, str | list | dict):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        return self.getattr(obj, argument) if isinstance(argument, str) else self.undefined(obj=obj, name=argument)

    def call(self, context: Any, called: Any, /, *values: Any, **named: Any) -> Any:
        """``called(…)``, of our own functions only."""
        if isinstance(called, Undefined):
            called()
        if not isinstance(called, Function):
            raise SecurityError(f"{type(called).__name__} cannot be called")
        return called(*values, **{name: value for name, value in named.items() if name not in _OF_THE_COMPILER})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """``left operator right``."""
        for value in (left, right):
            if isinstance(value, Undefined):
                str(value)
        return operate(operator, left, right, self.binop_table[operator])


def _in_context(does: Callable[..., Any]) -> Callable[..., Any]:
    """As a filter that jinja2 never works out while it compiles."""

    @pass_context
    @wraps(does)
    def filtered(_: Any, *values: Any, **named: Any) -> Any:
        return does(*values, **named)

    return filtered


def _paid(does: Callable[..., Any]) -> Callable[..., Any]:
    """As :func:`_in_context`, with the price of what goes in and comes out."""
    return _in_context(Function(_Named(does)))


class _Named:
    """A function under a name, as builtins and partials may have none."""

    def __init__(self, does: Callable[..., Any]) -> None:
        self._does = does

    def __call__(self, *values: Any, **named: Any) -> Any:
        return self._does(*values, **named)


@pass_context
def _written(_: Any, value: Any) -> str:
    return as_text(value)


class Template:
    """A text with expressions. ``names``: what of the request it uses."""

    def __init__(self, source: str) -> None:
        if len(source) > MAX_SOURCE:
            raise AnswerFault(f"a template may have {MAX_SOURCE} characters")
        try:
            tree = _environment().parse(source)
            _check(tree)
            used = find_undeclared_variables(tree)
            self._expression = _bounded_expression(tree)
            self._template = _environment().from_string(_bounded(tree))
        except TemplateSyntaxError as error:
            raise AnswerFault(f"line {error.lineno}: {error.message}") from error
        except AnswerFault:
            raise
        except RecursionError as error:
            raise AnswerFault("it is nested too deeply") from error
        except Exception as error:
            raise AnswerFault(f"it cannot be compiled: {error}") from error
        self.names = frozenset(used & NAMES.keys())
        if unknown := sorted(used - NAMES.keys() - FUNCTIONS.keys()):
            raise AnswerFault(f"there is no {unknown[0]!r}{nearest(unknown[0], NAMES)}")

    def text(self, values: Mapping[str, Json]) -> str:
        """What it says for these values, within the current budget.

        :raises AnswerFault: it failed.
        """
        return str(self._run(self._template, values, lambda pieces, _: "".join(_paid_pieces(pieces))))

    def value(self, values: Mapping[str, Json]) -> Json:
        """The value, where the whole template is one expression; else the text."""
        if self._expression is None:
            return self.text(values)
        return self._run(self._expression, values, _result)

    def _run(self, template: Any, values: Mapping[str, Json], end: Callable[[Any, Any], Any]) -> Any:
        try:
            context = template.new_context({name: values[name] for name in self.names})
            return end(template.root_render_func(context), context)
        except Exception as error:
            at = _line(template, error)
            told = str(error) or type(error).__name__
            raise AnswerFault(f"line {at}: {told}" if at else told) from error


def has_expressions(text: str) -> bool:
    """Whether there is anything to fill in ``text``."""
    return "{{" in text or "{%" in text or "{#" in text


@lru_cache(maxsize=512)
def compiled(source: str) -> Template:
    """The template of that source; the same scenario comes again with every session.

    :raises AnswerFault: it is none.
    """
    return Template(source)


def values_of(asked: Asked) -> Mapping[str, Json]:
    """The values of a request, each made when a template first needs it."""
    return _Values(asked)


class _Values(dict[str, Any]):
    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self._asked = asked

    def __missing__(self, name: str) -> Any:
        self[name] = value = self._asked.value(name)
        return value


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    return _Environment()


def _check(tree: nodes.Template) -> None:
    """Refuse what the language of templates leaves out."""
    for count, node in enumerate(tree.find_all(nodes.Node)):
        if count > MAX_NODES:
            raise AnswerFault("it has too many expressions")
        if isinstance(node, nodes.Name) and node.name == "self":
            raise AnswerFault(f"line {node.lineno}: there is no 'self'")
        name = type(node).__name__
        if name in _STATEMENTS or not isinstance(node, _KNOWN):
            raise AnswerFault(f"line {node.lineno}: templates have no {{% {_STATEMENTS.get(name, name)} %}}")
        if isinstance(node, nodes.For) and node.recursive:
            raise AnswerFault(f"line {node.lineno}: templates have no recursive loops")


def _bounded(node: Any) -> Any:
    """The tree with a price on what jinja2 would do by itself: loops, comparisons, joined texts, slices."""
    for field, value in list(node.iter_fields()):
        if isinstance(value, list):
            setattr(node, field, [_bounded(each) if isinstance(each, nodes.Node) else each for each in value])
        elif isinstance(value, nodes.Node):
            setattr(node, field, _bounded(value))
    if isinstance(node, nodes.For):
        node.iter = _by("_steps", node.iter)
    elif isinstance(node, nodes.Compare):
        node.expr = _by("_weighed", node.expr)
        for operand in node.ops:
            operand.expr = _by("_weighed", operand.expr)
    elif isinstance(node, nodes.Concat):
        node.nodes = [_by("_text", each) for each in node.nodes]
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return _by("_weighed", node)
    elif isinstance(node, nodes.Tuple) and node.ctx == "load":
        return nodes.List(node.items, lineno=node.lineno, environment=node.environment)
    return node


def _bounded_expression(tree: nodes.Template) -> Any:
    """What gives the value of a template that is one expression and nothing else; None for any other."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output) or len(tree.body[0].nodes) != 1:
        return None
    (only,) = tree.body[0].nodes
    if isinstance(only, nodes.TemplateData):
        return None
    found = nodes.Name(_RESULT, "store", lineno=1)
    body: list[nodes.Node] = [nodes.Assign(found, only, lineno=1)]
    whole = nodes.Template(body, lineno=1).set_environment(_environment())
    return _environment().from_string(_bounded(whole))


def _by(name: str, node: Any) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno, environment=node.environment)


def _paid_pieces(pieces: Any) -> Any:
    budget = CURRENT.get()
    for piece in pieces:
        budget.spend_text(len(piece))
        yield piece


def _result(pieces: Any, context: Any) -> Json:
    for _ in pieces:
        pass
    found = weighed(context.vars[_RESULT])
    if isinstance(found, Undefined):
        str(found)
    if isinstance(found, str | int | float | list | dict | None.__class__):
        return found
    raise TypeError(f"a {type(found).__name__} is no JSON value")


def _line(template: Any, error: BaseException) -> int:
    """The template's line in which ``error`` was raised; 0 where that is not known."""
    found, frame = 0, error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code is template.root_render_func.__code__:
            found = template.get_corresponding_lineno(frame.tb_lineno)
        frame = frame.tb_next
    return found
