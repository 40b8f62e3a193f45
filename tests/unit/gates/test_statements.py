"""Import statements of every scope, and what they ask for in vain."""

from __future__ import annotations

import ast
import textwrap

import pytest

from realstack.gates.imports.statements import (
    ImportStatement,
    ModuleFacts,
    facts_of,
    import_statements,
    unresolved,
)

MODULES = {
    "app": ModuleFacts(frozenset({"VERSION"}), frozenset({"models", "lazy", "sub"})),
    "app.models": ModuleFacts(frozenset({"Order", "Session"}), types_only=frozenset({"Row"})),
    "app.lazy": ModuleFacts(frozenset(), open_ended=True),
    "app.sub": ModuleFacts(frozenset()),
    "app.sub.hidden": ModuleFacts(frozenset()),
}


def statements(source: str, module: str = "app.api", *, is_package: bool = False) -> list[ImportStatement]:
    return import_statements(ast.parse(textwrap.dedent(source)), module, is_package)


def only(source: str, module: str = "app.api", *, is_package: bool = False) -> ImportStatement:
    (statement,) = statements(source, module, is_package=is_package)
    return statement


def symbols(source: str) -> list[str]:
    return [each.symbol for each in unresolved(statements(source), MODULES.get, "app/api.py")]


def facts(source: str) -> ModuleFacts:
    return facts_of(ast.parse(textwrap.dedent(source)))


@pytest.mark.parametrize(
    ("source", "module", "is_package", "asked"),
    [
        ("import a.b as c", "app.api", False, ("a.b", ())),
        ("from a.b import c as d, e", "app.api", False, ("a.b", ("c", "e"))),
        ("from . import x", "app.api", False, ("app", ("x",))),
        ("from . import x", "app.api", True, ("app.api", ("x",))),
        ("from .models import x", "app.api", False, ("app.models", ("x",))),
        ("from ..models import x", "app.web.api", False, ("app.models", ("x",))),
        ("from ..models import x", "app.web", True, ("app.models", ("x",))),
        ("from ...models import x", "app.web.api", False, (None, ("x",))),
        ("from .. import x", "app", True, (None, ("x",))),
        ("from . import x", "api", False, (None, ("x",))),
    ],
)
def test_the_module_asked_for_is_absolute(
    source: str, module: str, is_package: bool, asked: tuple[str | None, tuple[str, ...]]
) -> None:
    statement = only(source, module, is_package=is_package)
    assert (statement.module, statement.names) == asked


def test_a_statement_that_names_several_modules_is_one_of_each() -> None:
    assert [(each.module, each.line) for each in statements("\nimport a, b.c\nfrom d import e")] == [
        ("a", 2),
        ("b.c", 2),
        ("d", 3),
    ]


@pytest.mark.parametrize(
    ("source", "scope", "at_import"),
    [
        ("import a", "", True),
        ("class A:\n    import a", "A", True),
        ("if x:\n    import a", "", True),
        ("try:\n    pass\nfinally:\n    import a", "", True),
        ("def f():\n    import a", "f", False),
        ("class A:\n    async def f(self):\n        def g():\n            import a", "A.f.g", False),
        ("if TYPE_CHECKING:\n    import a", "", False),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import a", "", True),
        ("if not typing.TYPE_CHECKING:\n    import a", "", True),
        ("if __name__ == '__main__':\n    import a", "", False),
        ("if __name__ == '__main__':\n    pass\nelse:\n    import a", "", True),
    ],
)
def test_where_a_statement_stands_and_whether_importing_runs_it(source: str, scope: str, at_import: bool) -> None:
    statement = only(source)
    assert (statement.scope, statement.at_import) == (scope, at_import)


