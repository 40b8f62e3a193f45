"""Two databases compared from outside say the same as the log inside one of them, and see what no log sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from realstack.model import Endpoint, PostgresPlan
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.comparison import compare
from realstack.state.reset import InPlace
from realstack.state.template import prepare_template

SCHEMA = """
create table "Odd Name" ("Id" serial primary key, "a.b" numeric, made timestamptz default now());
create table pairs (a int, b text, n float8, primary key (a, b));
create table bag (tag text, n numeric);
create table parts (id int, region text, n int, primary key (id, region)) partition by list (region);
create table parts_a partition of parts for values in ('a');
create table parts_b partition of parts default;
create schema other; create table other.things (id int primary key, doc jsonb, raw bytea, list int[]);
insert into "Odd Name" ("a.b") values (1.0), (2.50), (null);
insert into pairs values (1, 'x', 0.1), (1, 'y', 'NaN'), (2, 'x', null);
insert into bag values ('a', 1), ('a', 1), ('b', null), (null, null);
insert into parts values (1, 'a', 1), (2, 'b', 2);
insert into other.things values (1, '{"k": [1.10, null]}', '\\x00ff', '{1,null}');
"""

WRITES = {
    "nothing": "select 1",
    "the scale of a number": 'update "Odd Name" set "a.b" = 1.00 where "Id" = 1',
    "a key": 'update "Odd Name" set "Id" = 77 where "Id" = 2',
    "one of two equal rows": "delete from bag where ctid = (select min(ctid) from bag where tag = 'a')",
    "one more of two equal rows": "insert into bag values ('a', 1), (null, null)",
    "a row moved to another partition": "update parts set region = 'c' where id = 1",
    "all kinds": "insert into pairs values (3, 'z', 1); delete from pairs where a = 2;"
    "update pairs set n = 5 where b = 'y'",
    "json and bytes": "update other.things set doc = '{\"k\": [1.1, null]}', raw = '\\x00fe'",
    "a truncated table": "truncate bag, pairs",
    "a sequence": "select nextval('\"Odd Name_Id_seq\"')",
    "written and taken back": "delete from bag; insert into bag values ('a', 1), ('a', 1), ('b', null), (null, null)",
}


@pytest.fixture
async def databases(postgres: Endpoint, write: Callable[[str, str], Path], tmp_path: Path) -> AsyncIterator[Databases]:
    write("m/1.sql", SCHEMA)
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)), in_place=True)
    lender = Databases(postgres, template, "compare", tmp_path.name)
    yield lender
    await lender.close()


async def test_it_says_the_same_as_the_log(databases: Databases) -> None:
    known, used = await databases.lend(), await databases.lend()
    connection = await asyncpg.connect(**connect_arguments(used))
    async with InPlace(used) as in_place:
        for what, sql in WRITES.items():
            await connection.execute(sql)
            by_log, from_outside = await in_place.changes(), await compare(known, used)
            assert from_outside.as_dict() == by_log.as_dict(), what
            assert from_outside.snapshot() == by_log.snapshot(), what
            assert from_outside.sequences == by_log.sequences, what
            assert bool(from_outside) is (what not in ("nothing", "written and taken back")), what
            assert (await in_place.reset()).needs_clone is False
    await connection.close()


async def test_it_sees_what_changed_in_the_schema_and_rows_beside_it(databases: Databases) -> None:
    known, used = await databases.lend(), await databases.lend()
    connection = await asyncpg.connect(**connect_arguments(used))
    await connection.execute(
        "drop table bag; alter table pairs add column more int; update pairs set more = 1 where a = 2;"
        "create table fresh (id int); insert into parts values (9, 'z', 9)"
    )
    await connection.close()
    changes = await compare(known, used)
    assert "table public.bag is missing" in changes.ddl
    assert "table public.fresh was added" in changes.ddl
    assert "column public.pairs.more was added" in changes.ddl
    assert changes.inserted("parts") == 1
    assert changes.updated("pairs") == 3  # each has a column more
    assert "bag" not in changes.as_dict()
