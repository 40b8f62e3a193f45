"""The child process of :mod:`realstack.state.source_process`: one alembic or Python source, then the end."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from realstack.state.factory_name import read_factory_name
from realstack.state.source_factory import Made, RowError, is_mapped, rows_made, write_rows
from realstack.state.source_fixed import fix_chance, freeze_time, reseed


class WrongDatabaseError(RuntimeError):
    """The source was about to connect to another database than the one that is being made."""


class WrongSourceError(RuntimeError):
    """The source is not what its name promises."""


def main() -> int:
    """Read the order from stdin; 0, or 1 with a report as the last line of stdout."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_parent, daemon=True).start()
    run = {"alembic": run_alembic, "factory": run_factory}.get(order["kind"], run_python)
    try:
        run(order)
    except BaseException as problem:  # noqa: BLE001 - a source may raise anything, SystemExit too
        sys.stdout.flush()
        sys.stderr.flush()
        print("\n" + json.dumps(report(problem)), flush=True)  # noqa: T201 - the protocol
        return 1
    return 0


def end_with_parent() -> None:
    """Wait for the end of stdin, which our parent holds open as long as it lives."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def report(problem: BaseException) -> dict[str, Any]:
    """The problem in one sentence, and the places of its traceback, outermost first."""
    if isinstance(problem, RowError):
        return {"problem": str(problem), "places": problem.places, "details": problem.details}
    cause = getattr(problem, "orig", None) or problem
    shown = problem
    while cause.__cause__ is not None and type(cause).__module__.startswith("sqlalchemy"):
        cause = cause.__cause__
    text = " ".join(str(cause).split()) or type(cause).__name__
    if not isinstance(cause, (WrongDatabaseError, WrongSourceError)):
        text = f"{type(cause).__name__}: {text}"
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(shown.__traceback__)]
    return {"problem": text, "places": places}


def run_factory(order: dict[str, Any]) -> None:
    """Have the factory make its rows; models are written by SQLAlchemy, all others are left to our parent."""
    name = read_factory_name(order["argument"])
    if name is None:
        raise WrongSourceError("it is not named as a factory is")
    fix_chance(order["argument"])
    freeze_time(datetime.fromisoformat(order["now"]))
    source = named(name.module, name.name)
    reseed(order["argument"])
    made = rows_made(source, name)
    target = Path(order["rows_to"])
    if models := [each for each in made if is_mapped(each.row)]:
        write_models_by(choose_driver(is_async=False, declared=""), models, order["endpoint"], target)
    write_rows([each for each in made if not is_mapped(each.row)], target)


def write_models_by(driver: str, models: list[Made], endpoint: dict[str, Any], target: Path) -> None:
    """Have SQLAlchemy write them; with asyncpg where no synchronous driver is installed."""
    from realstack.state.source_models import write_models

    url = sqlalchemy_url(endpoint, driver)
    if driver != "asyncpg":
        write_models(models, url, target)
        return
    from sqlalchemy.util import greenlet_spawn

    asyncio.run(greenlet_spawn(write_models, models, url, target))


def named(module: str, name: str) -> Any:
    """What ``module`` has by that name, which may be dotted.

    :raises WrongSourceError: it has no such thing.
    """
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise WrongSourceError(f"{module} has no {name!r}")
        found = getattr(found, part)
    return found


def run_python(order: dict[str, Any]) -> None:
    """Call ``module:function`` with a URL or with an asyncpg connection, as its signature asks."""
    module, _, name = order["argument"].partition(":")
    fix_chance(order["argument"])
    function = named(module, name)
    reseed(order["argument"])
    if not callable(function):
        raise WrongSourceError(f"{module}:{name} is not a function")
    endpoint = order["endpoint"]
    if wants_url(function):
        result = function(endpoint["url"])
        if inspect.isawaitable(result):
            asyncio.run(_awaited(result))
    else:
        asyncio.run(_with_connection(function, endpoint))


def wants_url(function: Callable[..., Any]) -> bool:
    """Whether its first parameter is annotated as a string or named like a URL."""
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters:
        raise WrongSourceError("it takes no parameter: it must take a URL or an asyncpg connection")
    first = parameters[0]
    return first.annotation in (str, "str") or bool(re.search(r"ur[il]|dsn", first.name, re.IGNORECASE))


async def _awaited(result: Any) -> None:
    await result


async def _connect(endpoint: dict[str, Any]) -> Any:
    import asyncpg

    names = ("host", "port", "user", "password", "database", "ssl")
    return await asyncpg.connect(**{name: endpoint[name] for name in names})


async def _with_connection(function: Callable[..., Any], endpoint: dict[str, Any]) -> None:
    connection = await _connect(endpoint)
    try:
        async with connection.transaction():
            result = function(connection)
            if inspect.isawaitable(result):
                await result
    finally:
        await connection.close()


def run_alembic(order: dict[str, Any]) -> None:
    """Upgrade by alembic's own command, on our database alone, with whichever driver is installed."""
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    ini = Path(order["target"])
    config = Config(str(ini))
    # Its file may name another place in its own %-syntax; ours is written so that % stays %.
    script_folder = Path(ScriptDirectory.from_config(config).dir)
    source = (script_folder / "env.py").read_text(encoding="utf-8")
    is_async = bool(re.search(r"\basync_engine_from_config\b|\bcreate_async_engine\b", source))
    driver = choose_driver(is_async=is_async, declared=config.get_main_option("sqlalchemy.url") or "")
    config.set_main_option("sqlalchemy.url", sqlalchemy_url(order["endpoint"], driver).replace("%", "%%"))
    guard_connections(order["endpoint"])
    if driver == "asyncpg" and not is_async:
        # SQLAlchemy's asyncpg dialect works in a synchronous engine too, where a greenlet awaits for it.
        from sqlalchemy.util import greenlet_spawn

        asyncio.run(greenlet_spawn(command.upgrade, config, order["argument"]))
    else:
        command.upgrade(config, order["argument"])
    asyncio.run(assert_migrated_here(order["endpoint"]))


