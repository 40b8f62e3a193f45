"""The names of factories, what they give, and the order of their tables."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from realstack.model import PostgresPlan
from realstack.state.factory_name import FactoryName, read_factory_name
from realstack.state.seed_factory import in_order
from realstack.state.source_factory import NotRowsError, RowError, plain, rows_made
from realstack.state.sources import hash_of, read_steps


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("app.seeds:users", FactoryName("app.seeds", "users")),
        ("app:Users.make*20", FactoryName("app", "Users.make", 20)),
        ("app:users -> billing.people", FactoryName("app", "users", 0, "billing.people")),
        ("app:Users*3->users ", FactoryName("app", "Users", 3, "users")),
        ("app.seeds", None),
        ("app:users*x", None),
        ("app:users ->", None),
    ],
)
def test_a_factorys_name_tells_module_name_count_and_table(text: str, name: FactoryName | None) -> None:
    assert read_factory_name(text) == name


@dataclass
class Row:
    x: int


def test_rows_come_alone_in_lists_by_table_and_from_generators() -> None:
    def source() -> object:
        yield Row(1)
        yield [Row(2), ("b", Row(3))]
        yield {"c": [{"x": 4}], "d": []}

    made = rows_made(source, FactoryName("m", "f"))
    assert [(each.number, each.table) for each in made] == [(1, ""), (2, ""), (3, "b"), (4, "c")]
    lines = [each.line - made[0].line for each in made]
    assert lines == [0, 1, 1, 2]


def test_a_dict_is_a_row_where_the_source_names_a_table() -> None:
    made = rows_made(lambda: {"tags": ["a"]}, FactoryName("m", "f", 2, "t"))
    assert [(each.row, each.table) for each in made] == [({"tags": ["a"]}, "t")] * 2


@pytest.mark.parametrize("given", [None, 7, [7], {"a": 1}, ("t", 7)])
def test_what_is_no_row_is_refused(given: object) -> None:
    with pytest.raises(RowError):
        rows_made(lambda: given, FactoryName("m", "f"))


def test_a_value_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(NotRowsError, match="of type object"):
        plain({"a": [object()]})


def test_tables_go_parents_first_and_circles_as_they_came() -> None:
    assert in_order({"a": {"b"}, "b": {"c"}, "c": set()}) == ["c", "b", "a"]
    assert in_order({"a": {"b"}, "b": {"a"}, "c": set()}) == ["c", "a", "b"]
    assert in_order({"a": {"a"}}) == ["a"]


def test_the_hash_of_a_factory_follows_its_package_its_instant_and_its_count(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    for name in ("__init__.py", "seeds.py", "words.py"):
        (tmp_path / "app" / name).write_text("")

    def state(source: str = "factory:app.seeds:users", now: str = "") -> str:
        return hash_of(
            read_steps(PostgresPlan(tmp_path, seed=(source,), now=now)), root=tmp_path, server_version="17.6"
        )

    before = state()
    assert state() == before
    assert state("factory:app.seeds:users*2") != before
    assert state(now="2025-02-01T00:00:00+00:00") != before
    (tmp_path / "app/words.py").write_text("x = 1")
    assert state() != before


CHANCE = """
import datetime, os, random, secrets, time, uuid
from realstack.state.source_fixed import fix_chance, freeze_time, reseed
fix_chance({name!r})
freeze_time(datetime.datetime(2025, 1, 31, 12, 0, 0, 5, datetime.UTC))
{used}
reseed({name!r})
print(random.random(), random.Random().random(), random.SystemRandom().random(), secrets.token_hex(), uuid.uuid4())
print(os.urandom(4), datetime.datetime.now(), datetime.datetime.now(datetime.UTC), datetime.datetime.utcnow())
print(datetime.date.today(), datetime.datetime.today(), time.time(), time.time_ns(), time.gmtime()[0], time.ctime())
print(time.strftime("%Y"), type(datetime.datetime.now()) is datetime.datetime, time.monotonic() > 0)
"""


def run(name: str, used: str = "") -> list[str]:
    code = CHANCE.format(name=name, used=used)
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    source = str(Path(__file__).parents[3] / "src")
    environ = {"PYTHONPATH": source, "TZ": "UTC", "PATH": ""}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout.splitlines()


def test_chance_follows_from_the_name_and_time_stands_still() -> None:
    one = run("a")
    assert run("a") == one
    other = run("b")
    assert all(mine != theirs for mine, theirs in zip(one[0].split(), other[0].split(), strict=True))
    assert one[2:] == other[2:]
    assert one[1].endswith("2025-01-31 12:00:00.000005 2025-01-31 12:00:00.000005+00:00 2025-01-31 12:00:00.000005")
    assert one[2].startswith(
        "2025-01-31 2025-01-31 12:00:00.000005 1738324800.000005 1738324800000005000 2025 Fri Jan 31"
    )
    assert one[3] == "2025 True True"


def test_what_a_module_uses_up_while_it_is_imported_does_not_count() -> None:
    assert run("a", "random.random()")[0].split()[0] == run("a")[0].split()[0]
