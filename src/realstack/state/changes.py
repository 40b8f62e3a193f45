"""What a test changed: rows by table, sequences, commands that changed the schema. Pure; values to compare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, SupportsIndex

from realstack.state.catalog import nearest

Row = Mapping[str, Any]
_WIDEST = 160


class Rows(tuple[Any, ...]):
    """Rows in a stable order. Compares with a number by how many there are: ``changes.inserted("runs") == 2``.

    Rows, and pairs of them, may be written as lists too.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SupportsIndex):
            return len(self) == other
        if isinstance(other, list | tuple):
            return tuple.__eq__(self, tuple(tuple(row) if isinstance(row, list) else row for row in other)) is True
        return False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


NO_ROWS = Rows()


@dataclass(frozen=True)
class TableChanges:
    """Of one table. Rows are dicts of column to value as JSON has it; ``updated`` are pairs: before, after."""

    inserted: Rows = NO_ROWS
    updated: Rows = NO_ROWS
    deleted: Rows = NO_ROWS
    masks: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def kinds(self) -> dict[str, Rows]:
        """The rows of each kind, without the kinds that there are none of."""
        found = {"inserted": self.inserted, "updated": self.updated, "deleted": self.deleted}
        return {kind: rows for kind, rows in found.items() if rows}

    def counts(self) -> dict[str, int]:
        """How many of each kind, without the kinds that there are none of."""
        return {kind: len(rows) for kind, rows in self.kinds().items()}


@dataclass(frozen=True, eq=False, repr=False)
class Changes:
    """The difference between a database and the known state. False if there is none.

    ``==`` takes a dict of counts, or of rows, ``{"runs": {"inserted": 2}}``: what is not named must be unchanged.
    ``sequences`` are not part of that; ``ddl`` is what was done to the schema.
    """

    tables: Mapping[str, TableChanges]
    sequences: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    ddl: tuple[str, ...] = ()
    known_tables: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tables or self.sequences or self.ddl)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Changes):
            mine, others = (self.tables, self.sequences, self.ddl), (other.tables, other.sequences, other.ddl)
            return mine == others
        if isinstance(other, Mapping):
            wanted = {str(table): _wanted(str(table), kinds) for table, kinds in other.items()}
            found = {table: of.kinds() for table, of in self.tables.items()}
            return found == {table: kinds for table, kinds in wanted.items() if kinds}
        return NotImplemented

    __hash__ = None  # type: ignore[assignment] # it holds rows

    def __repr__(self) -> str:
        return f"<Changes {'; '.join(self.lines()) or 'none'}>"

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)

    def inserted(self, table: str) -> Rows:
        """Rows of ``table`` that the known state does not have.

        :raises KeyError: there is no such table.
        """
        return self._of(table).inserted

    def updated(self, table: str) -> Rows:
        """Pairs (before, after) of rows of ``table`` whose key stayed."""
        return self._of(table).updated

    def deleted(self, table: str) -> Rows:
        """Rows of ``table`` that only the known state has."""
        return self._of(table).deleted

    def as_dict(self) -> dict[str, dict[str, int]]:
        """Counts by table and kind."""
        return {table: changes.counts() for table, changes in self.tables.items()}

    def snapshot(self, *, masked: bool = True) -> dict[str, dict[str, list[Any]]]:
        """All rows, with values that differ from run to run masked (``<now()>``): fit to be kept and compared."""
        found: dict[str, dict[str, list[Any]]] = {}
        for table, of in self.tables.items():
            masks = of.masks if masked else {}
            kinds: dict[str, list[Any]] = {
                "inserted": [_masked(row, masks) for row in of.inserted],
                "updated": [[_masked(row, masks) for row in pair] for pair in of.updated],
                "deleted": [_masked(row, masks) for row in of.deleted],
            }
            found[table] = {kind: rows for kind, rows in kinds.items() if rows}
        return found

    def lines(self) -> list[str]:
        """For a report: one line a table, then sequences and commands."""
        lines = [
            f"{table}: {', '.join(f'{count} {kind}' for kind, count in of.counts().items())}"
            for table, of in self.tables.items()
        ]
        lines.extend(f"sequence {name}: {before} → {after}" for name, (before, after) in self.sequences.items())
        return [*lines, *self.ddl]

    def text(self, most: int = 5) -> str:
        """A short table for a report: how much of what, then the first ``most`` rows of each table."""
        return "\n".join(
            [*self.lines(), *(line if len(line) <= _WIDEST else f"{line[:_WIDEST]}…" for line in self.rows(most))]
        )

    def rows(self, most: int = 5) -> list[str]:
        """For a report: the first ``most`` rows of each table, as JSON: + inserted, - deleted, ~ before → after."""
        lines: list[str] = []
        for table, of in self.tables.items():
            shown = [f"+ {json.dumps(row)}" for row in of.inserted] + [f"- {json.dumps(row)}" for row in of.deleted]
            shown += [f"~ {json.dumps(before)} → {json.dumps(after)}" for before, after in of.updated]
            lines += [f"{table} {line}" for line in shown[:most]]
            if len(shown) > most:
                lines.append(f"{table} … {len(shown) - most} more")
        return lines

    def _of(self, table: str) -> TableChanges:
        if table not in self.tables and self.known_tables and table not in self.known_tables:
            raise KeyError(f"there is no table {table!r}: {nearest(table, self.known_tables)}")
        return self.tables.get(table, TableChanges())


def _wanted(table: str, kinds: object) -> dict[str, Any]:
    """What a table's changes are compared with, without what asks for no rows.

    :raises TypeError: it can never be equal.
    """
    if isinstance(kinds, Mapping) and all(isinstance(rows, SupportsIndex | list | tuple) for rows in kinds.values()):
        return {str(kind): rows for kind, rows in kinds.items() if rows}
    raise TypeError(
        f"changes of {table} are compared with {kinds!r}, which is no dict of kinds, each with a number of "
        'rows, or the rows: {"inserted": 2}.'
    )


def _masked(row: Row, masks: Mapping[str, str]) -> dict[str, Any]:
    return {column: masks.get(column, value) if value is not None else None for column, value in row.items()}
