"""What is rendered reads back as it was, and tables stand in an order that loads."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from realstack.errors import RealstackError
from realstack.state.capture.order import load_order
from realstack.state.capture.render import rendered, value, word
from realstack.state.capture.tables import CapturedTable, Column, ForeignKey, Schema


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_reads_back(text: str) -> None:
    assert yaml.safe_load(f"- {{{word(text)}: {word(text)}}}") == [{text: text}]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ann Lee", "Ann Lee"),
        ("ann@example.com", "ann@example.com"),
        ("no", '"no"'),
        ("null", '"null"'),
        ("", '""'),
        ("12", '"12"'),
        ("a ", '"a "'),
        ("a: b", '"a: b"'),
        ("2024-01-01", '"2024-01-01"'),
        ("\u2028\x85", '"\\u2028\\u0085"'),
    ],
)
def test_plain_words_stand_plain_and_all_else_in_quotes(text: str, shown: str) -> None:
    assert word(text) == shown


@pytest.mark.parametrize(
    ("base", "text", "shown"),
    [
        ("int4", "7", "7"),
        ("bool", "true", "true"),
        ("numeric", "1.50", '"1.50"'),
        ("text", None, "null"),
        ("jsonb", '{"a": [1, null]}', '{"a": [1, null]}'),
        ("jsonb", '{"a": 1.10}', '!json "{\\"a\\": 1.10}"'),
        ("jsonb", "null", '!json "null"'),
        ("json", "{}", '!json "{}"'),
    ],
)
def test_a_value_stands_as_its_type_asks(base: str, text: str | None, shown: str) -> None:
    assert value(Column("c", base, base, "X"), text) == shown


def schema(*edges: str, deferrable: str = "") -> Schema:
    """Tables ``a`` to ``c`` of a column for each other one; ``ab`` is a foreign key from a to b."""
    names = "abc"
    columns = tuple(Column(name, "int", "int4", "N") for name in names)
    tables = {number: CapturedTable(number, "public", name, False, (), columns) for number, name in enumerate(names)}
    keys = tuple(
        ForeignKey(edge, names.index(edge[0]), names.index(edge[1]), (edge[1],), ("id",), edge in deferrable.split())
        for edge in edges
    )
    return Schema(tables, keys)


FULL: dict[int, list[tuple[str | None, ...]]] = {number: [("1", "1", "1")] for number in range(3)}


def test_parents_stand_above_their_children() -> None:
    assert load_order(schema("ab", "bc"), FULL).tables == (2, 1, 0)
    assert load_order(schema("aa", "ba"), FULL).tables == (0, 2, 1)


def test_a_key_that_no_row_uses_is_no_hindrance() -> None:
    rows: dict[int, list[tuple[str | None, ...]]] = {**FULL, 0: [("1", None, "1")]}
    assert load_order(schema("ab", "ba"), rows).deferred is False


def test_a_circle_is_loaded_by_what_can_wait_or_named() -> None:
    assert load_order(schema("ab", "ba", deferrable="ab"), FULL).deferred
    with pytest.raises(RealstackError, match=r"circle: a.b → b.c → c.a → a\."):
        load_order(schema("ab", "bc", "ca"), FULL)


def test_a_table_is_named_with_its_schema_where_it_is_not_public() -> None:
    table = CapturedTable(1, "My App", "Odd", False, (), (Column("on", "int", "int4", "N"),))
    assert rendered(table, [("1",), (None,)]) == 'My App.Odd:\n  - {"on": 1}\n  - {"on": null}\n'
