"""Each kind of source makes what it says, and its errors name file and line."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from realstack.errors import MigrationFailed, RealstackError, SeedFailed
from realstack.model import Endpoint, PostgresPlan
from realstack.readiness import until_ready
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.template import prepare_template

Write = Callable[[str, str], Path]

USERS = """create type mood as enum ('fine', 'sad');
create table users (
    id serial primary key, name text not null, mood mood default 'fine',
    born date, seen timestamptz, tags text[], facts jsonb, picture bytea, score float8, boss int references users
);
create schema "Billing";
create table "Billing"."Invoices" (id bigint generated always as identity primary key, "User" int references users,
    amount numeric(10, 2), twice numeric generated always as (amount * 2) stored);
create table settings (key text default 'k', value text default 'v');
"""


@asynccontextmanager
async def made(postgres: Endpoint, plan: PostgresPlan) -> AsyncIterator[asyncpg.Connection]:
    """A session in a copy of the state that ``plan`` makes."""
    lender = Databases(postgres, await prepare_template(postgres, plan), "gw0", "rsources")
    connection = await asyncpg.connect(**connect_arguments(await lender.lend()))
    try:
        yield connection
    finally:
        await connection.close()
        await lender.close()


async def refused(postgres: Endpoint, plan: PostgresPlan) -> RealstackError:
    with pytest.raises(RealstackError) as caught:
        await prepare_template(postgres, plan)
    assert caught.value.remedy
    return caught.value


DUMP = r"""--
-- PostgreSQL database dump
--
\restrict abcdef
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
CREATE FUNCTION public.f() RETURNS integer LANGUAGE plpgsql AS $_$
begin return 1; end; $_$;
CREATE TABLE public.t (id integer NOT NULL, "odd name" text);
COPY public.t (id, "odd name") FROM stdin;
1	it's; \t tab
2	\N
\.

