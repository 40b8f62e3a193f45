"""Puts the reset's own schema into a template. Every copy of the template then can be reset in place."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from realstack.errors import RealstackError
from realstack.state.reset import sql
from realstack.state.reset.units import NOT_OURS_TO_WATCH, OWN_SCHEMA, Unit, read_units

if TYPE_CHECKING:
    import asyncpg

RESET_FORMAT = 8
"""Part of the name of every template with this schema inside. To be raised when what is installed changes."""

_SEQUENCES = f"""
SELECT c.oid::regclass::text AS name, s.seqcache > 1 AS caches, c.relpersistence = 'u' AS unlogged,
       CASE WHEN n.nspname = 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END AS shown
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {NOT_OURS_TO_WATCH}
ORDER BY c.oid
"""  # noqa: S608 - our own constant

# Dumps, \\d and information_schema show no internal triggers; ENABLE ALWAYS, as session_replication_role may be set.
_HIDE_TRIGGERS = f"""
UPDATE pg_trigger SET tgenabled = 'A', tgisinternal = true
WHERE tgfoid IN (SELECT oid FROM pg_proc WHERE pronamespace = '{OWN_SCHEMA}'::regnamespace);
"""  # noqa: S608 - our own constant

_EVENTS = {
    "realstack_ddl": "ddl_command_end EXECUTE FUNCTION {schema}.on_ddl()",
    "realstack_drop": "sql_drop EXECUTE FUNCTION {schema}.on_drop()",
    "realstack_start": "ddl_command_start WHEN TAG IN ({half_way}) EXECUTE FUNCTION {schema}.on_start()",
}
_HALF_WAY = ("CREATE INDEX", "DROP INDEX", "ALTER TABLE")
_REINDEX_TELLS_SINCE = 17
_REMEMBER = f"""
INSERT INTO {OWN_SCHEMA}.known VALUES
    ('large objects', {OWN_SCHEMA}.large_objects()), ('event triggers', {OWN_SCHEMA}.event_triggers()),
    ('clustered indexes', {OWN_SCHEMA}.clustered());
"""  # noqa: S608 - our own constant


async def cannot_install(connection: asyncpg.Connection) -> str | None:
    """Why this database cannot be reset in place; None where it can."""
    if not await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"):
        return "the declared user is no superuser, and only one may watch for DDL and write without firing triggers"
    if not await connection.fetchval("SELECT count(*) FROM pg_language WHERE lanname = 'plpgsql'"):
        return "the database has no plpgsql"
    if await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", OWN_SCHEMA):
        return f"it has a schema {OWN_SCHEMA} already"
    return None


async def install(connection: asyncpg.Connection) -> list[Unit]:
    """Take the database as it is for the known state, and make it able to return there.

    To be called once, when migrations and seeds are in, in a database that is then copied. All or nothing.

    :raises RealstackError: it cannot be done here; :func:`cannot_install` says why.
    """
    if problem := await cannot_install(connection):
        raise RealstackError(f"the database cannot be reset in place: {problem}.", remedy='use isolation = "database".')
    async with connection.transaction():
        await connection.execute(
            "SET LOCAL search_path = pg_catalog; SET LOCAL session_replication_role = replica;"
            # Without it PostgreSQL refuses a schema's name that begins with pg_.
            "SET LOCAL allow_system_table_mods = on; SET LOCAL check_function_bodies = off;"
            f"CREATE SCHEMA {OWN_SCHEMA}; GRANT USAGE ON SCHEMA {OWN_SCHEMA} TO PUBLIC;"
            f"SET LOCAL {sql.RESETTING} = 'on'"
        )
        for name in ("reset.sql", "around.sql"):
            await connection.execute(files(__package__).joinpath(name).read_text(encoding="utf-8"))
        units = await read_units(connection)
        await _install_units(connection, units)
        await _install_sequences(connection)
        await connection.execute(_HIDE_TRIGGERS + _event_triggers(connection.get_server_version().major) + _REMEMBER)
    return units


async def _install_units(connection: asyncpg.Connection, units: list[Unit]) -> None:
    await connection.executemany(
        f"INSERT INTO {OWN_SCHEMA}.units VALUES ($1, $2, $3, $4, $5, $6, $7)",  # noqa: S608 - our own constant
        [(u.number, u.schema, u.name, u.shown, u.blocked, u.columns, u.key) for u in units],
    )
    made = "".join(sql.shadow(unit) + sql.triggers(unit) + sql.restoring(unit) for unit in units)
    await connection.execute(made + sql.touched(units) + sql.watching(units))


async def _install_sequences(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch(_SEQUENCES)
    looks = [f"SELECT {n} AS n, last_value, is_called FROM {row['name']}" for n, row in enumerate(rows)]  # noqa: S608
    values = await connection.fetch(f"{' UNION ALL '.join(looks)} ORDER BY n") if rows else []
    baseline = [(row["name"], last, called) for row, (_, last, called) in zip(rows, values, strict=True)]
    # From here on the next nextval() writes WAL: none of the 32 numbers that were logged ahead is left.
    await connection.executemany("SELECT setval($1::text::regclass, $2, $3)", baseline)
    await connection.executemany(
        f"INSERT INTO {OWN_SCHEMA}.sequences VALUES ($1, $2, $3, $4, $5)",  # noqa: S608 - our own constant
        [
            (name, row["shown"], last, called, row["caches"])
            for row, (name, last, called) in zip(rows, baseline, strict=True)
        ],
    )
    await connection.execute(sql.sequences_moved(baseline))
    if any(row["unlogged"] for row in rows):
        await connection.execute(f"INSERT INTO {OWN_SCHEMA}.known VALUES ('no WAL', 'unlogged sequences')")  # noqa: S608


def _event_triggers(major: int) -> str:
    """Made last, or they would note the rest. What belongs to an extension is in no dump."""
    tags = (*_HALF_WAY, "REINDEX") if major >= _REINDEX_TELLS_SINCE else _HALF_WAY
    half_way = ", ".join(f"'{tag}'" for tag in tags)
    return "".join(
        f"CREATE EVENT TRIGGER {name} ON {what.format(schema=OWN_SCHEMA, half_way=half_way)};"
        f"ALTER EVENT TRIGGER {name} ENABLE ALWAYS; ALTER EXTENSION plpgsql ADD EVENT TRIGGER {name};"
        for name, what in _EVENTS.items()
    )
