"""In which order captured tables load: parents first; circles by constraints that wait for the commit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from realstack.errors import RealstackError
from realstack.state.capture.tables import ForeignKey, Schema


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """The tables' oids in order. ``deferred``: constraints must wait for the commit."""

    tables: tuple[int, ...]
    deferred: bool


def load_order(schema: Schema, rows: Mapping[int, Sequence[Sequence[str | None]]]) -> LoadOrder:
    """An order in which ``rows`` (by their table's oid) meet the foreign keys that they use.

    A table that refers to itself is no hindrance: its rows go in by one statement.

    :raises RealstackError: there is none; the circle is named.
    """
    used = [key for key in schema.foreign_keys if key.child != key.parent and _is_used(schema, key, rows)]
    names = sorted(rows, key=lambda oid: schema.tables[oid].shown)
    order, _ = _sorted(names, used)
    if order is not None:
        return LoadOrder(order, deferred=False)
    order, left = _sorted(names, [key for key in used if not key.deferrable])
    if order is not None:
        return LoadOrder(order, deferred=True)
    circle = _circle(left, [key for key in used if not key.deferrable])
    words = " → ".join(f"{schema.tables[key.child].shown}.{','.join(key.columns)}" for key in circle)
    raise RealstackError(
        f"rows refer to each other in a circle: {words} → {schema.tables[circle[-1].parent].shown}.",
        remedy="make one of these foreign keys DEFERRABLE, set one of the columns to NULL by --mask COLUMN=null, "
        "or leave a table out by --exclude.",
    )


def _is_used(schema: Schema, key: ForeignKey, rows: Mapping[int, Sequence[Sequence[str | None]]]) -> bool:
    if key.child not in rows or key.parent not in rows:
        return False
    columns = [column.name for column in schema.tables[key.child].columns]
    if not all(name in columns for name in key.columns):
        return True  # a generated column refers; its values are not known here
    at = [columns.index(name) for name in key.columns]
    return any(all(row[number] is not None for number in at) for row in rows[key.child])


def _sorted(names: Sequence[int], keys: Iterable[ForeignKey]) -> tuple[tuple[int, ...] | None, list[int]]:
    """The names, parents first; or None, and those that are left over."""
    parents: dict[int, set[int]] = {name: set() for name in names}
    for key in keys:
        parents[key.child].add(key.parent)
    left, order = list(names), list[int]()
    while left:
        free = [name for name in left if not parents[name] & set(left)]
        if not free:
            return None, left
        order += free
        left = [name for name in left if name not in free]
    return tuple(order), []


def _circle(left: Sequence[int], keys: Sequence[ForeignKey]) -> list[ForeignKey]:
    """One circle among the tables that are left: each has a parent there, so following parents comes back."""
    path: list[ForeignKey] = []
    at = left[0]
    seen: dict[int, int] = {}
    while at not in seen:
        seen[at] = len(path)
        step = next(key for key in keys if key.child == at and key.parent in left)
        path.append(step)
        at = step.parent
    return path[seen[at] :]
