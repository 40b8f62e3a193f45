"""Rows from JSON Lines, and rows that refer to each other."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from realstack.errors import SeedFailed
from realstack.model import Endpoint, PostgresPlan
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.template import prepare_template

Write = Callable[[str, str], Path]

TABLES = """
create table users (
    id serial primary key, slug text unique not null, name text, seen timestamptz, facts jsonb, amount numeric, bin bytea
);
create table teams (
    id uuid primary key default gen_random_uuid(), boss int references users, chief text references users (slug),
    members int[], facts jsonb
);
create table posts (id int generated always as identity primary key, author int references users, answers int references posts);
create table pairs (a int, b int, primary key (a, b));
create table pair_notes (pair int);
"""  # noqa: E501


@asynccontextmanager
async def made(postgres: Endpoint, plan: PostgresPlan) -> AsyncIterator[asyncpg.Connection]:
    lender = Databases(postgres, await prepare_template(postgres, plan), "gw0", "rrows")
    connection = await asyncpg.connect(**connect_arguments(await lender.lend()))
    try:
        yield connection
    finally:
        await connection.close()
        await lender.close()


async def test_json_lines_become_rows_to_the_last_digit(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m.sql", TABLES)
    write(
        "s/010_users.jsonl",
        '{"id": 7, "slug": "ann", "name": "A\u2028b", "amount": 12345678901234567890.123456789, '
        '"facts": {"a": [1, null]}}\n'
        "\n"
        '{"slug": "bob", "seen": "2024-01-02T03:04:05Z", "bin": "\\\\x00ff"}\r\n',
    )
    async with made(postgres, PostgresPlan(tmp_path, ("m.sql",), ("s",))) as connection:
        ann = await connection.fetchrow("select *, amount::text as digits from users where id = 7")
        assert (ann["digits"], ann["facts"], ann["name"]) == (
            "12345678901234567890.123456789",
            '{"a": [1, null]}',
            "A\u2028b",
        )
        assert await connection.fetchval("select bin from users where slug = 'bob'") == b"\x00\xff"
        assert await connection.fetchval("insert into users (slug) values ('c') returning id") == 8


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("users.jsonl", '{"slug": "a"}\n{"slug": }\n', "s/users.jsonl:2:10: this is not JSON"),
        ("users.jsonl", '{"slug": "a"}\n\n{"slag": "b"}\n', "s/users.jsonl:3: the table 'users' has no column 'slag'"),
        ("users.jsonl", '{"slug": "a"}\n{"slug": "a"}\n', "s/users.jsonl:2: a row of 'users' does not fit: duplicate"),
        ("users.jsonl", '[{"slug": "a"}]\n', "s/users.jsonl:1: a row must be an object"),
        ("users.jsonl", '{"slug": "a", "slug": "b"}\n', "s/users.jsonl:1: 'slug' stands here twice"),
        ("users.jsonl", '{"slug": NaN}\n', "s/users.jsonl:1: JSON has no NaN"),
        ("usres.jsonl", '{"slug": "a"}\n', "s/usres.jsonl: there is no table 'usres'"),
        (
            "a.yaml",
            "teams:\n- boss: &x {slug: a}\nusers:\n- *x\n",
            "s/a.yaml:2: this row refers to the one at s/a.yaml:2, which is not there yet",
        ),
        (
            "a.yaml",
            "pairs:\n- &p {a: 1, b: 2}\npair_notes:\n- pair: *p\n",
            "s/a.yaml:4: the table 'pairs' has no primary",
        ),
        ("a.yaml", "teams:\n- boss: !row {users: {slug: x}}\n", 's/a.yaml:2: \'users\' has no row with {"slug": "x"}'),
        (
            "a.yaml",
            "users:\n- {slug: a}\n- {slug: b}\nteams:\n- boss: !row {users: {name: null}}\n",
            "s/a.yaml:5: 'users' has no row with",
        ),
        (
            "a.yaml",
            "users:\n- {slug: a, name: x}\n- {slug: b, name: x}\nteams:\n- boss: !row {users: {name: x}}\n",
            "s/a.yaml:5: 'users' has several rows with",
        ),
        ("a.yaml", "teams:\n- boss: !row {usres: {slug: x}}\n", "s/a.yaml:2: there is no table 'usres'"),
        ("a.yaml", "teams:\n- boss: !row {users: {slag: x}}\n", "s/a.yaml:2: the row of 'users' cannot be looked for"),
        ("a.yaml", "teams:\n- boss: !row users\n", "s/a.yaml:2: `!row` names one table"),
    ],
)
async def test_a_wrong_row_names_file_and_line(
    postgres: Endpoint, write: Write, tmp_path: Path, name: str, text: str, said: str
) -> None:
    write("m.sql", TABLES)
    write(f"s/{name}", text)
    with pytest.raises(SeedFailed) as caught:
        await prepare_template(postgres, PostgresPlan(tmp_path, ("m.sql",), ("s",)))
    assert said in str(caught.value)
    assert caught.value.remedy


ROWS = """
$now: 2025-01-31T12:00:00Z
users:
  - {slug: first}
  - &ann {slug: ann, name: Ann, seen: !time -3d}
  - &bob {<<: *ann, slug: bob}
  - {slug: last}
teams:
  - {boss: *ann, chief: *bob, members: [*ann, *bob], facts: {boss: *ann}}
posts:
  - &question {author: *bob}
  - {author: !row {users: {slug: last}}, answers: *question}
  - {author: *ann, answers: *question}
"""


async def test_a_row_stands_for_the_key_by_which_it_is_referred_to(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m.sql", TABLES)
    write("s.yaml", ROWS)
    async with made(postgres, PostgresPlan(tmp_path, ("m.sql",), ("s.yaml",))) as connection:
        users = await connection.fetch("select id, slug, name, seen::text from users order by id")
        assert [tuple(row)[:3] for row in users] == [
            (1, "first", None), (2, "ann", "Ann"), (3, "bob", "Ann"), (4, "last", None),
        ]  # fmt: skip
        assert users[1]["seen"] == users[2]["seen"]
        assert users[1]["seen"].startswith("2025-01-28 12:00:00")
        team = await connection.fetchrow("select boss, chief, members, facts #>> '{boss}' from teams")
        assert tuple(team) == (2, "bob", [2, 3], "2")
        posts = await connection.fetch("select author, answers from posts order by id")
        assert [tuple(row) for row in posts] == [(3, None), (4, 1), (2, 1)]


async def test_a_later_source_refers_to_rows_of_an_earlier_one(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m.sql", TABLES)
    write("1.sql", "insert into users (id, slug) values (40, 'ann');")
    write("2.yaml", "teams:\n- {boss: !row {users: {slug: ann}}, chief: !row {users: {id: 40}}}\n")
    async with made(postgres, PostgresPlan(tmp_path, ("m.sql",), ("1.sql", "2.yaml"))) as connection:
        assert tuple(await connection.fetchrow("select boss, chief from teams")) == (40, "ann")


async def test_two_builds_make_the_same_rows(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    found = []
    for folder in ("here", "there"):
        write(f"{folder}/m.sql", TABLES.replace("gen_random_uuid()", "'00000000-0000-0000-0000-000000000001'"))
        write(f"{folder}/s.yaml", ROWS)
        async with made(postgres, PostgresPlan(tmp_path / folder, ("m.sql",), ("s.yaml",))) as connection:
            tables = ("users", "teams", "posts")
            found.append([await connection.fetch(f"select t::text from {table} t order by 1") for table in tables])
    assert found[0] == found[1]
    assert all(found[0])
