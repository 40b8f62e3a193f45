"""Seeds on top of a template, for one test or a class of them: each layer is a template of its own.

A layer is named by the hash of what is below it and of its own sources, is built once by whoever comes first, and
is copied as any other template is. Tests that ask for the same sources in the same order share it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realstack.errors import NotOurs, RealstackError
from realstack.model import Endpoint, PostgresPlan
from realstack.state import naming
from realstack.state.catalog import quote_name
from realstack.state.database_settings import read_database_settings, write_database_settings
from realstack.state.migrate import apply_steps
from realstack.state.reset.install import RESET_FORMAT
from realstack.state.server import (
    connect_for_maintenance,
    copy_strategy,
    create_database,
    drop_database,
    locked,
    our_databases,
    set_comment,
)
from realstack.state.sources import Step, hash_of, read_steps
from realstack.state.template import Template, _make_resettable, _now, _ready, _settle, _touch, prepare_template

if TYPE_CHECKING:
    import asyncpg


@dataclass(frozen=True, slots=True)
class _Layer:
    """``below`` is the name of the template that it is a copy of."""

    name: str
    state: str
    below: str
    root: Path
    steps: list[Step]
    in_place: bool


async def prepare_layer(
    endpoint: Endpoint, template: Template, plan: PostgresPlan, extra_sources: Sequence[str]
) -> Template:
    """The template of ``plan``'s state with the seeds ``extra_sources`` on top, one layer a source, in order.

    ``template`` is what :func:`prepare_template` made of ``plan``; if its copies can be reset in place, so can the
    layer's. Safe to be called by many processes at once; what it makes outlives the caller.

    :raises SeedFailed: a source is missing or does not fit; nothing of the half-made layer is left.
    :raises RealstackError: ``template`` is not the one of ``plan``.
    """
    began = time.monotonic()
    if not extra_sources:
        return template
    below = await _plain(endpoint, template, plan)
    built = False
    connection = await connect_for_maintenance(endpoint)
    try:
        for number, source in enumerate(extra_sources, start=1):
            in_place = template.in_place and number == len(extra_sources)
            layer = await _layer_on(connection, below, plan, source, in_place=in_place)
            built = await _found_or_built(connection, endpoint, layer)
            below = Template(layer.name, layer.state, built, time.monotonic() - began, in_place)
    finally:
        await connection.close()
    return below


async def _plain(endpoint: Endpoint, template: Template, plan: PostgresPlan) -> Template:
    """What the layers go upon. What makes a template resettable records writes, so it must come last of all."""
    if not template.in_place:
        return template
    plain = await prepare_template(endpoint, plan)
    if _resettable(plain.state) != template.state:
        raise RealstackError(
            f"the template {template.name} is not the one of this plan.",
            remedy="name all sources of a layer at once, on top of what prepare_template() made of the same plan.",
        )
    return plain


def _resettable(state: str) -> str:
    """The state of a template in which reset in place is installed, as :func:`prepare_template` names it."""
    return hashlib.sha256(f"{state} in place {RESET_FORMAT}".encode()).hexdigest()


async def _layer_on(
    connection: asyncpg.Connection, below: Template, plan: PostgresPlan, source: str, *, in_place: bool
) -> _Layer:
    steps = await asyncio.to_thread(read_steps, PostgresPlan(plan.root, seed=(source,)))
    major = connection.get_server_version().major
    own = await asyncio.to_thread(hash_of, steps, root=plan.root, server_major=major)
    state = hashlib.sha256(f"{own} on {below.state}".encode()).hexdigest()
    if in_place:
        state = _resettable(state)
    return _Layer(naming.template_name(plan.root, state), state, below.name, plan.root, steps, in_place)


async def _found_or_built(connection: asyncpg.Connection, endpoint: Endpoint, layer: _Layer) -> bool:
    name = layer.name
    databases = await our_databases(connection)
    if _ready(databases.get(name)):
        await _touch(connection, name, databases[name])
        return False
    async with locked(connection, name):
        databases = await our_databases(connection)
        if _ready(databases.get(name)):
            return False
        if name in databases:  # its maker was killed
            if not naming.is_ours(name, databases[name]):
                raise NotOurs(
                    f"the database {name!r} has the name of our template, but somebody else's comment.",
                    remedy="rename or drop it.",
                )
            await drop_database(connection, name)
        await _build(connection, endpoint, layer)
    return True


async def _build(connection: asyncpg.Connection, endpoint: Endpoint, layer: _Layer) -> None:
    import asyncpg

    name = layer.name
    facts: dict[str, Any] = {"state": layer.state, "made": _now(), "used": _now()}
    await create_database(
        connection,
        name,
        template=layer.below,
        strategy=await copy_strategy(connection),
        comment=naming.mark("template", ready=False, **facts),
    )
    inside = replace(endpoint, database=name)
    try:
        await write_database_settings(connection, name, await read_database_settings(connection, layer.below))
        await apply_steps(inside, layer.steps, layer.root)
        if layer.in_place:
            await _make_resettable(inside)
        await _settle(inside)
        await connection.execute(f"ALTER DATABASE {quote_name(name)} IS_TEMPLATE true ALLOW_CONNECTIONS false")
        await set_comment(connection, name, naming.mark("template", ready=True, **facts))
    except BaseException:
        # Where the server itself is gone the first error tells more than a second one would.
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            await asyncio.shield(drop_database(connection, name))
        raise
