"""Names that are bound nowhere, and all that must not be taken for one."""

from __future__ import annotations

import ast
import runpy
import sys
import textwrap
from pathlib import Path

import pytest

from realstack.gates.imports.bindings import set_on_modules
from realstack.gates.imports.unbound import undefined_names

INCIDENT = """
    class Reports:
        def totals(self, session: Session) -> list[int]:
            return [row.total for row in session.execute(select(Order))]
"""


def found(source: str, path: str = "app/reports.py") -> list[tuple[int, str]]:
    return [(each.line, each.symbol) for each in undefined_names(textwrap.dedent(source), path)]


def symbols(source: str, path: str = "app/reports.py") -> list[str]:
    return [symbol for _, symbol in found(source, path)]


def test_the_incident_a_method_uses_names_whose_import_was_removed() -> None:
    removed = [(3, "Reports.totals:Session"), (4, "Reports.totals:Order"), (4, "Reports.totals:select")]
    assert found(INCIDENT) == removed


def test_the_incident_where_annotations_are_postponed_and_the_import_still_succeeds(tmp_path: Path) -> None:
    source = "from __future__ import annotations\n" + textwrap.dedent(INCIDENT)
    Path(tmp_path, "reports.py").write_text(source)
    assert "Reports" in runpy.run_path(str(tmp_path / "reports.py"))
    assert symbols(source) == ["Reports.totals:Session", "Reports.totals:Order", "Reports.totals:select"]
    bound = "from __future__ import annotations\nfrom orm import Order, Session, select\n" + textwrap.dedent(INCIDENT)
    assert symbols(bound) == []


def test_a_finding_tells_the_place_the_rule_and_what_to_do() -> None:
    (finding,) = undefined_names("from orm import Session\n\ndef one():\n    return Sesion()\n", "app/reports.py")
    assert (finding.path, finding.line, finding.gate, finding.rule) == (
        "app/reports.py",
        4,
        "imports",
        "undefined-name",
    )
    assert finding.symbol == "one:Sesion"
    assert finding.says == "`Sesion` is used in `one`, and bound nowhere in this module."
    assert finding.fix == "Write `Session`, or bind `Sesion`."


def test_what_resembles_no_bound_name_is_to_be_imported() -> None:
    (finding,) = undefined_names("def one(order: Ledger): ...\n", "a.py")
    assert finding.says == "An annotation in `one` names `Ledger`, which is bound nowhere in this module."
    assert finding.fix == "Import `Ledger`, or define it."


