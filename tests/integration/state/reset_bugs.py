"""Bugs to be planted into the reset, one for each of its rules: the proof has to find them all."""

from __future__ import annotations

import re
from dataclasses import dataclass

import asyncpg


@dataclass(frozen=True)
class Bug:
    """One rule broken: a pattern in the bodies of our functions and what takes its place, or plain SQL.

    ``schema``: what the rule is for, where not every database has it.
    ``shown_by``: the kinds of steps that can show it; to draw others too would take longer, and find the same.
    """

    pattern: str = ""
    instead: str = ""
    sql: str = ""
    drop_triggers: str = ""
    schema: str = ""
    shown_by: tuple[str, ...] = ("write",)


BUGS = {
    "touched rows are not deleted": Bug(r"DELETE FROM (ONLY )?\S+ AS t USING [^;]*;"),
    "touched rows are not put back": Bug(r"INSERT INTO [^;]*JOIN pg_realstack\.s_[^;]*;"),
    "a row without a key is put back once": Bug(
        r"(INSERT INTO [^;]*?) SELECT ([^;]*WHERE ROW)", r"\1 SELECT DISTINCT \2", shown_by=("special", "write")
    ),
    "rows without a key are not deleted": Bug(r"DELETE FROM (ONLY )?\S+ AS t WHERE ROW[^;]*;"),
    "compared tables keep what was added": Bug(
        r"DELETE FROM (ONLY )?\S+ AS t WHERE NOT EXISTS [^;]*;", shown_by=("special",)
    ),
    "compared tables do not get back what is lost": Bug(
        r"INSERT INTO [^;]*WHERE NOT EXISTS [^;]*;", shown_by=("truncate",)
    ),
    "an insert is not noted": Bug(r"INSERT INTO \S+ ((?!UNION)[^;])* FROM realstack_new;"),
    "a delete is not noted": Bug(
        r"INSERT INTO [^;]*;\s+IF NOT FOUND THEN[^;]*; END IF;|INSERT INTO \S+ [^;]* FROM realstack_old;"
    ),
    "deleted keys are not noted": Bug(r"pg_catalog\.array_agg\([^)]*\)", "NULL"),
    "one of several deleted keys is noted": Bug(
        r"FROM realstack_old\s+HAVING", "FROM (SELECT * FROM realstack_old LIMIT 1) AS few HAVING"
    ),
    "deleted keys are not put back": Bug(r"UNION\s+SELECT many\.\*[^;]*AS many"),
    "an update notes new keys only": Bug(r"SELECT [^;]* FROM realstack_old\s+UNION ALL "),
    "an update notes old keys only": Bug(r" UNION ALL SELECT [^;]* FROM realstack_new"),
    "the family of a table is not marked": Bug(
        r"(INSERT INTO pg_realstack\.dirty VALUES \(\d+\)), [^;]*;", r"\1;", shown_by=("special",)
    ),
    "a truncated table is not compared as a whole": Bug(r"'compare_'", "'restore_'", shown_by=("truncate",)),
    "sequences stay where they are": Bug(r"PERFORM setval[^;]*;", shown_by=("sequence",)),
    "whether a sequence was called is forgotten": Bug(r"was\.is_called", "true", shown_by=("sequence",)),
    "a sequence is compared by its value only": Bug(r" OR is_called <> \w+", shown_by=("sequence",)),
    "numbers that were logged ahead are not looked at": Bug(r" OR log_cnt <> 0", shown_by=("ahead",)),
    "large objects are not looked at": Bug(
        r"IF pg_realstack\.large_objects\(\)[^;]*THEN", "IF false THEN", shown_by=("large",)
    ),
    "commands are not looked at": Bug(
        r"IF EXISTS \(SELECT FROM pg_realstack\.ddl\) THEN", "IF false THEN", shown_by=("ddl",)
    ),
    "drops are not noted": Bug(sql="drop event trigger realstack_drop", shown_by=("ddl",)),
    "commands that make something are not noted": Bug(sql="drop event trigger realstack_ddl", shown_by=("ddl",)),
    "triggers keep still under replica role": Bug(
        sql="update pg_trigger set tgenabled = 'O' where tgname ~ '^realstack'", shown_by=("role", "write", "write")
    ),
    "truncate is not watched": Bug(drop_triggers="t.tgname = 'realstack_truncate'", shown_by=("truncate",)),
    "partitions are not watched": Bug(drop_triggers="c.relispartition"),
    "the logs are not looked at": Bug(r"RETURN QUERY SELECT \d+ WHERE EXISTS[^;]*;", "RETURN;"),
    "the log is not emptied": Bug(r"ELSE DELETE FROM pg_realstack\.k_\d+; END IF;", "END IF;"),
    "the marks are not removed": Bug(
        r"ELSE DELETE FROM pg_realstack\.dirty; END IF;", "END IF;", shown_by=("truncate", "nothing")
    ),
    "numbers that a session holds are kept": Bug(r"IF was\.caches THEN[^;]*; END IF;", shown_by=("sequence",)),
    "what was clean once is taken for clean": Bug(
        r"IF here = clean", "IF clean IS NOT NULL", shown_by=("write", "nothing")
    ),
    "a sequence that writes no WAL is taken for one that does": Bug(
        sql="delete from pg_realstack.known where name = 'no WAL'",
        schema="create unlogged sequence loose;",
        shown_by=("loose", "nothing"),
    ),
    "clustered indexes are not looked at": Bug(
        r"IF pg_realstack\.clustered\(\)[^;]*THEN", "IF false THEN", shown_by=("cluster",)
    ),
    "owners are not looked at": Bug(r"IF now_around -> 'owners'[^;]*THEN", "IF false THEN", shown_by=("owner",)),
    "settings of the database are not looked at": Bug(
        r"IF now_around - 'owners'[^;]*THEN", "IF false THEN", shown_by=("database",)
    ),
    "event triggers are not looked at": Bug(
        r"IF pg_realstack\.event_triggers\(\)[^;]*THEN", "IF false THEN", shown_by=("events",)
    ),
    "a command that commits half-way is not noted": Bug(
        sql="drop event trigger realstack_start", shown_by=("concurrently",)
    ),
    "a table whose triggers always fire is restored": Bug(r"WHERE blocked <> ''", "WHERE false", shown_by=("blocked",)),
    "advisory locks are not looked at": Bug(r"locking := pg_realstack\.locking\(\);", shown_by=("session",)),
    "temporary tables are not looked at": Bug(
        r"IF EXISTS \(SELECT FROM pg_realstack\.temporary\) THEN", "IF false THEN", shown_by=("session",)
    ),
    "prepared transactions are not looked at": Bug(
        r"found := \(SELECT jsonb_agg\(gid\)[^;]*;", "found := NULL;", shown_by=("two-phase",)
    ),
    "what empties our own tables is not noted": Bug(drop_triggers="t.tgname = 'realstack_own'", shown_by=("meddle",)),
    "what empties our logs is not noted": Bug(
        drop_triggers="t.tgname = 'realstack_own' and c.relname ~ '^(k_|dirty)'", shown_by=("meddle",)
    ),
    "the database's own path is not used": Bug(r"PERFORM set_config\('search_path', current_setting[^;]*;"),
    "rights on the database are not looked at": Bug(
        r"jsonb_build_array\(datdba, datacl::text, datconnlimit, datallowconn\)", "'[]'::jsonb", shown_by=("rights",)
    ),
    "open transactions are not looked at": Bug(
        r"IF others\.busy IS NOT NULL[^;]*; END IF;", shown_by=("transaction", "write")
    ),
    "transactions that failed are not looked at": Bug(r" OR state LIKE 'idle in transaction%'", shown_by=("failing",)),
    "running statements are not looked at": Bug(r"xact_start IS NOT NULL OR", "", shown_by=("running",)),
    "what stays with a session is not told": Bug(
        r"'lasting', others\.lasting", "'lasting', NULL", shown_by=("session",)
    ),
    "changes of the server are not looked at": Bug(
        r"pg_realstack\.server_mark\(\) <> server", "false", shown_by=("server",)
    ),
    "comments of the server do not change its mark": Bug(
        r"SELECT xmin, classoid, objoid FROM pg_catalog\.pg_shdescription\s+UNION ALL", "", shown_by=("server",)
    ),
    "replication origins do not change its mark": Bug(
        r"UNION ALL SELECT xmin FROM pg_catalog\.pg_replication_origin", shown_by=("server",)
    ),
    "passwords are not looked at": Bug(r"md5\(rolpassword\)", "''", shown_by=("server",)),
    "how a membership is given is not looked at": Bug(r"to_jsonb\(m\) - 'oid'", "1", shown_by=("membership",)),
}


