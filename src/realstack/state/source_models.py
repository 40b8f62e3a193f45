"""Instances of SQLAlchemy's models, written by its own session: relations, defaults, inheritance and order are its."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realstack.state.source_factory import Made, RowError, shown


def write_models(made: list[Made], url: str, target: Path) -> None:
    """Write all instances and what they relate to in one transaction, and note in ``target`` which keys were given.

    :raises RowError: one does not fit; it is the one that is named, as each is written by itself.
    """
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.orm import Mapper, Session
    from sqlalchemy.pool import NullPool

    last: list[Any] = []

    def noted(mapper: Any, connection: Any, instance: Any) -> None:
        last[:] = [instance]

    event.listen(Mapper, "before_insert", noted)
    engine = create_engine(url, poolclass=NullPool)
    with Session(engine) as session:
        for each in made:
            try:
                session.add(each.row)
            except SQLAlchemyError as problem:
                raise each.failed(_sentence(problem)) from problem
        given: dict[str, set[str]] = {}
        for instance in session.new:
            _one_by_one(instance)
            for table, column in _columns_given(instance):
                given.setdefault(table, set()).add(column)
        try:
            session.commit()
        except SQLAlchemyError as problem:
            raise _refused(made, last, problem) from problem
    engine.dispose()
    with target.open("a", encoding="utf-8") as file:
        file.writelines(
            json.dumps({"written": table, "columns": sorted(columns)}) + "\n" for table, columns in given.items()
        )


def _one_by_one(instance: Any) -> None:
    """Have SQLAlchemy write each instance by a statement of its own, so that a refusal tells which one it was."""
    from sqlalchemy import inspect

    for mapper in inspect(instance).mapper.iterate_to_root():
        mapper.batch = False


def _columns_given(instance: Any) -> list[tuple[str, str]]:
    from sqlalchemy import inspect

    state = inspect(instance)
    found = []
    for attribute in state.mapper.column_attrs:
        if state.dict.get(attribute.key) is not None:
            found += [(column.table.fullname, column.name) for column in attribute.columns if hasattr(column, "table")]
    return found


def _refused(made: list[Made], last: list[Any], problem: Exception) -> RowError:
    """The error with the instance that was being written; one that others brought along has the first row's place."""
    for each in made:
        if last and each.row is last[0]:
            failed = each.failed(f"a row of {type(each.row).__tablename__!r} does not fit: {_sentence(problem)}")
            failed.details = [f"row: {_columns_shown(each.row)}"]
            return failed
    first = made[0]
    if not last:
        return RowError(_sentence(problem), [(first.file, first.line)])
    return RowError(
        f"a row of {type(last[0]).__tablename__!r}, related to one of its rows, does not fit: {_sentence(problem)}",
        [(first.file, first.line)],
        [f"row: {_columns_shown(last[0])}"],
    )


def _columns_shown(instance: Any) -> str:
    from sqlalchemy import inspect

    state = inspect(instance)
    names = [attribute.key for attribute in state.mapper.column_attrs]
    return shown({name: state.dict[name] for name in names if name in state.dict})


def _sentence(problem: Exception) -> str:
    """The server's own sentence where it is its refusal, without the statement and its parameters."""
    cause: BaseException = getattr(problem, "orig", None) or problem
    while cause.__cause__ is not None and type(cause).__module__.startswith("sqlalchemy"):
        cause = cause.__cause__
    detail = getattr(cause, "detail", None)
    text = " ".join(str(cause).split("[SQL")[0].split())
    return f"{text} ({detail})" if detail and str(detail) not in text else text
