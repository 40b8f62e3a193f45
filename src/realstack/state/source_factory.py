"""What a factory source makes, in the child process: its rows, as lines of JSON in a file that the parent reads.

Rows are mappings, dataclasses, pydantic models, attrs classes, named tuples; instances of SQLAlchemy's models are
written by SQLAlchemy itself (:mod:`realstack.state.source_models`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

from realstack.state.factory_name import FactoryName

MOST_SHOWN = 200


class RowError(RuntimeError):
    """A row cannot be written; it stands, or its factory does, at ``places``. ``details`` has the row."""

    def __init__(self, problem: str, places: list[tuple[str, int]], details: list[str] | None = None) -> None:
        super().__init__(problem)
        self.places = places
        self.details = details or []


@dataclasses.dataclass(slots=True)
class Made:
    """One row that a factory made: the ``number``-th. ``file`` and ``line`` are of the ``yield``, or the factory."""

    number: int
    row: Any
    table: str
    file: str
    line: int

    def failed(self, problem: str) -> RowError:
        """The error for this row."""
        return RowError(f"row {self.number}: {problem}", [(self.file, self.line)], [f"row: {shown(self.row)}"])


def rows_made(source: Any, name: FactoryName) -> list[Made]:
    """All rows that ``source`` makes, in its order.

    :raises RowError: it is nothing that makes rows, or made something else.
    """
    place = place_of(source)
    found: list[Made] = []
    try:
        for given, line in _given(source, name, place):
            for row, table in _split(given, name.table):
                found.append(Made(len(found) + 1, row, table, place[0], line or place[1]))
    except NotRowsError as problem:
        raise RowError(f"row {len(found) + 1}: {problem}" if found else str(problem), [place]) from problem
    return found


def write_rows(made: list[Made], target: Path) -> None:
    """Append ``made`` to ``target``, a line a row. A value that is itself one of the rows becomes a reference.

    :raises RowError: a row does not tell its table, or a value has no form that a database takes.
    """
    numbers = {id(each.row): index for index, each in enumerate(made)}
    with target.open("a", encoding="utf-8") as file:
        for each in made:
            values: dict[str, Any] = {}
            refers: dict[str, int] = {}
            for column, value in columns_of(each.row).items():
                if id(value) in numbers:
                    refers[column] = numbers[id(value)]
                    values[column] = None
                    continue
                try:
                    values[column] = plain(value)
                except NotRowsError as problem:
                    raise each.failed(f"column {column!r}: {problem}") from problem
            table = each.table or table_of(type(each.row))
            if not table:
                kind = type(each.row).__name__
                raise each.failed(
                    f'a {kind} does not tell its table: name it in the source ("… -> table"), '
                    "or give the class a __tablename__"
                )
            place = {"file": each.file, "line": each.line, "number": each.number}
            file.write(json.dumps({"table": table, "place": place, "values": values, "refers": refers}) + "\n")


class NotRowsError(ValueError):
    """Something is no row, or no value; it says what it is."""


def columns_of(row: Any) -> dict[str, Any]:
    """The row's columns, values as they are."""
    if isinstance(row, Mapping):
        return {str(name): value for name, value in row.items()}
    if dataclasses.is_dataclass(row):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    kind = type(row)
    for names in ("model_fields", "__struct_fields__", "_fields"):
        if hasattr(kind, names):
            return {name: getattr(row, name) for name in getattr(kind, names)}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(row, field.name) for field in kind.__attrs_attrs__}
    raise NotRowsError(f"{shown(row)} is no row: a row is a dict, a dataclass, or a model's instance")


def table_of(kind: type) -> str:
    """The table that a class names by SQLAlchemy's words; empty if it does not."""
    table = getattr(kind, "__table__", None)
    named = getattr(table, "fullname", None) or table or getattr(kind, "__tablename__", "")
    return named if isinstance(named, str) else ""


def is_mapped(row: Any) -> bool:
    """Whether SQLAlchemy knows how to write it."""
    return hasattr(type(row), "__mapper__")


def plain(value: Any) -> Any:
    """``value`` as JSON holds it, in the form that PostgreSQL reads back into the column's type.

    :raises NotRowsError: there is no such form.
    """
    if value is None or (isinstance(value, (bool, str)) and not isinstance(value, Enum)):
        return value
    for kind, convert in _PLAIN:
        if isinstance(value, kind):
            return convert(value)
    for method, convert in _BY_METHOD:
        if hasattr(value, method):
            return plain(convert(value))
    try:
        return plain(columns_of(value))
    except NotRowsError:
        raise NotRowsError(f"a value of type {type(value).__qualname__} has no form that a database takes") from None


def _duration(value: timedelta) -> str:
    return f"{value.days} days {value.seconds} seconds {value.microseconds} microseconds"