async def plant(connection: asyncpg.Connection, bug: Bug) -> None:
    """Break the rule in the template."""
    await connection.execute("set realstack.resetting = 'on'")
    if bug.pattern:
        functions = await connection.fetch(
            "select pg_get_functiondef(oid) from pg_proc where pronamespace = 'pg_realstack'::regnamespace"
        )
        changed = [new for (old,) in functions if (new := re.sub(bug.pattern, bug.instead, old)) != old]
        assert changed, "the pattern is in none of our functions"
        await connection.execute(";\n".join(changed))
        return
    await connection.execute(
        "update pg_trigger set tgisinternal = false where tgname ~ '^realstack';"
        "alter extension plpgsql drop event trigger realstack_drop;"
        "alter extension plpgsql drop event trigger realstack_start;"
        "alter extension plpgsql drop event trigger realstack_ddl;" + bug.sql
    )
    if bug.drop_triggers:
        triggers = await connection.fetch(
            "select format('%I on %s', t.tgname, t.tgrelid::regclass) from pg_trigger t "
            f"join pg_class c on c.oid = t.tgrelid where t.tgname ~ '^realstack' and {bug.drop_triggers}"
        )
        assert triggers
        await connection.execute("; ".join(f"drop trigger {row[0]}" for row in triggers))
    await connection.execute(
        "update pg_realstack.known set value = pg_realstack.event_triggers() where name = 'event triggers'"
    )
