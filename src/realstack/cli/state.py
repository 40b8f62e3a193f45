"""``realstack state``: whether a database is at the known state, what was changed in it, and where it is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from realstack import registry
from realstack.cli import exit_codes
from realstack.cli.standing import required
from realstack.config import Settings
from realstack.errors import RealstackError
from realstack.known_state import known_template
from realstack.model import POSTGRES, Address, Endpoint, Secret
from realstack.services import service

if TYPE_CHECKING:
    from realstack.handles.known import KnownState
    from realstack.state.template import Template

Found = TypeVar("Found")

app = typer.Typer(help="The known state: verify a database, see what was changed, find it.", no_args_is_help=True)

DatabaseArgument = Annotated[
    str | None,
    typer.Argument(help="A database's name on the server that is up, or a URL; else what `realstack env` names."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def verify(database: DatabaseArgument = None, as_json: JsonOption = False) -> None:
    """Tell whether a database is at the known state, and what differs, by table and row. Exit code 1 if it is not."""
    used, lines = _asked(database, lambda known, used: known.differences(used))
    if as_json:
        typer.echo(json.dumps({"database": used.safe_url, "at_known_state": not lines, "differences": lines}, indent=1))
    elif lines:
        typer.echo(f"{used.safe_url} is not at the known state:")
        for line in lines:
            typer.echo(f"  {line}")
    else:
        typer.echo(f"{used.safe_url} is at the known state")
    raise typer.Exit(exit_codes.FAILED if lines else exit_codes.FINE)


@app.command()
def changes(database: DatabaseArgument = None, as_json: JsonOption = False) -> None:
    """Show what was changed in a database since the known state: tables, rows, sequences, the schema."""
    used, found = _asked(database, lambda known, used: known.changes(used))
    if as_json:
        moved = {name: list(pair) for name, pair in found.sequences.items()}
        whole: dict[str, Any] = {"tables": found.snapshot(masked=False), "sequences": moved, "schema": list(found.ddl)}
        typer.echo(json.dumps(whole, indent=1))
    else:
        typer.echo(found.text(most=50) if found else f"nothing was changed in {used.safe_url}")


@app.command()
def url(database: DatabaseArgument = None) -> None:
    """Print a database's address with its password, for psql and the like: psql "$(realstack state url NAME)"."""
    settings, record = required()
    typer.echo(str(_endpoint(settings, record, database).url))


def _asked(database: str | None, ask: Callable[[KnownState, Endpoint], Awaitable[Found]]) -> tuple[Endpoint, Found]:
    settings, record = required()
    used = _endpoint(settings, record, database)
    return used, asyncio.run(_compared(settings, record, used, ask))


async def _compared(
    settings: Settings,
    record: registry.Record,
    used: Endpoint,
    ask: Callable[[KnownState, Endpoint], Awaitable[Found]],
) -> Found:
    import asyncpg

    from realstack.handles.known import KnownState

    server = record.endpoints[POSTGRES]
    template = await _began_at(record, used) or (await known_template(settings, server))[0]
    known = KnownState(server, template, "state", registry.new_run_id())
    try:
        return await ask(known, used)
    except (OSError, asyncpg.PostgresError) as problem:
        raise RealstackError(
            f"{used.safe_url} cannot be read: {type(problem).__name__}: {problem}",
            remedy="name a database that is there; `realstack status` shows the server.",
        ) from problem
    finally:
        await known.close()


async def _began_at(record: registry.Record, used: Endpoint) -> Template | None:
    """What a test's database was made of: it may have had seeds of its own, and the project's may be others by now."""
    from realstack.state.template import template_of

    server, standing = record.endpoints[POSTGRES], record.standing.get(POSTGRES)
    elsewhere = (used.host, used.port) != (server.host, server.port)
    if elsewhere or (standing is not None and used.database == standing.database):
        return None
    return await template_of(replace(server, database=used.database))


def _endpoint(settings: Settings, record: registry.Record, database: str | None) -> Endpoint:
    if POSTGRES not in record.endpoints:
        raise RealstackError(
            "the environment that is up runs no Postgres.", remedy="add it to [tool.realstack] services."
        )
    server = record.endpoints[POSTGRES]
    if database is None:
        return record.standing.get(POSTGRES, server)
    if "://" not in database:
        return replace(server, database=database)
    from realstack.providers.external import address_of

    spec = settings.spec(POSTGRES)
    address: Address = address_of(spec, Secret(database))
    return service(POSTGRES).endpoint(spec, address, "external")
