"""What a test changed is told by row, and whether a database is at the known state is told by its fingerprint."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from realstack.model import Endpoint, PostgresPlan
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.fingerprint import Fingerprint, fingerprint
from realstack.state.reset import InPlace
from realstack.state.template import prepare_template

Write = Callable[[str, str], Path]

SCHEMA = """
create table users (id serial primary key, name text not null, made timestamptz default now(), token uuid
    default gen_random_uuid());
create table tags (user_id int references users on delete cascade, tag text);
create type mood as enum ('good', 'bad');
create view names as select name from users;
create function one() returns int language sql as 'select 1';
create function two() returns int return 2;
create function three() returns int begin atomic select 3; end;
create aggregate total(int) (sfunc = int4pl, stype = int);
create publication told for table users where (id > 1);
create text search dictionary words (template = simple);
create text search configuration english_words (copy = english);
create foreign data wrapper afar;
create server far foreign data wrapper afar;
create foreign table distant (id int) server far options (place 'a');
insert into users (name, made) values ('ann', '2026-01-01'), ('bob', '2026-01-02');
insert into tags values (1, 'a'), (1, 'a');
"""

DIFFERS = {
    "table public.added was added": "create table added (id int)",
    "view public.names is missing": "drop view names",
    "column public.users.name differs": "alter table users alter name drop not null",
    "column public.users.id differs": "alter table users alter id set statistics 5, alter id set default 7",
    "table public.users differs": "grant select on users to public",
    "function public.one() differs": "create or replace function one() returns int language sql as 'select 2'",
    "function public.two() differs": "create or replace function two() returns int return 3",
    "function public.three() differs": "create or replace function three() returns int begin atomic select 4; end",
    "function public.total(integer) differs": "create or replace aggregate total(int) (sfunc = int4mul, stype = int)",
    "publication told differs": "alter publication told set table users where (id > 2)",
    "options of text search public.words differs": "alter text search dictionary words (accept = false)",
    "map of text search public.english_words differs": "alter text search configuration english_words "
    "alter mapping for asciiword with simple",
    "options of foreign table public.distant differs": "alter foreign table distant options (set place 'b')",
    "type public.mood differs": "alter type mood add value 'fair'",
    "constraint public.users.positive was added": "alter table users add constraint positive check (id > 0)",
    "index public.by_name was added": "create index by_name on users (name)",
    "comment table public.users was added": "comment on table users is 'x'",
    "security label table public.users by guard was added": "set local allow_system_table_mods = on; "
    "insert into pg_seclabel select 'users'::regclass, 'pg_class'::regclass, 0, 'guard', 'secret'",
    "policy public.users.mine was added": "create policy mine on users using (true)",
    "rows public.tags differ: 2 → 3": "insert into tags values (2, 'b')",
    "rows public.users differ: as many (2), others": "update users set name = name || ' '",
    "value of sequence public.users_id_seq differ: 2 → 3": "select nextval('users_id_seq')",
    "schema added was added": "create schema added",
    "trigger public.users.t was added": "create trigger t before update on users for each row "
    "execute function suppress_redundant_updates_trigger()",
    "table public.tags differs": "alter table tags disable trigger all",
}


@pytest.fixture
async def databases(postgres: Endpoint, write: Write, tmp_path: Path) -> AsyncIterator[Databases]:
    write("m/1.sql", SCHEMA)
    template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)), in_place=True)
    lender = Databases(postgres, template, "main", tmp_path.name)
    yield lender
    await lender.close()


@pytest.fixture
async def lent(databases: Databases) -> Endpoint:
    return await databases.lend()


@pytest.fixture
async def app(lent: Endpoint) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(**connect_arguments(lent))
    yield connection
    await connection.close()


async def test_changes_are_told_by_table_kind_and_row(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        assert not await in_place.changes()
        await app.execute("insert into users (name) values ('eve'); update users set name = 'anna' where id = 1")
        await app.execute("delete from tags where ctid = (select min(ctid) from tags)")
        changes = await in_place.changes()
        assert changes == {"users": {"inserted": 1, "updated": 1}, "tags": {"deleted": 1}}
        assert changes.deleted("tags") == ({"user_id": 1, "tag": "a"},)
        assert [(before["name"], after["name"]) for before, after in changes.updated("users")] == [("ann", "anna")]
        assert changes.sequences == {"users_id_seq": (2, 3)}
        assert changes.snapshot()["users"]["inserted"] == [
            {"id": 3, "name": "eve", "made": "<now()>", "token": "<uuid>"}
        ]
        await in_place.reset()
        assert not await in_place.changes()


async def test_what_was_written_and_taken_back_is_no_change(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        await app.execute("update users set name = 'x' where id = 1; update users set name = 'ann' where id = 1")
        await app.execute("insert into tags values (2, 'b'); delete from tags where user_id = 2")
        assert not await in_place.changes()


async def test_a_command_that_changed_the_schema_is_among_the_changes(lent: Endpoint, app: asyncpg.Connection) -> None:
    async with InPlace(lent) as in_place:
        await app.execute("create table added (id int); drop table tags")
        changes = await in_place.changes()
        assert "CREATE TABLE of table public.added" in changes.ddl
        assert "DROP TABLE of table public.tags" in changes.ddl


async def test_two_copies_have_one_fingerprint_and_a_reset_brings_it_back(
    databases: Databases, lent: Endpoint, app: asyncpg.Connection
) -> None:
    known = await fingerprint(await databases.lend())
    async with InPlace(lent) as in_place:
        assert known.difference(await fingerprint(lent)) == []
        await app.execute("truncate users cascade; insert into tags values (null, 'x')")
        assert known.difference(await fingerprint(lent)) != []
        await in_place.reset()
        assert (await fingerprint(lent)).digest == known.digest


@pytest.mark.parametrize(("line", "statement"), DIFFERS.items(), ids=DIFFERS.keys())
async def test_what_differs_is_named_with_its_kind(
    lent: Endpoint, app: asyncpg.Connection, line: str, statement: str
) -> None:
    known = await fingerprint(lent)
    await app.execute(statement)
    assert line in known.difference(await fingerprint(lent))


async def test_it_is_the_same_whatever_the_database_has_set(lent: Endpoint, app: asyncpg.Connection) -> None:
    known = await fingerprint(lent)
    await app.execute("set datestyle = 'German'; set timezone = 'Asia/Tokyo'; set search_path = ''")
    assert known.difference(await fingerprint(app)) == []


async def test_what_is_ours_is_no_part_of_it(postgres: Endpoint, write: Write, tmp_path: Path, lent: Endpoint) -> None:
    write("m/1.sql", SCHEMA.replace("default gen_random_uuid()", ""))
    found = []
    for in_place in (False, True):
        template = await prepare_template(postgres, PostgresPlan(tmp_path, ("m",)), in_place=in_place)
        lender = Databases(postgres, template, "other", tmp_path.name)
        found.append(await fingerprint(await lender.lend()))
        await lender.close()
    assert found[0].difference(found[1]) == []


async def test_it_can_be_kept_as_text(lent: Endpoint) -> None:
    known = await fingerprint(lent)
    assert Fingerprint.from_json(known.as_json()) == known
