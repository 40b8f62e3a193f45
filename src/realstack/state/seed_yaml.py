"""Seeds as YAML rows: ``table: [{column: value, …}, …]``.

A row with an anchor (``- &ann {name: Ann}``) can be referred to (``owner_id: *ann``): the value is then the key by
which that row is found. ``!row {users: {name: Ann}}`` refers to a row that another source has made.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from realstack.state.catalog import Table, find_table, no_such_column, no_such_table
from realstack.state.seed_rows import Json, Lookup, Row, RowWriter, Target, one_transaction
from realstack.state.sources import Step
from realstack.state.yaml_nodes import At, is_null, jsonable

if TYPE_CHECKING:
    import asyncpg

_ROW, _JSON = "!row", "!json"
DEFERRED = "$deferred"


async def apply_yaml(connection: asyncpg.Connection, step: Step) -> None:
    """Insert the rows of the file of ``step``, all or none, tables in the order in which they stand.

    :raises RealstackError: of the step's phase; a table or a column is missing, or a row does not fit.
    """

    at = At(step.shown, step.phase.error, now=step.now)
    root = at.root(step.path)
    if root is None:
        return
    file = _File(at, root)
    writer = RowWriter(connection, step.phase.error)
    async with one_transaction(connection, step):
        for key, node in at.pairs(root):
            if key.value == DEFERRED:
                await _defer(connection, at, node)
                continue
            table = await find_table(connection, key.value)
            if table is None:
                raise await no_such_table(connection, at.error, at.where(key), key.value)
            await writer.insert(table, file.rows(table, node))


async def _defer(connection: asyncpg.Connection, at: At, node: yaml.Node) -> None:
    """``$deferred: true``: deferrable constraints wait for the commit, so rows may refer to each other in a circle."""
    if at.plain(node) is not True:
        raise at.failed(node, f"`{DEFERRED}` is `true` or not there.", "write it at the top of the file.")
    await connection.execute("SET CONSTRAINTS ALL DEFERRED")


class _File:
    """The rows of one file, and which of them others refer to."""

    def __init__(self, at: At, root: yaml.MappingNode) -> None:
        self.at = at
        items = {
            id(item): item
            for _, node in at.pairs(root)
            if isinstance(node, yaml.SequenceNode)
            for item in node.value
            if isinstance(item, yaml.MappingNode)
        }
        self.targets = {
            found: Target(at.where(items[found])) for found in _values_below(items.values()) if found in items
        }

    def rows(self, table: Table, node: yaml.Node) -> list[Row]:
        """The rows that ``node`` lists for ``table``."""
        at = self.at
        if is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            raise at.failed(node, f"{table.name!r} must hold a list of rows.", "write each row as `- column: value`.")
        rows = []
        for item in node.value:
            if not isinstance(item, yaml.MappingNode):
                raise at.failed(item, f"a row of {table.name!r} must be a map.", "write it as `- column: value`.")
            values, places = {}, {}
            for key, value in at.pairs(item):
                if key.value not in table.columns:
                    raise no_such_column(at.error, at.where(key), table, key.value)
                places[key.value] = at.where(key)
                values[key.value] = self._json(value) or jsonable(at.plain(value, special=self._referred))
            rows.append(Row(at.where(item), values, target=self.targets.get(id(item)), places=places))
        return rows

    def _json(self, node: yaml.Node) -> Json | None:
        """``!json '{"a": 1.50}'``: JSON that goes into its column as it stands."""
        if node.tag != _JSON:
            return None
        text = str(node.value)
        try:
            json.loads(text)
        except ValueError as problem:
            raise self.at.failed(node, f"this is not JSON: {problem}.", "`!json` takes a text of JSON.") from problem
        return Json(text)

    def _referred(self, node: yaml.Node) -> Target | Lookup | None:
        return self._lookup(node) if node.tag == _ROW else self.targets.get(id(node))

    def _lookup(self, node: yaml.Node) -> Lookup:
        """``!row {table: {column: value}}``."""
        at = self.at
        pairs = [*at.pairs(node)] if isinstance(node, yaml.MappingNode) else []
        if len(pairs) != 1 or not isinstance(pairs[0][1], yaml.MappingNode) or not pairs[0][1].value:
            raise at.failed(node, "`!row` names one table and columns of it.", "write !row {users: {name: Ann}}.")
        (key, columns) = pairs[0]
        return Lookup(at.where(node), key.value, {name: jsonable(value) for name, value in at.plain(columns).items()})


def _values_below(rows: Any) -> set[int]:
    """Every node that is the value of a row's column, or lies in one; what ``<<`` brings counts, ``<<`` itself not."""
    seen: set[int] = set()
    pending = [value for row in rows for key, value in row.value if not key.tag.endswith(":merge")]
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            pending.extend(value for _, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
    return seen