def _number(value: float) -> Any:
    return value if value - value == 0 else str(value).replace("inf", "Infinity").replace("nan", "NaN")


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted((plain(each) for each in values), key=lambda each: json.dumps(each, sort_keys=True))


_PLAIN: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    (Enum, lambda value: plain(value.value)),
    (int, int),
    (float, _number),
    ((Decimal, UUID), str),
    (timedelta, _duration),
    ((datetime, date, time), lambda value: value.isoformat()),
    ((bytes, bytearray, memoryview), lambda value: "\\x" + bytes(value).hex()),
    (Mapping, lambda value: {str(plain(name)): plain(each) for name, each in value.items()}),
    ((set, frozenset), _sorted),
    ((list, tuple), lambda value: [plain(each) for each in value]),
    ((PurePath, IPv4Address, IPv6Address, IPv4Network, IPv6Network, IPv4Interface, IPv6Interface), str),
)
_BY_METHOD: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("get_secret_value", lambda value: value.get_secret_value()),
    ("model_dump", lambda value: value.model_dump(mode="json")),
    ("tolist", lambda value: value.tolist()),  # numpy's scalars and arrays
    ("unicode_string", str),  # pydantic's addresses
)


def shown(row: Any) -> str:
    """The row for an error, shortened."""
    try:
        text = json.dumps(plain(row), ensure_ascii=False)
    except (NotRowsError, RecursionError):
        text = repr(row)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 1] + "…"


def place_of(source: Any) -> tuple[str, int]:
    """File and line of a function or a class; of nothing else is it known."""
    try:
        found = inspect.unwrap(source) if callable(source) else type(source)
        return inspect.getsourcefile(found) or "", inspect.getsourcelines(found)[1]
    except (OSError, TypeError):
        return "", 0


def _given(source: Any, name: FactoryName, place: tuple[str, int]) -> Iterator[tuple[Any, int]]:
    """What the source gives, one after the other, and the line of the ``yield`` it came from (0: none)."""
    if inspect.isclass(source):
        yield from ((row, 0) for row in _batch(source, name.count or 1))
    elif not callable(source):
        yield source, 0
    else:
        for _ in range(name.count or 1):
            result = source()
            if inspect.isgenerator(result):
                for given in result:
                    frame = result.gi_frame
                    yield given, frame.f_lineno if frame and frame.f_code.co_filename == place[0] else 0
            elif inspect.isasyncgen(result):
                yield from asyncio.run(_collected(result))
            else:
                yield (asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result), 0


async def _collected(results: AsyncIterator[Any]) -> list[tuple[Any, int]]:
    frame = results.ag_frame  # type: ignore[attr-defined]
    return [(given, frame.f_lineno) async for given in results]


async def _awaited(result: Any) -> Any:
    return await result


def _batch(factory: type, count: int) -> Iterable[Any]:
    """Rows of a factory class (polyfactory's, factory_boy's), or of a factory that is made for a model."""
    for method in ("batch", "build_batch"):
        if hasattr(factory, method):
            rows: Iterable[Any] = getattr(factory, method)(count)
            return rows
    if hasattr(factory, "__mapper__"):
        from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory as Maker
    elif hasattr(factory, "model_fields"):
        from polyfactory.factories.pydantic_factory import ModelFactory as Maker
    elif dataclasses.is_dataclass(factory):
        from polyfactory.factories import DataclassFactory as Maker
    elif hasattr(factory, "__attrs_attrs__"):
        from polyfactory.factories.attrs_factory import AttrsFactory as Maker
    else:
        raise NotRowsError(f"{factory.__name__} is a class, and neither a factory nor a model")
    made: Iterable[Any] = Maker.create_factory(factory).batch(count)
    return made


def _split(given: Any, table: str) -> Iterator[tuple[Any, str]]:
    """Rows and their tables (empty: the row's class tells it) of what a factory gave in one piece."""
    if given is None:
        raise NotRowsError("it gave None instead of rows")
    if isinstance(given, Mapping) and not table:
        for name, rows in given.items():
            if not isinstance(name, str) or not isinstance(rows, (list, tuple)):
                raise NotRowsError(
                    f'{shown(given)} has no table: name it in the source ("… -> table"), '
                    "or give a dict of tables to lists of rows"
                )
            for row in rows:
                columns_of(row)
                yield row, name
    elif isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], str) and not hasattr(given, "_fields"):
        columns_of(given[1])
        yield given[1], given[0]
    elif isinstance(given, (list, tuple, Iterator)) and not hasattr(given, "_fields"):
        for each in given:
            yield from _split(each, table)
    elif is_mapped(given):
        yield given, ""
    else:
        columns_of(given)
        yield given, table
