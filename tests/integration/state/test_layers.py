"""Seeds on top of a template: built once, exact, and never in the template below."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest

from realstack.errors import RealstackError, SeedFailed
from realstack.model import Endpoint, PostgresPlan
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.layers import prepare_layer
from realstack.state.reset import InPlace
from realstack.state.server import connect_for_maintenance, our_databases
from realstack.state.template import Template, prepare_template

Write = Callable[[str, str], Path]


@pytest.fixture
def plan(write: Write, tmp_path: Path) -> PostgresPlan:
    write("m.sql", "create table users (id serial primary key, name text);\ncreate table runs (owner int, n int);")
    write("base.sql", "insert into users (name) values ('ann');")
    write("past.yaml", "runs:\n- {owner: !row {users: {name: ann}}, n: 1}\n")
    write("more.jsonl", "")
    (tmp_path / "more.jsonl").rename(tmp_path / "runs.jsonl")
    write("runs.jsonl", '{"owner": 1, "n": 2}\n')
    return PostgresPlan(tmp_path, ("m.sql",), ("base.sql",))


async def runs(postgres: Endpoint, template: Template) -> list[tuple[int, int]]:
    lender = Databases(postgres, template, "gw0", "rlayers")
    connection = await asyncpg.connect(**connect_arguments(await lender.lend()))
    try:
        return [tuple(row) for row in await connection.fetch("select owner, n from runs order by n")]
    finally:
        await connection.close()
        await lender.close()


async def names(postgres: Endpoint) -> set[str]:
    connection = await connect_for_maintenance(postgres)
    try:
        return set(await our_databases(connection))
    finally:
        await connection.close()


async def test_a_layer_has_its_own_rows_and_those_below(postgres: Endpoint, plan: PostgresPlan) -> None:
    base = await prepare_template(postgres, plan)
    one = await prepare_layer(postgres, base, plan, ["past.yaml"])
    two = await prepare_layer(postgres, base, plan, ["past.yaml", "runs.jsonl"])
    assert await runs(postgres, one) == [(1, 1)]
    assert await runs(postgres, two) == [(1, 1), (1, 2)]
    assert await runs(postgres, base) == []
    assert await prepare_layer(postgres, base, plan, []) is base
    assert len({base.name, one.name, two.name}) == 3


async def test_a_layer_is_built_once_by_one_of_many(postgres: Endpoint, plan: PostgresPlan) -> None:
    base = await prepare_template(postgres, plan)
    layers = await asyncio.gather(*(prepare_layer(postgres, base, plan, ["past.yaml"]) for _ in range(4)))
    assert sorted(layer.built for layer in layers) == [False, False, False, True]
    assert len({layer.name for layer in layers}) == 1


async def test_a_layer_is_another_where_anything_below_or_in_it_is(
    postgres: Endpoint, plan: PostgresPlan, write: Write
) -> None:
    async def layer(*sources: str) -> Template:
        return await prepare_layer(postgres, await prepare_template(postgres, plan), plan, sources)

    before = await layer("past.yaml")
    assert (await layer("past.yaml")).state == before.state
    other_way = {(await layer("past.yaml", "runs.jsonl")).state, (await layer("runs.jsonl", "past.yaml")).state}
    assert len(other_way) == 2
    write("past.yaml", "runs:\n- {owner: 1, n: 9}\n")
    changed = await layer("past.yaml")
    assert changed.state != before.state
    write("base.sql", "insert into users (name) values ('bob');")
    assert (await layer("past.yaml")).state not in (changed.state, before.state)


async def test_a_layer_that_does_not_fit_leaves_nothing(postgres: Endpoint, plan: PostgresPlan, write: Write) -> None:
    base = await prepare_template(postgres, plan)
    before = await names(postgres)
    write("past.yaml", "runs:\n- {owner: 1}\n- {owner: !row {users: {name: eve}}}\n")
    with pytest.raises(SeedFailed, match=r"past.yaml:3: 'users' has no row"):
        await prepare_layer(postgres, base, plan, ["past.yaml"])
    with pytest.raises(SeedFailed, match=r"no such file"):
        await prepare_layer(postgres, base, plan, ["pest.yaml"])
    assert await names(postgres) == before


async def test_a_layer_of_a_template_that_is_reset_in_place_is_so_too(postgres: Endpoint, plan: PostgresPlan) -> None:
    base = await prepare_template(postgres, plan, in_place=True)
    layer = await prepare_layer(postgres, base, plan, ["past.yaml", "runs.jsonl"])
    assert layer.in_place
    lender = Databases(postgres, layer, "gw0", "rlayers")
    lent = await lender.lend()
    connection = await asyncpg.connect(**connect_arguments(lent))
    try:
        async with InPlace(lent) as in_place:
            for _ in range(2):
                assert await connection.fetchval("select count(*) from runs") == 2
                await connection.execute("delete from runs; insert into users (name) values ('new')")
                assert (await in_place.reset()).kind == "restored"
                assert await connection.fetchval("select count(*) from users") == 1
    finally:
        await connection.close()
        await lender.close()
    with pytest.raises(RealstackError, match="not the one of this plan"):
        await prepare_layer(postgres, layer, plan, ["past.yaml"])


async def test_settings_of_the_database_reach_the_layer(postgres: Endpoint, plan: PostgresPlan, write: Write) -> None:
    write(
        "base.sql",
        "do $$ begin execute format('alter database %I set work_mem = ''5MB''', current_database()); end $$;",
    )
    layer = await prepare_layer(postgres, await prepare_template(postgres, plan), plan, ["runs.jsonl"])
    lender = Databases(postgres, layer, "gw0", "rlayers")
    connection = await asyncpg.connect(**connect_arguments(await lender.lend()))
    assert await connection.fetchval("show work_mem") == "5MB"
    await connection.close()
    await lender.close()
