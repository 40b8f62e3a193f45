"""What belongs to a database, yet is not copied with it: ALTER DATABASE … SET, and rights on the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realstack.state.catalog import quote_name

if TYPE_CHECKING:
    import asyncpg

_SETTINGS = """
SELECT r.rolname, split_part(entry, '=', 1), substr(entry, strpos(entry, '=') + 1)
FROM pg_db_role_setting s
JOIN pg_database d ON d.oid = s.setdatabase
LEFT JOIN pg_roles r ON r.oid = s.setrole
CROSS JOIN LATERAL unnest(s.setconfig) AS entry
WHERE d.datname = $1
ORDER BY 1 NULLS FIRST, 2
"""

_GRANTS = """
SELECT pg_get_userbyid(nullif(a.grantee, 0)), a.privilege_type, a.is_grantable
FROM pg_database d CROSS JOIN LATERAL aclexplode(d.datacl) AS a
WHERE d.datname = $1 AND a.grantee <> d.datdba
ORDER BY 1 NULLS FIRST, 2
"""


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """``values``: (role or None for all, name, value). ``grants``: (role or None for PUBLIC, right, with option)."""

    values: tuple[tuple[str | None, str, str], ...] = ()
    grants: tuple[tuple[str | None, str, bool], ...] | None = None


async def read_database_settings(connection: asyncpg.Connection, name: str) -> DatabaseSettings:
    """What is set for the database ``name``; ``grants`` is None where its rights are the usual ones."""
    values = tuple((row[0], row[1], row[2]) for row in await connection.fetch(_SETTINGS, name))
    special = await connection.fetchval("SELECT datacl IS NOT NULL FROM pg_database WHERE datname = $1", name)
    grants = tuple((row[0], row[1], row[2]) for row in await connection.fetch(_GRANTS, name)) if special else None
    return DatabaseSettings(values, grants)


async def write_database_settings(connection: asyncpg.Connection, name: str, settings: DatabaseSettings) -> None:
    """Set the same for the database ``name``."""
    database = quote_name(name)
    for role, variable, value in settings.values:
        whose = f"ROLE {quote_name(role)} IN DATABASE {database}" if role else f"DATABASE {database}"
        quoted = ".".join(quote_name(part) for part in variable.split("."))
        # FROM CURRENT takes the value as it is, lists such as search_path too.
        async with connection.transaction():
            await connection.execute("SELECT set_config($1, $2, true)", variable, value)
            await connection.execute(f"ALTER {whose} SET {quoted} FROM CURRENT")
    if settings.grants is not None:
        await connection.execute(f"REVOKE ALL ON DATABASE {database} FROM PUBLIC")
        for role, right, grantable in settings.grants:
            whom = quote_name(role) if role else "PUBLIC"
            option = " WITH GRANT OPTION" if grantable else ""
            await connection.execute(f"GRANT {right} ON DATABASE {database} TO {whom}{option}")
