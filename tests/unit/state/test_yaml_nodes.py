from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from realstack.errors import SeedFailed
from realstack.state.yaml_nodes import At, jsonable

AT = At("seed.yaml", SeedFailed)


def read(root: Path, text: str) -> Any:
    (root / "seed.yaml").write_text(text, encoding="utf-8")
    node = AT.root(root / "seed.yaml")
    assert node is not None
    return AT.plain(node)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {b: [1, 2.5, yes, ~, x]}", {"a": {"b": [1, 2.5, True, None, "x"]}}),
        ("1: {2024-01-01: x}", {"1": {"2024-01-01": "x"}}),
        (
            "a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {y: 3, <<: *b}",
            {"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 1}, "c": {"x": 2, "y": 3}},
        ),
        (
            "a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc: {<<: [*a, *b]}",
            {"a": {"x": 1}, "b": {"x": 2, "y": 2}, "c": {"x": 1, "y": 2}},
        ),
    ],
)
def test_values_are_what_yaml_says(tmp_path: Path, text: str, expected: object) -> None:
    assert read(tmp_path, text) == expected


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text("a: &a {x: 1}\nb: {<<: *a, x: 2}")
    node = AT.root(tmp_path / "seed.yaml")
    assert node is not None
    assert AT.plain(node) == AT.plain(node) == {"a": {"x": 1}, "b": {"x": 2}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n  b: 1\n  b: 2", "seed.yaml:3: 'b' stands here twice"),
        ("a: &a [*a]", "seed.yaml:1: this holds itself"),
        ("a: 1\nb: !mine x", "seed.yaml:2: this is no value"),
        ("a: 2024-99-99", "seed.yaml:1: this is no value"),
        ("a: {<<: 1}", "seed.yaml:1: `<<` takes another map"),
        ("a: &a {<<: *a}", "seed.yaml:1: `<<` takes another map"),
        ("a: *nowhere", "seed.yaml:1: this is not YAML"),
    ],
)
def test_what_is_no_value_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SeedFailed) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)


def test_json_holds_what_postgres_reads_back() -> None:
    value = {
        "day": date(2024, 1, 2),
        "moment": datetime(2024, 1, 2, 3, tzinfo=UTC),
        "bytes": b"\x00\xff",
        "odd": [float("nan"), float("inf"), float("-inf"), {"b", "a"}],
    }
    assert jsonable(value) == {
        "day": "2024-01-02",
        "moment": "2024-01-02T03:00:00+00:00",
        "bytes": "\\x00ff",
        "odd": ["NaN", "Infinity", "-Infinity", ["a", "b"]],
    }
