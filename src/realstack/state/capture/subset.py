"""Which rows a capture holds: the chosen ones, all that they refer to, and if asked for, all that refer to them.

A row is known by its table and its place in the snapshot, so tables without a key are no exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realstack.errors import RealstackError
from realstack.state.capture.tables import CapturedTable, ForeignKey, Schema
from realstack.state.catalog import nearest, quote_name
from realstack.state.report import one_line

if TYPE_CHECKING:
    import asyncpg

Place = tuple[int, str]
"""The oid of the table (or partition) that holds a row, and its ctid as text."""


@dataclass(frozen=True, slots=True)
class Root:
    """Rows to begin with: those of ``table`` for which the SQL condition ``where`` holds (empty: all)."""

    table: str
    where: str = ""


async def chosen_places(
    connection: asyncpg.Connection,
    schema: Schema,
    roots: Sequence[Root],
    *,
    most: int | None,
    with_children: bool,
    without: frozenset[int],
) -> dict[int, set[Place]]:
    """The rows to capture, by their table's oid. Tables of ``without`` stay out, whoever refers to them.

    :raises RealstackError: a root names no table, or its condition is not one.
    """
    chosen: dict[int, set[Place]] = {}
    down: list[tuple[int, set[Place]]] = []
    for root in roots:
        table = schema.named(root.table)
        if table is None:
            names = [each.shown for each in schema.tables.values()]
            raise RealstackError(f"--table: there is no table {root.table!r}.", remedy=nearest(root.table, names))
        down.append((table.oid, await _root_places(connection, table, root, most)))
    up: list[tuple[int, set[Place]]] = []
    descended: dict[int, set[Place]] = {}
    while down or up:
        of_children = not up
        oid, places = up.pop() if up else down.pop()
        if of_children:
            places = places - descended.setdefault(oid, set())
            descended[oid] |= places
        new = places - chosen.setdefault(oid, set())
        chosen[oid] |= new
        for key in schema.foreign_keys:
            if key.child == oid and key.parent not in without and new:
                up.append((key.parent, await _across(connection, schema, key, new, to_parent=True)))
            # Children only of what was chosen itself: those of every parent would bring the whole database.
            if with_children and of_children and key.parent == oid and key.child not in without and places:
                down.append((key.child, await _across(connection, schema, key, places, to_parent=False)))
    return {oid: places for oid, places in chosen.items() if places}


async def _root_places(
    connection: asyncpg.Connection, table: CapturedTable, root: Root, most: int | None
) -> set[Place]:
    import asyncpg

    condition = f" WHERE ({root.where}\n)" if root.where else ""
    limit = f" LIMIT {most}" if most is not None else ""
    query = f"SELECT tableoid::oid, ctid::text FROM {table.source}{condition} ORDER BY {order_of(table)}{limit}"  # noqa: S608
    try:
        async with connection.transaction():
            return {(row[0], row[1]) for row in await connection.fetch(query)}
    except asyncpg.PostgresError as problem:
        raise RealstackError(
            f"the rows of {table.shown!r} cannot be chosen: {one_line(problem)}",
            details=[f"where {root.where}"] if root.where else [],
            remedy="--where takes an SQL condition on that table's columns.",
        ) from problem


async def _across(
    connection: asyncpg.Connection, schema: Schema, key: ForeignKey, places: set[Place], *, to_parent: bool
) -> set[Place]:
    """The rows at the other end of ``key``."""
    child, parent = schema.tables[key.child].source, schema.tables[key.parent].source
    pairs = zip(key.columns, key.referred, strict=True)
    same = " AND ".join(f"c.{quote_name(column)} = p.{quote_name(referred)}" for column, referred in pairs)
    here, there = ("c", "p") if to_parent else ("p", "c")
    query = (
        f"SELECT DISTINCT {there}.tableoid::oid, {there}.ctid::text "  # noqa: S608 - quoted names
        f"FROM unnest($1::oid[], $2::text[]) AS k (o, t) "
        f"JOIN {child if to_parent else parent} AS {here} ON {here}.tableoid = k.o AND {here}.ctid = k.t::tid "
        f"JOIN {parent if to_parent else child} AS {there} ON {same}"
    )
    rows = await connection.fetch(query, [place[0] for place in places], [place[1] for place in places])
    return {(row[0], row[1]) for row in rows}


def order_of(table: CapturedTable, prefix: str = "") -> str:
    """For ORDER BY: the primary key, or the rows' places."""
    return ", ".join(f"{prefix}{quote_name(column)}" for column in table.key) or f"{prefix}tableoid, {prefix}ctid"
