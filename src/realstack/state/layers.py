"""Seeds on top of a template, for one test or a class of them: each layer is a template of its own.

A layer is named by the hash of what is below it and of its own sources, is built once by whoever comes first, and
is copied as any other template is. Tests that ask for the same sources in the same order share it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from realstack.errors import RealstackError
from realstack.model import Endpoint, PostgresPlan
from realstack.state import naming
from realstack.state.build import Blueprint, built_once, is_current, resettable, touch
from realstack.state.server import (
    connect_for_maintenance,
    our_databases,
    server_version,
)
from realstack.state.sources import hash_of, read_steps
from realstack.state.template import Template, prepare_template

if TYPE_CHECKING:
    import asyncpg


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
    if resettable(plain.state) != template.state:
        raise RealstackError(
            f"the template {template.name} is not the one of this plan.",
            remedy="name all sources of a layer at once, on top of what prepare_template() made of the same plan.",
        )
    return plain


async def _layer_on(
    connection: asyncpg.Connection, below: Template, plan: PostgresPlan, source: str, *, in_place: bool
) -> Blueprint:
    steps = await asyncio.to_thread(read_steps, replace(plan, migrations=(), seed=(source,)))
    version = server_version(connection)
    own = await asyncio.to_thread(hash_of, steps, root=plan.root, server_version=version)
    state = hashlib.sha256(f"{own} on {below.state}".encode()).hexdigest()
    if in_place:
        state = resettable(state)
    return Blueprint(naming.template_name(plan.root, state), state, below.name, plan.root, steps, in_place)


async def _found_or_built(connection: asyncpg.Connection, endpoint: Endpoint, layer: Blueprint) -> bool:
    name = layer.name
    databases = await our_databases(connection)
    if await is_current(connection, databases.get(name)):
        await touch(connection, name, databases[name])
        return False
    return await built_once(connection, endpoint, layer)