def test_a_name_is_told_once_for_each_scope_at_its_first_line() -> None:
    source = """
        def one():
            gone(1)
            gone(2)

        def two():
            return lambda: gone(3)
    """
    assert found(source) == [(3, "one:gone"), (7, "two:gone")]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("print(gone)", ["gone"]),
        ("@gone\ndef f(): ...", ["f:gone"]),
        ("def f(a=gone): ...", ["f:gone"]),
        ("def f() -> 'gone': ...", ["f:gone"]),
        ("def f(a: 'list[gone]'): ...", ["f:gone"]),
        ("def f(a: list['gone']): ...", ["f:gone"]),
        ("from typing import Optional\ndef f(a: Optional['gone']): ...", ["f:gone"]),
        ("import typing as t\ndef f(a: t.Optional['gone']): ...", ["f:gone"]),
        ("class A(gone): ...", ["A:gone"]),
        ("class A:\n    b = gone", ["A:gone"]),
        ("class A:\n    b: gone", ["A:gone"]),
        ("class A:\n    b = 1\n    def c(self): return b", ["A.c:b"]),
        ("async def f():\n    def g():\n        return gone\n    return g", ["f.g:gone"]),
        ("def f(): return [a for a in b if c]", ["f:b", "f:c"]),
        ("def f(): del gone", ["f:gone"]),
        ("def f():\n    try:\n        gone()\n    except Exception:\n        pass", ["f:gone"]),
        ("try:\n    def f(): gone()\nexcept NameError:\n    pass", ["f:gone"]),
        ("__all__ = ['gone']", ["__all__:gone"]),
        ("def f():\n    x: int\n    return x", ["f:x"]),
        ("import sys\ndef f(): return gone if sys.version_info > (3,) else 1", ["f:gone"]),
        ("def f(): return globals()['a'], gone", ["f:gone"]),
        ("def f(): return locals(), gone", ["f:gone"]),
        ("def f():\n    exec('x = 1', {})\n    return x", ["f:x"]),
        ("def f():\n    try: pass\n    except OSError as e: pass\n    return e", ["f:e"]),
    ],
)
def test_bound_nowhere(source: str, expected: list[str]) -> None:
    assert symbols(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "print(__file__, __builtins__, __annotations__, __name__, WindowsError)",
        "def f(a): reveal_type(a)",
        "class A:\n    print(__module__, __qualname__)\n    def f(self): return __class__",
        "from os.path import *\ndef f(): return join('a')",
        "def f(a):\n    # type: (gone) -> None\n    b = a  # type: gone",
        "try:\n    unicode\nexcept NameError:\n    unicode = str",
        "def f(a):\n    try:\n        return unicode(a)\n    except (NameError, OSError):\n        return str(a)",
        "def f():\n    try:\n        try: gone()\n        except OSError: pass\n    except NameError: pass",
        "import contextlib\ndef f():\n    with contextlib.suppress(NameError): gone()",
        "import sys\ndef f(a): return unicode(a) if sys.version_info < (3,) else str(a)",
        "from six import PY2\nif PY2:\n    text = unicode",
        "def f(): return profile if 'profile' in globals() else None",
        "import builtins\ndef f(): return profile if hasattr(builtins, 'profile') else None",
        "x = 1\ndef f(): return x\nf()\ndel x",
        "import sys\nx = 1\nif sys.argv:\n    del x\nprint(x)",
        "x = 1\nfor _ in ():\n    del x\nprint(x)",
        "def f(rows):\n    x = 1\n    for _ in rows:\n        del x\n        break\n    return x",
        "def f(): return (n := 3) + n",
        "def f(rows):\n    if any((hit := row) for row in rows):\n        return hit",
        "class A:\n    b = (1,)\n    c = [d for d in b]\n    e: 'A'",
        "def f():\n    global shared\n    shared = 1\ndef g(): return shared",
        "def g(): return shared\ndef f():\n    global shared\n    shared = 1",
        "def f():\n    a = 1\n    def g():\n        nonlocal a\n        a += 1\n    return g",
        "def f(x): return '%(x)s' % locals()",
        "globals()['x'] = 1\ndef f(): return x",
        "globals().update(x=1)\ndef f(): return x",
        "g = globals()\ng['x'] = 1\ndef f(): return x",
        "vars()['x'] = 1\ndef f(): return x",
        "exec('x = 1')\ndef f(): return x",
        "import sys\nsetattr(sys.modules[__name__], 'x', 1)\ndef f(): return x",
        "import builtins\nbuiltins.x = 1\ndef f(): return x",
        "def __getattr__(name): ...\n__all__ = ['x']",
        "__all__ = ['f']\n__all__ += ['g']\ndef f(): ...\ndef g(): ...",
        "def f(a: Later): ...\nclass Later: ...",
        "class Node:\n    next: Node",
        "def f():\n    class Node:\n        next: Node\n    return Node",
        "def f():\n    def g(a: Later): ...\n    class Later: ...\n    return g",
        "x: int\ndef f(): return x",
        "from compat import Literal\ndef f(a: Literal['gone']): ...",
        "from typing import Annotated\ndef f(a: Annotated[int, 'gone']): ...",
        "from jaxtyping import Float\nfrom np import Array\ndef f(a: Float[Array, 'rows']): ...",
        "from orm import Mapped\nclass A:\n    b: Mapped['gone']",
        "from __future__ import annotations\nfrom orm import Mapped\nclass A:\n    b: Mapped[list[gone]]",
        "from auto import Auto\nclass A(metaclass=Auto):\n    b = gone",
        "def f():\n    try: pass\n    except OSError as e:\n        return lambda: e",
        "match 1:\n    case {'a': a, **rest}: print(a, rest)\n    case [b, *c] | (b, *c) as d: print(b, c, d)",
        "for i in ():\n    if i: print(last)\n    last = i",
        "def f(a: int) -> int:\n    return (\n",
        "a = '\\d'\n",
        "x = 1\0",
    ],
)
def test_bound_somehow_or_not_to_be_proven(source: str) -> None:
    assert symbols(source) == []


