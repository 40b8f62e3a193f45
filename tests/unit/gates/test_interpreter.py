"""What the imports of modules may share: planned from who may import whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realstack.gates.imports.interpreter import Edges, Graph

NAMES = ["a", "a.b", "a.b.c", "a.d", "e", "e.f", "g"]
GRAPHS = st.dictionaries(st.sampled_from(NAMES), st.sets(st.sampled_from(NAMES)), min_size=1).map(
    lambda drawn: {name: drawn.get(name, set()) - {name} for name in NAMES}
)


def reached(asked: dict[str, set[str]], name: str) -> set[str]:
    """By walking, package by package."""
    found: set[str] = set()
    todo = [name]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += [*asked[one], *([one.rpartition(".")[0]] if "." in one else [])]
    return found


@given(GRAPHS)
def test_a_closure_is_all_that_an_import_may_import(asked: dict[str, set[str]]) -> None:
    graph = Graph(asked, NAMES)
    for name in NAMES:
        assert set(graph.members(graph.closure[name])) == reached(asked, name)


@given(GRAPHS, st.sets(st.sampled_from(NAMES), min_size=1))
def test_users_are_those_of_the_tried_that_may_import_it(asked: dict[str, set[str]], tried: set[str]) -> None:
    graph = Graph(asked, tried)
    for name in graph.names:
        assert set(graph.members(graph.users[name])) == {one for one in tried if name in reached(asked, one)}


def test_a_cycle_that_its_package_imports_is_shared_by_way_of_it_and_any_other_is_not() -> None:
    alone = {"a": set(), "a.b": {"a.d"}, "a.d": {"a.b"}, "e": {"g"}, "g": {"e"}}
    graph = Graph(alone, alone)
    assert graph.members(graph.unshareable) == ["a.b", "a.d", "e", "g"]
    graph = Graph({**alone, "a": {"a.b"}}, alone)
    assert graph.members(graph.unshareable) == ["e", "g"]


def test_what_is_imported_already_is_left_out() -> None:
    graph = Graph({"json": set(), "a": {"json", "g"}, "g": set()}, ["a"])
    assert graph.names == ["a", "g"]


def test_what_was_asked_for_is_reached_with_its_packages() -> None:
    edges = Edges(NAMES)
    edges.asked = {"a.b": {"e.f"}, "e.f": {"g"}}
    assert edges.reached("a.b") == {"a", "a.b", "e", "e.f", "g"}