COPY public.t (id, "odd name") FROM STDIN WITH (FORMAT csv, HEADER);
id,odd name
3,"x, y"
\.
SELECT pg_catalog.setval('public.s', 3, true) WHERE false;
\unrestrict abcdef
""".replace("SELECT pg_catalog.setval('public.s', 3, true) WHERE false;\n", "")


async def test_a_dump_with_copy_blocks_is_taken_and_leaves_no_search_path(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("m/1_dump.sql", DUMP)
    write("m/2_more.sql", "create table more (id int);")
    async with made(postgres, PostgresPlan(tmp_path, ("m",))) as connection:
        rows = await connection.fetch('select id, "odd name" from t order by id')
        assert [tuple(row) for row in rows] == [(1, "it's; \t tab"), (2, None), (3, "x, y")]
        assert await connection.fetchval("select count(*) from public.more") == 0


async def test_what_cannot_run_in_a_transaction_runs_outside(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write(
        "m/1.sql",
        "create table t (id int);\ncreate index concurrently i on t (id);\nvacuum t;\ninsert into t values (1);",
    )
    write("m/2.sql", "begin;\ninsert into t values (2);\ncommit;\ninsert into t values (3);\n")
    write(
        "m/3.sql",
        "-- realstack: no-transaction\ncreate type e as enum ('a');\nalter type e add value 'b';\nselect 'b'::e;",
    )
    write("m/4.sql", "-- +goose Up\ninsert into t values (4);\n-- +goose Down\ndrop table t;\n")
    async with made(postgres, PostgresPlan(tmp_path, ("m",))) as connection:
        assert await connection.fetchval("select array_agg(id order by id) from t") == [1, 2, 3, 4]
        assert await connection.fetchval("select indisvalid from pg_index where indexrelid = 'i'::regclass")


async def test_a_file_is_one_transaction(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write(
        "m/1.sql",
        """create temp table scratch (id int) on commit drop;
        insert into scratch values (1);
        create table a (id int primary key, b int);
        create table b (id int primary key, a int references a deferrable);
        alter table a add foreign key (b) references b deferrable;
        set constraints all deferred;
        insert into a values (1, 1);
        insert into b values (1, 1);""",
    )
    async with made(postgres, PostgresPlan(tmp_path, ("m",))) as connection:
        assert await connection.fetchval("select count(*) from b") == 1


@pytest.mark.parametrize(
    "case",
    [
        ("select 1;\n\n-- é\nselect 'ü', foo;\n", "m/1.sql:4", 'column "foo" does not exist'),
        ("select 1;\nselect 2 form x y;\n", "m/1.sql:2", "syntax error"),
        ("create table t (\n  id int,\n  name txt\n);", "m/1.sql:3", 'type "txt" does not exist'),
        ("create table t (id int not null);\n\ninsert into t\n  values (null);", "m/1.sql:3", "null value"),
        ("select 1;\n\\connect prod\n", "m/1.sql:2", "\\connect is a command of psql's"),
        ("create table t (id int);\ncopy t from stdin;\n1\n2\nx\n\\.\n", "m/1.sql:5", "invalid input syntax"),
        ("create table t (id int);\ncopy t from stdin where id > 1;\n1\n\\.\n", "m/1.sql:2", "not understood"),
        ("select 1;\ncopy nothing from stdin;\n1\n\\.\n", "m/1.sql:2", "does not exist"),
        ("select 1;\nselect 'x;\n", "m/1.sql:2", "a string has no end"),
        ("select 1;\ndrop database app;", "m/1.sql:2", "DROP DATABASE reaches beyond"),
        ("begin;\nselect 1;", "m/1.sql", "does not end it"),
        ("create extension nothing_like_it;", "m/1.sql:1", "is not available"),
        (
            "create table a (id int primary key);\ncreate table b (a int references a deferrable initially deferred);\n"
            "insert into b values (1);\n",
            "m/1.sql:3",
            "foreign key",
        ),
    ],
)
async def test_an_sql_error_names_file_and_line(
    postgres: Endpoint, write: Write, tmp_path: Path, case: tuple[str, str, str]
) -> None:
    text, where, said = case
    write("m/1.sql", text)
    problem = await refused(postgres, PostgresPlan(tmp_path, ("m",)))
    assert isinstance(problem, MigrationFailed)
    assert problem.problem.startswith(f"{where}: ")
    assert said in problem.problem


async def test_the_caret_points_at_the_error(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "select 1;\nselect 'ü', foo;\n")
    problem = await refused(postgres, PostgresPlan(tmp_path, ("m",)))
    assert problem.details[:2] == ("2 | select 'ü', foo;", "  |             ^")


async def test_a_file_that_is_not_utf8_is_named_with_its_line(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m/1.sql", "").write_bytes(b"select 1;\nselect '\xff';")
    assert (await refused(postgres, PostgresPlan(tmp_path, ("m",)))).problem.startswith(
        "m/1.sql:2: this file is not UTF-8"
    )


async def test_csv_rows_become_rows(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m.sql", USERS)
    write("seed/1_users.csv", 'id,name,tags,facts,boss\n1,Ann,"{a,b}","{""x"": 1}",\n5,"",,,1\n')
    write("seed/2_Billing.Invoices.csv", "id,User,amount\n7,1,9.50\n")
    async with made(postgres, PostgresPlan(tmp_path, ("m.sql",), ("seed",))) as connection:
        rows = [
            tuple(row) for row in await connection.fetch("select id, name, tags, facts, boss from users order by id")
        ]
        assert rows == [(1, "Ann", ["a", "b"], '{"x": 1}', None), (5, "", None, None, 1)]
        assert await connection.fetchval("insert into users (name) values ('next') returning id") == 6
        invoice = 'insert into "Billing"."Invoices" (amount) values (1) returning id'
        assert await connection.fetchval(invoice) == 8


@pytest.mark.parametrize(
    "case",
    [
        ("users.csv", "id,nmae\n1,x\n", "s/users.csv:1", "has no column 'nmae'"),
        ("usres.csv", "id\n1\n", "s/usres.csv", "there is no table 'usres'"),
        (
            "users.csv",
            "id,name\n1,x\ny,z\n",
            "s/users.csv:3",
            "invalid input syntax for type integer: \"y\" (column 'id')",
        ),
        ("users.csv", "id,name\n1,x\n1,y\n", "s/users.csv:3", "duplicate key"),
        ("users.csv", 'id,name,boss\n1,"x\u2028\n",3\n3,y,1\n4,z,9\n', "s/users.csv:5", "(column 'boss')"),
        ("users.jsonl", '{"name": "a"}\n{"name": "b", "born": "soon"}\n', "s/users.jsonl:2", "(column 'born')"),
        ("users.jsonl", '{"name": "a"}\n{"name": null}\n', "s/users.jsonl:2", "(column 'name')"),
        (
            "users.yaml",
            "users:\n- {id: 1, name: a, boss: 2}\n- {id: 2, name: b, boss: 1}\n- {id: 3, name: c, boss: 9}\n",
            "s/users.yaml:4",
            "(column 'boss')",
        ),
        ("users.yaml", "users:\n- name: a\n- name: b\n  facts: !json '{a'\n", "s/users.yaml:4", "this is not JSON"),
        ("users.yaml", "$deferred: 1\nusers:\n", "s/users.yaml:1", "`$deferred` is `true` or not there"),
        ("users.csv", "id,name\n1\n", "s/users.csv:2", "missing data"),
        ("users.csv", "", "s/users.csv:1", "the file is empty"),
        ("users.yaml", "users:\n  - name: a\n  - nmae: b\n", "s/users.yaml:3", "has no column 'nmae'"),
        ("users.yaml", "\nusres:\n  - name: a\n", "s/users.yaml:2", "there is no table 'usres'"),
        ("users.yaml", "users:\n  - name: a\n  - name: b\n    born: soon\n", "s/users.yaml:4", "(column 'born')"),
        ("users.yaml", "users:\n  - name: a\n  - id: 5\n", "s/users.yaml:3", "null value"),
        ("users.yaml", "users:\n  - {id: 1, name: a}\n  - {id: 1, name: b}\n", "s/users.yaml:3", "duplicate key"),
        ("users.yaml", "users:\n  name: a\n", "s/users.yaml:2", "must hold a list of rows"),
        ("users.yaml", "users:\n  - a\n", "s/users.yaml:2", "must be a map"),
        ("users.yaml", "users:\n  - {name: a, name: b}\n", "s/users.yaml:2", "stands here twice"),
        ("users.yaml", "users: [\n", "s/users.yaml:1", "not YAML"),
        (
            "users.sql",
            "insert into users (nmae) values (1);",
            "s/users.sql:1",
            '"nmae" of relation "users" does not exist',
        ),
    ],
)
async def test_a_seed_error_names_file_and_row(
    postgres: Endpoint, write: Write, tmp_path: Path, case: tuple[str, str, str, str]
) -> None:
    name, text, where, said = case
    write("m.sql", USERS)
    write(f"s/{name}", text)
    problem = await refused(postgres, PostgresPlan(tmp_path, ("m.sql",), ("s",)))
    assert isinstance(problem, SeedFailed)
    assert problem.problem.startswith(f"{where}: ")
    assert said in problem.problem


async def test_a_missing_name_brings_the_nearest(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m.sql", USERS)
    write("s/users.yaml", "users:\n  - nmae: b\n")
    assert "did you mean 'name'" in (await refused(postgres, PostgresPlan(tmp_path, ("m.sql",), ("s",)))).remedy
    write("s/users.yaml", "usres:\n  - name: b\n")
    assert "did you mean 'users'" in (await refused(postgres, PostgresPlan(tmp_path, ("m.sql",), ("s",)))).remedy


ROWS = """
users:
  - &ann
    id: 3
    name: Ann
    born: 1990-02-03
    seen: 2024-01-02T03:04:05Z
    tags: [a, "b, c"]
    facts: {deep: [1, {x: null}], text: it's}
    picture: !!binary AP8=
    score: .nan
  - {id: 10, name: "yes", mood: sad, boss: 3}
  - {<<: *ann, id: 11, facts: plain}
Billing.Invoices:
  - {id: 4, User: 3, amount: 12.5}
settings:
  - {}
  - {key: ~}
empty:
""".replace("empty:\n", "")


async def test_yaml_rows_become_rows_of_the_columns_types(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    write("m.sql", USERS)
    write("s.yaml", ROWS)
    async with made(postgres, PostgresPlan(tmp_path, ("m.sql",), ("s.yaml",))) as connection:
        ann: Any = await connection.fetchrow("select * from users where id = 3")
        assert (ann["name"], ann["mood"], str(ann["born"])) == ("Ann", "fine", "1990-02-03")
        assert ann["seen"].isoformat() == "2024-01-02T03:04:05+00:00"
        assert ann["tags"] == ["a", "b, c"]
        assert await connection.fetchval("select facts -> 'deep' -> 1 ? 'x' from users where id = 3")
        assert ann["picture"] == b"\x00\xff"
        assert str(ann["score"]) == "nan"
        assert await connection.fetchval("select (name, mood, boss)::text from users where id = 10") == "(yes,sad,3)"
        assert await connection.fetchval("select facts #>> '{}' from users where id = 11") == "plain"
        assert await connection.fetchval('select twice from "Billing"."Invoices" where id = 4') == 25
        assert await connection.fetchval("insert into users (name) values ('x') returning id") == 12
        assert [tuple(row) for row in await connection.fetch("select * from settings")] == [("k", "v"), (None, "v")]


PYTHON = """
import asyncio
import asyncpg

def with_url(url: str) -> None:
    asyncio.run(with_dsn(url))

async def with_dsn(dsn):
    connection = await asyncpg.connect(dsn)
    await connection.execute("create table by_url (id int)")
    await connection.close()

async def with_connection(connection):
    await connection.execute("create table by_connection (id int)")

async def broken(connection):
    await connection.execute("select 1")
    await connection.execute("select foo")

def no_parameter():
    pass

NUMBER = 3
"""


@pytest.mark.parametrize(
    ("function", "table"), [("with_url", "by_url"), ("with_dsn", "by_url"), ("with_connection", "by_connection")]
)
async def test_a_python_source_is_called_as_its_signature_asks(
    postgres: Endpoint, write: Write, tmp_path: Path, function: str, table: str
) -> None:
    write("app/__init__.py", "")
    write("app/seeds.py", PYTHON)
    async with made(postgres, PostgresPlan(tmp_path, (f"python:app.seeds:{function}",))) as connection:
        assert await connection.fetchval("select to_regclass($1) is not null", table)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("broken", 'app/seeds.py:18: UndefinedColumnError: column "foo" does not exist'),
        ("missing", "app.seeds has no 'missing'"),
        ("no_parameter", "it takes no parameter"),
        ("NUMBER", "is not a function"),
    ],
)
async def test_a_python_source_that_fails_is_named_with_its_line(
    postgres: Endpoint, write: Write, tmp_path: Path, function: str, said: str
) -> None:
    write("app/__init__.py", "")
    write("app/seeds.py", PYTHON)
    problem = await refused(postgres, PostgresPlan(tmp_path, (f"python:app.seeds:{function}",)))
    assert said in problem.problem
    assert str(postgres.password) not in str(problem)


WAITS = """
import os
import pathlib
import time

def run(url: str):
    pathlib.Path("started").write_text(str(os.getpid()))
    time.sleep(600)
"""


async def test_a_python_source_does_not_outlive_whoever_called_it(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    write("waits.py", WAITS)
    building = asyncio.create_task(prepare_template(postgres, PostgresPlan(tmp_path, ("python:waits:run",))))

    async def started() -> int:
        return int((tmp_path / "started").read_text())

    async def gone() -> None:
        assert not psutil.pid_exists(pid)

    pid = await until_ready("source", started, within_s=30, died=lambda: None, log=list)
    building.cancel()
    with pytest.raises(asyncio.CancelledError):
        await building
    await until_ready("source", gone, within_s=30, died=lambda: None, log=list)


async def test_a_python_source_ends_when_its_caller_is_killed(tmp_path: Path, write: Write) -> None:
    write("waits.py", WAITS)
    order = {"kind": "python", "argument": "waits:run", "endpoint": {"url": "nowhere"}}
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "realstack.state.source_child",
        stdin=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdin is not None
    child.stdin.write(json.dumps(order).encode() + b"\n")

    async def started() -> int:
        return int((tmp_path / "started").read_text())

    assert await until_ready("source", started, within_s=30, died=lambda: None, log=list) == child.pid
    child.stdin.close()  # as the end of the parent does
    assert await child.wait() == 1


SYNC_ENV = """
from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
section = config.get_section(config.config_ini_section)
engine = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""

ASYNC_ENV = """
import asyncio
import os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def run(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()

asyncio.run(main())
"""

ELSEWHERE_ENV = ASYNC_ENV.replace(
    'os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")',
    '"postgresql+asyncpg://me:secret@localhost:1/production"',
)

FIRST = """
from alembic import op
revision, down_revision = "one", None

def upgrade():
    op.execute("create table first (id int)")
"""

SECOND = """
from alembic import op
revision, down_revision = "two", "one"

def upgrade():
    op.execute("create table second (id txt)")
"""


def alembic(write: Write, env: str) -> None:
    write(
        "alembic.ini", "[alembic]\nscript_location = migrations\nsqlalchemy.url = postgresql://nowhere:1/production\n"
    )
    write("migrations/env.py", env)
    write("migrations/versions/one.py", FIRST)


@pytest.mark.parametrize("env", [SYNC_ENV, ASYNC_ENV], ids=["sync", "async"])
async def test_alembic_upgrades_the_template_whatever_its_ini_says(
    postgres: Endpoint, write: Write, tmp_path: Path, env: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@localhost:1/production")
    alembic(write, env)
    async with made(postgres, PostgresPlan(tmp_path, ("alembic:alembic.ini",))) as connection:
        assert await connection.fetchval("select to_regclass('first') is not null")
        assert await connection.fetchval("select version_num from alembic_version") == "one"


async def test_alembic_stops_at_the_named_revision(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    alembic(write, SYNC_ENV)
    write("migrations/versions/two.py", SECOND)
    async with made(postgres, PostgresPlan(tmp_path, ("alembic:alembic.ini@one",))) as connection:
        assert await connection.fetchval("select version_num from alembic_version") == "one"


async def test_a_failing_alembic_migration_is_named_with_its_line(
    postgres: Endpoint, write: Write, tmp_path: Path
) -> None:
    alembic(write, SYNC_ENV)
    write("migrations/versions/two.py", SECOND)
    problem = await refused(postgres, PostgresPlan(tmp_path, ("alembic:alembic.ini",)))
    assert "migrations/versions/two.py:6: " in problem.problem
    assert 'type "txt" does not exist' in problem.problem


async def test_an_env_py_that_would_go_elsewhere_is_stopped(postgres: Endpoint, write: Write, tmp_path: Path) -> None:
    alembic(write, ELSEWHERE_ENV)
    problem = await refused(postgres, PostgresPlan(tmp_path, ("alembic:alembic.ini",)))
    assert "connects to the database 'production' on port 1" in problem.problem
    assert "secret" not in str(problem)