def choose_driver(*, is_async: bool, declared: str) -> str:
    """The DBAPI for the URL: the declared one if it is installed and fits, else what is there."""
    named = re.match(r"postgres(?:ql)?\+(\w+)://", declared)
    synchronous = ["psycopg", "psycopg2", "pg8000"]
    candidates = ["asyncpg", "psycopg"] if is_async else [*synchronous, "asyncpg"]
    if named and named[1] in candidates:
        candidates.insert(0, named[1])
    for name in candidates:
        if find_spec(name) is not None:
            return name
    raise WrongSourceError(f"none of the drivers {', '.join(candidates)} is installed")


def sqlalchemy_url(endpoint: dict[str, Any], driver: str) -> str:
    """The URL as SQLAlchemy takes it."""
    user = quote(endpoint["user"] or "", safe="")
    password = quote(endpoint["password"] or "", safe="")
    return (
        f"postgresql+{driver}://{user}:{password}@{endpoint['tcp_host']}:{endpoint['port']}"
        f"/{quote(endpoint['database'], safe='')}"
    )


def guard_connections(endpoint: dict[str, Any]) -> None:
    """Refuse every connection of SQLAlchemy's to another server or database: env.py may know other URLs."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "do_connect")
    def same_database(dialect: Any, record: Any, arguments: Any, named: dict[str, Any]) -> None:
        database = named.get("database", named.get("dbname"))
        port = named.get("port")
        if database != endpoint["database"] or (port is not None and int(port) != endpoint["port"]):
            raise WrongDatabaseError(
                f"env.py connects to the database {database!r} on port {port}, not to the one that is being made "
                f"({endpoint['database']!r} on port {endpoint['port']}); it must take its URL from the option "
                "sqlalchemy.url or from DATABASE_URL"
            )


async def assert_migrated_here(endpoint: dict[str, Any]) -> None:
    """Refuse a run that wrote no version into our database."""
    connection = await _connect(endpoint)
    try:
        tables = await connection.fetchval(
            "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace NOT IN "
            "(SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'pg_toast'))"
        )
    finally:
        await connection.close()
    if not tables:
        raise WrongDatabaseError(
            "alembic ran, but made no table in the database that is being made; env.py must take its URL from "
            "the option sqlalchemy.url or from DATABASE_URL"
        )


if __name__ == "__main__":
    sys.exit(main())
