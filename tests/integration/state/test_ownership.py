"""A given server is written only if it is declared disposable, and empty or marked."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from realstack.errors import NotOurs
from realstack.model import Endpoint, PostgresPlan, RedisPlan
from realstack.services.postgres import connect_arguments
from realstack.services.redis import client
from realstack.state.clones import Databases
from realstack.state.ownership import REDIS_MARK, assert_ours
from realstack.state.redis_state import RedisState
from realstack.state.server import connect_for_maintenance
from realstack.state.template import prepare_template


@pytest.fixture
async def given(postgres: Endpoint) -> AsyncIterator[Endpoint]:
    connection = await connect_for_maintenance(postgres)
    await connection.execute("create database given template template0")
    yield replace(postgres, database="given", provider="external", options={"maintenance_db": "given"})
    await connection.execute("drop database given with (force)")
    await connection.close()


async def execute(endpoint: Endpoint, sql: str) -> None:
    connection = await asyncpg.connect(**connect_arguments(endpoint))
    await connection.execute(sql)
    await connection.close()


async def test_undeclared_it_is_refused_without_being_asked(postgres: Endpoint) -> None:
    nowhere = replace(postgres, port=1, socket_dir=None)
    with pytest.raises(NotOurs, match="REALSTACK_DISPOSABLE=postgres"):
        await assert_ours(nowhere, declared_disposable=False)


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        ("create table users (id int)", "table users"),
        ("create schema app", "schema app"),
        ("create function f() returns int language sql as 'select 1'", "function f()"),
        ("create view v as select 1", "table v"),
    ],
)
async def test_a_database_with_anything_in_it_is_refused(given: Endpoint, sql: str, shown: str) -> None:
    await execute(given, sql)
    with pytest.raises(NotOurs) as caught:
        await assert_ours(given, declared_disposable=True)
    assert shown in str(caught.value)
    with pytest.raises(NotOurs):
        await prepare_template(given, PostgresPlan(Path("/nowhere")))


async def test_an_empty_one_is_marked_and_stays_ours(given: Endpoint) -> None:
    await execute(given, "create extension if not exists btree_gin")  # what an extension brings is nobody's data
    await assert_ours(given, declared_disposable=True)
    await execute(given, "create table t (id int)")
    await assert_ours(given, declared_disposable=True)


async def test_the_known_state_of_a_given_server_leaves_the_given_database_empty(
    given: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "m.sql").write_text("create table t (id int);")
    await assert_ours(given, declared_disposable=True)
    template = await prepare_template(given, PostgresPlan(tmp_path, ("m.sql",)))
    lender = Databases(given, template, "gw0", "rgiven")
    lent = await lender.lend()
    await execute(lent, "insert into t values (1)")
    await lender.close()
    connection = await asyncpg.connect(**connect_arguments(given))
    assert await connection.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
    await connection.close()


async def test_somebody_elses_comment_is_not_replaced(given: Endpoint) -> None:
    await execute(given, "comment on database given is 'mine'")
    await assert_ours(given, declared_disposable=True)
    await execute(given, "create table t (id int)")
    with pytest.raises(NotOurs):
        await assert_ours(given, declared_disposable=True)


async def test_a_redis_with_keys_and_no_mark_is_refused(empty_redis: Endpoint) -> None:
    given = replace(empty_redis, provider="external")
    async with client(given, database=3) as other:
        await other.set("precious", "1")
        with pytest.raises(NotOurs, match=r"db3 has 1 keys"):
            await assert_ours(given, declared_disposable=True)
        state = RedisState(given, RedisPlan(Path()), "gw0", "r1")
        with pytest.raises(NotOurs):
            await state.lend()
        await state.close()
        assert await other.get("precious") == b"1"


async def test_an_empty_redis_is_marked_and_stays_ours(empty_redis: Endpoint) -> None:
    given = replace(empty_redis, provider="external")
    await assert_ours(given, declared_disposable=True)
    async with client(given, database=0) as control:
        assert await control.get(REDIS_MARK) is not None
        await control.set("more", "1")
    await assert_ours(given, declared_disposable=True)


async def test_a_logical_database_with_somebody_elses_keys_is_never_lent(empty_redis: Endpoint) -> None:
    async with client(empty_redis, database=1) as other:
        await other.set("precious", "1")
        state = RedisState(empty_redis, RedisPlan(Path()), "gw0", "r1")
        assert (await state.lend()).database == "2"
        await state.close()
        assert await other.get("precious") == b"1"