@pytest.mark.parametrize(
    ("source", "guarded"),
    [
        ("try:\n    import a\nexcept ImportError:\n    pass", True),
        ("try:\n    import a\nexcept (OSError, ModuleNotFoundError) as e:\n    pass", True),
        ("try:\n    import a\nexcept Exception:\n    pass", True),
        ("try:\n    import a\nexcept:\n    pass", True),
        ("try:\n    import a\nexcept NOT_THERE:\n    pass", True),
        ("try:\n    try:\n        import a\n    finally:\n        pass\nexcept ImportError:\n    pass", True),
        ("with contextlib.suppress(ImportError):\n    import a", True),
        ("with pytest.raises(ModuleNotFoundError):\n    import a", True),
        ("try:\n    import a\nexcept OSError:\n    pass", False),
        ("try:\n    pass\nexcept ImportError:\n    import a", False),
        ("try:\n    pass\nexcept ImportError:\n    pass\nelse:\n    import a", False),
        ("try:\n    def f():\n        import a\nexcept ImportError:\n    pass", False),
        ("with contextlib.suppress(OSError):\n    import a", False),
    ],
)
def test_what_guards_a_statement(source: str, guarded: bool) -> None:
    assert only(source).guarded is guarded


@pytest.mark.parametrize(
    ("source", "for_types"),
    [
        ("if TYPE_CHECKING:\n    import a", True),
        ("if t.TYPE_CHECKING:\n    if x:\n        import a", True),
        ("if not TYPE_CHECKING:\n    pass\nelse:\n    import a", True),
        ("def f():\n    if TYPE_CHECKING:\n        import a", True),
        ("if CHECKING:\n    import a", False),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import a", False),
    ],
)
def test_what_is_for_type_checkers_alone(source: str, for_types: bool) -> None:
    assert only(source).for_types is for_types


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    import gone",
        "def f():\n    from gone import x",
        "def f():\n    if x:\n        import gone",
        "def f():\n    if item.available and item.version:\n        import gone",
        "def f():\n    if x:\n        return\n    import gone",
        "def f():\n    if sys.platform == 'win32':\n        log()\n    import gone",
        "if __name__ == '__main__':\n    import gone",
    ],
)
def test_a_module_that_is_not_there(source: str) -> None:
    assert [symbol.rpartition(":")[2] for symbol in symbols(source)] == ["gone"]


def test_the_incident_a_function_imports_a_name_that_an_edit_removed() -> None:
    source = "from __future__ import annotations\ndef totals() -> Orders:\n    from app.models import Orders, Session\n"
    (finding,) = unresolved(statements(source), MODULES.get, "app/api.py")
    assert (finding.path, finding.line, finding.gate) == ("app/api.py", 3, "imports")
    assert (finding.rule, finding.symbol) == ("unresolved-import", "totals:app.models.Orders")
    assert finding.says == "`app.models` has no `Orders`, which `totals` imports from it."
    assert finding.fix == "Write `Order`."


@pytest.mark.parametrize(
    ("source", "fix"),
    [
        ("def f(): import app.model", "Write `app.models`."),
        ("def f(): import app.zzz", "`app` is there: correct what follows."),
        ("def f(): import gone.deep", "Install what has `gone.deep`, or correct its name."),
        ("def f(): from app.models import zzz", "Define `zzz` there, or import it from where it is."),
    ],
)
def test_the_nearest_that_is_there_is_the_fix(source: str, fix: str) -> None:
    assert [each.fix for each in unresolved(statements(source), MODULES.get, "a.py")] == [fix]


def test_dots_that_lead_beyond_the_top_are_a_finding_inside_a_function() -> None:
    assert symbols("def f(): from ... import x") == ["f:beyond the top package"]
    assert symbols("from ... import x") == []