def test_a_packages_own_path_is_bound_in_its_init_alone() -> None:
    assert symbols("print(__path__)", "app/__init__.py") == []
    assert symbols("print(__path__)", "app/reports.py") == ["__path__"]


def test_a_package_may_export_its_submodules() -> None:
    assert symbols("__all__ = ['reports']", "app/__init__.py") == []


def test_names_that_the_module_gets_from_elsewhere_are_given() -> None:
    assert undefined_names("def f(): return _('a')", "a.py", given=["_"]) == []
    setters = ast.parse("from app import engine as e\nimport app.log\ne.url = 1\nsetattr(app.log, 'at', 2)\nself.a = 3")
    assert set_on_modules(setters) == {("engine", "url"), ("log", "at")}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f():\n    print(x)\n    x = 1", ["f:x"]),
        ("x = 0\ndef f():\n    x += 1", ["f:x"]),
        ("x = 0\ndef f():\n    print(x)\n    x = 1", ["f:x"]),
        ("x = 0\ndef f():\n    while True:\n        x += 1", ["f:x"]),
        ("def f():\n    max = max(1, 2)", ["f:max"]),
        ("def f(rows):\n    for row in rows:\n        if row: print(last)\n        last = row", []),
        ("last = 0\ndef f(rows):\n    for row in rows:\n        if row: print(last)\n        last = row", []),
        ("x = 0\ndef f():\n    global x\n    x += 1", []),
        ("def f():\n    def g(): return x\n    x = 1\n    return g", []),
    ],
)
def test_a_function_that_reads_before_it_binds(source: str, expected: list[str]) -> None:
    assert symbols(source) == expected


ONLY_TYPES = """
    from __future__ import annotations
    from typing import TYPE_CHECKING, cast
    if TYPE_CHECKING:
        from orm import Session
    {}
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("def f(s: Session) -> Session: ...", []),
        ("def f(s): return cast('Session', s)", []),
        ("class A:\n        s: Session", []),
        ("def f():\n        s: Session = 1\n        return s", []),
        ("def f():\n        from orm import Session\n        return Session()", []),
        ("def f(s):\n        if TYPE_CHECKING: assert isinstance(s, Session)", []),
        ("def f(s): assert not TYPE_CHECKING or isinstance(s, Session)", []),
        ("def f():\n        global Session\n        Session = 1\n    def g(): return Session", []),
        ("def f(rows):\n        for row in rows:\n            if row: Session()\n            Session = row", []),
        ("print(Session)", []),
        ("def f(): return Session()", ["f:Session"]),
        ("def f(s): return cast(Session, s)", ["f:Session"]),
        ("class A:\n        def f(self, s: Session): return isinstance(s, Session)", ["A.f:Session"]),
    ],
)
def test_a_name_that_type_checkers_alone_have_is_bound_in_annotations_only(body: str, expected: list[str]) -> None:
    assert symbols(ONLY_TYPES.format(body)) == expected


def test_a_name_with_another_binding_at_run_time_is_bound() -> None:
    assert symbols("import typing\nif not typing.TYPE_CHECKING:\n    A = 1\nelse:\n    A = 2\ndef f(): return A") == []
    assert symbols("import typing\nif not typing.TYPE_CHECKING:\n    A = 1\nelse:\n    B = 2\ndef f(): return B") == [
        "f:B"
    ]


def test_an_expression_too_long_to_walk_yields_nothing() -> None:
    deep = "+".join(["1"] * 5000)
    assert symbols(f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    x = 1\ny = gone + {deep}") == []


KNOWS_TYPE_PARAMETERS = sys.version_info >= (3, 12)
"""Before it their syntax is an error to the interpreter that reads the source: nothing is said of such a file then."""


@pytest.mark.parametrize(
    ("source", "unbound"),
    [
        ("def f[T: int](a: T) -> list[T]: return [a]\nclass A[K]:\n    b: K\ntype Pair[V] = tuple[V, V]", []),
        ("def f[T](a: T): ...\ndef g(a: T): ...", ["g:T"]),
        ("import typing\nif typing.TYPE_CHECKING:\n    from a import B\ndef f():\n    type Y = list[B]\n", []),
    ],
)
def test_type_parameters_are_bound_where_they_are_seen(source: str, unbound: list[str]) -> None:
    assert symbols(source) == (unbound if KNOWS_TYPE_PARAMETERS else [])