@pytest.mark.parametrize(
    "source",
    [
        "import gone",
        "from app.models import zzz",
        "def f():\n    from app.models import Order, Session",
        "def f():\n    from app import models, VERSION, __name__",
        "def f():\n    from . import models",
        "def f():\n    from app.sub import hidden",
        "def f():\n    from app.lazy import anything",
        "def f():\n    import app.lazy.anything.deeper",
        "def f():\n    try:\n        import gone\n    except ImportError:\n        pass",
        "def f():\n    if sys.version_info < (3, 11):\n        import gone",
        "def f():\n    if os.name == 'nt':\n        pass\n    else:\n        import gone",
        "def f():\n    if sys.platform != 'win32':\n        return\n    import gone",
        "def f():\n    if importlib.util.find_spec('gone'):\n        import gone",
        "def f():\n    if is_gone_available():\n        import gone",
        "def f():\n    if HAS_GONE:\n        import gone",
        "def f():\n    pytest.importorskip('gone.deep')\n    import gone",
        "if TYPE_CHECKING:\n    from _typeshed import SupportsRead",
        "if TYPE_CHECKING:\n    from app.models import Row",
    ],
)
def test_what_is_there_or_judged_by_importing_or_guarded_is_no_finding(source: str) -> None:
    assert symbols(source) == []


def test_what_type_checkers_alone_ask_for_must_be_there_where_its_package_is() -> None:
    assert symbols("if TYPE_CHECKING:\n    from app.models import Gone\n    import app.gone") == [
        "app.models.Gone",
        "app.gone",
    ]


def test_a_name_for_type_checkers_alone_fails_in_a_function() -> None:
    (finding,) = unresolved(statements("def f(): from app.models import Row"), MODULES.get, "a.py")
    assert finding.symbol == "f:app.models.Row"
    assert finding.says == "`app.models` has `Row` under `if TYPE_CHECKING` alone: `f` fails at run time."


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("a = b = 1\nc, (d, *e) = x\nf: int = 1\ng: int\nh += 1", "a b c d e f g h"),
        ("print(a := 1, [b := c for c in x])", "a b"),
        ("for a, b in x:\n    c = 1\nelse:\n    d = 1", "a b c d"),
        ("with x as a, y as (b, c):\n    d = 1", "a b c d"),
        ("try:\n    a = 1\nexcept E as b:\n    c = 1\nelse:\n    d = 1\nfinally:\n    e = 1", "a b c d e"),
        ("while (a := x):\n    b = 1\nif x:\n    c = 1\nelif y:\n    d = 1", "a b c d"),
        ("import a.b, c.d as e\nfrom f import g, h as i", "a e g i"),
        ("def a(): b = 1\nasync def c(d): ...\nclass e:\n    f = 1\ng = lambda h: h", "a c e g"),
        ("def a():\n    global b\n    b = 1", "a b"),
        ("match x:\n    case {'k': a, **b}: c = 1\n    case [d, *e] as f: pass", "a b c d e f"),
        ("a.b = 1\nc[0] = 2\nd = [e for e in x]", "d"),
        ("a = 1\ndel a", "a"),
    ],
)
def test_the_names_that_a_module_binds(source: str, names: str) -> None:
    assert facts(source).names == frozenset(names.split())


def test_the_names_of_type_checkers_are_apart_unless_bound_otherwise_too() -> None:
    known = facts("if TYPE_CHECKING:\n    from a import B, C\nelse:\n    C = None")
    assert known == ModuleFacts(names=frozenset({"C"}), types_only=frozenset({"B"}))


@pytest.mark.parametrize(
    ("source", "is_open"),
    [
        ("def __getattr__(name): ...", True),
        ("from a import *", True),
        ("globals()['a'] = 1", True),
        ("def f():\n    globals().update(a=1)", True),
        ("import sys\nsys.modules[__name__] = x", True),
        ("import sys\nsys.modules['app.other'] = x", True),
        ("class A:\n    def __getattr__(self, name): ...", False),
        ("def f(): return globals().get('a'), sys.modules['a']", False),
        ("import sys\ndef f(): return getattr(sys.modules[__name__], 'a')", False),
        ("from a import b", False),
    ],
)
def test_a_module_that_may_have_any_name(source: str, is_open: bool) -> None:
    assert facts(source).open_ended is is_open


def test_submodules_are_told_by_the_caller() -> None:
    assert facts_of(ast.parse(""), ["models"]).submodules == {"models"}
