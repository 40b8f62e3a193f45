"""The SQL of the reset, as text. Pure: made from units, run by the installer.

Everything lies in a schema of its own. Per unit ``n``: ``s_n`` holds its rows as they are at the known state, ``k_n``
the keys (or whole rows, where there is no key) that were touched since. ``log_n_insert()`` and its like fill it,
``restore_n()`` puts the touched rows back, ``compare_n()`` the whole table. ``touched()`` lists the units whose log is
not empty, ``dirty`` those that have to be compared as a whole.
"""

# ruff: noqa: S608 - SQL from names that are quoted is what this module is for

from __future__ import annotations

from collections.abc import Iterable, Sequence

from realstack.state.catalog import quote_name
from realstack.state.reset.units import OWN_SCHEMA, Unit, qualified

OWN = OWN_SCHEMA
RESETTING = "realstack.resetting"
OWN_PATH = "realstack.search_path"
"""The setting that keeps, in the session that resets, the search_path that the database has for everybody."""
_NE = "OPERATOR(pg_catalog.<>)"
_UNLESS_RESETTING = f"WHEN (coalesce(pg_catalog.current_setting('{RESETTING}', true), '') {_NE} 'on')"
"""Asked by the executor, before any function is entered: some tenths of a microsecond for each statement."""
_KEPT = ("units", "sequences", "known")
"""Our tables that nobody writes once the template is made."""
_LOGS = ("dirty", "ddl", "temporary")
"""Those that are added to as the test writes."""
MOST_KEYS = 4096
"""Rows deleted by one statement whose keys are noted together, in arrays."""
ARRAY_BYTES = 7_000
"""Of arrays that have to lie in one page of 8 KiB."""
KEEP_BELOW_BYTES = 262144
"""A log that was emptied keeps its dead rows until it is this long; nobody vacuums a throw-away server."""


def shadow(unit: Unit) -> str:
    """The unit's rows as they are now, and an empty log: a row for each key, or arrays of keys in a row that has none.

    The log is unlogged, as it is written by every statement of the test's. A server that crashes empties it, and cuts
    off whoever would reset by it: then a fresh clone is asked for.
    """
    n, rows, key = unit.number, _from(unit), _names(unit.key)
    made = [
        f"CREATE TABLE {OWN}.s_{n} AS SELECT {_names(unit.columns)} FROM {rows}",
        f"CREATE UNLOGGED TABLE {OWN}.k_{n} AS SELECT {key or _names(unit.columns)} FROM {rows} WITH NO DATA",
    ]
    if _arrays(unit):
        made.append(f"ALTER TABLE {OWN}.k_{n} {', '.join(_array_columns(unit))}")
    if unit.key:
        made.append(f"CREATE UNIQUE INDEX ON {OWN}.s_{n} ({key})")
    return ";\n".join(made) + ";"


def triggers(unit: Unit) -> str:
    """What notes the unit's writes, on each of its members, whatever statement or role makes them."""
    n = unit.number
    made = [_marking(unit)]
    each = f"FOR EACH STATEMENT {_UNLESS_RESETTING} EXECUTE FUNCTION {OWN}"
    row_triggers = f"""
CREATE TRIGGER realstack_write AFTER INSERT OR UPDATE OR DELETE ON {{table}} {each}.mark_{n}();
"""
    if has_log(unit):
        made.append(_logging(unit))
        row_triggers = f"""
CREATE TRIGGER realstack_insert AFTER INSERT ON {{table}} REFERENCING NEW TABLE AS realstack_new
{each}.log_{n}_insert();
CREATE TRIGGER realstack_update AFTER UPDATE ON {{table}}
REFERENCING OLD TABLE AS realstack_old NEW TABLE AS realstack_new
{each}.log_{n}_update();
CREATE TRIGGER realstack_delete AFTER DELETE ON {{table}} REFERENCING OLD TABLE AS realstack_old
{each}.log_{n}_delete();
"""
    truncating = f"""
CREATE TRIGGER realstack_truncate BEFORE TRUNCATE ON {{table}} {each}.mark_{n}();
"""
    made.extend((row_triggers + truncating).replace("{table}", member) for member in unit.members)
    return "\n".join(made)


def watching(units: Iterable[Unit]) -> str:
    """What notes writes to our own tables by anyone but the reset: it could not be exact after them.

    AFTER, so that the note stays where all tables are emptied by one TRUNCATE.
    """
    numbers = [unit.number for unit in units]
    kept = dict.fromkeys([*_KEPT, *(f"s_{n}" for n in numbers)], "INSERT OR UPDATE OR DELETE OR TRUNCATE")
    logs = dict.fromkeys([*_LOGS, *(f"k_{n}" for n in numbers)], "UPDATE OR DELETE OR TRUNCATE")
    return "".join(
        f"CREATE TRIGGER realstack_own AFTER {event} ON {OWN}.{table} FOR EACH STATEMENT {_UNLESS_RESETTING} "
        f"EXECUTE FUNCTION {OWN}.on_meddling();\n"
        for table, event in {**kept, **logs}.items()
    )


def has_log(unit: Unit) -> bool:
    """Whether touched rows are noted one by one, or the unit as a whole."""
    return not (unit.inherits or unit.blocked)


def touched(units: Iterable[Unit]) -> str:
    """A function that lists the units with a row in their log."""
    looks = [
        f"SELECT {unit.number} WHERE EXISTS (SELECT FROM {OWN}.k_{unit.number})" for unit in units if has_log(unit)
    ]
    return _listing("touched", "int", looks)


def _logging(unit: Unit) -> str:
    """Run by each of the test's statements, so nothing is in them that can be left out.

    Whoever writes may write the log too: to become its owner first would cost more than the writing.
    """
    log, columns = f"{OWN}.k_{unit.number}", _names(unit.key or unit.columns)
    old, new = f"SELECT {columns} FROM realstack_old", f"SELECT {columns} FROM realstack_new"
    made = [f"GRANT INSERT ON {log} TO PUBLIC;"]
    for event, rows in (("insert", new), ("update", f"{old} UNION ALL {new}"), ("delete", old)):
        note = f"INSERT INTO {log} {f'({columns}) ' if columns else ''}{rows};"
        together = event == "delete" and _arrays(unit)
        note = _noting_together(unit, note) if together else f"BEGIN\n    {note}"
        made.append(f"""
CREATE FUNCTION {OWN}.log_{unit.number}_{event}() RETURNS trigger LANGUAGE plpgsql AS $body$
{note}
    RETURN NULL;
END $body$;""")
    return "".join(made)


def _noting_together(unit: Unit, one_by_one: str) -> str:
    """The keys of deleted rows go into one row, if they have room there: it takes little longer than one of them."""
    most = MOST_KEYS if unit.key_bytes is None else ARRAY_BYTES // unit.key_bytes
    found = ", ".join(f"pg_catalog.array_agg({quote_name(column)})" for column in unit.key)
    return f"""BEGIN
    INSERT INTO {OWN}.k_{unit.number} ({", ".join(_arrays(unit))})
    SELECT {found} FROM realstack_old
    HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0 AND pg_catalog.count(*) OPERATOR(pg_catalog.<=) {most};
    IF NOT FOUND THEN {one_by_one} END IF;"""


def _arrays(unit: Unit) -> list[str]:
    """The columns of the log for arrays, one for each of the key."""
    return [f"realstack_keys_{place}" for place in range(len(unit.arrays))] if has_log(unit) else []


def _array_columns(unit: Unit) -> list[str]:
    """Kept within the row where that always has room for them: else each copy has a file more to hold what has not."""
    made = [f"ADD COLUMN {name} {kind}" for name, kind in zip(_arrays(unit), unit.arrays, strict=True)]
    if unit.key_bytes is not None:
        made += [f"ALTER COLUMN {name} SET STORAGE PLAIN" for name in _arrays(unit)]
    return made


def _marking(unit: Unit) -> str:
    rows = ", ".join(f"({number})" for number in (unit.family or (unit.number,)))
    return f"""
CREATE FUNCTION {OWN}.mark_{unit.number}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
    INSERT INTO {OWN}.dirty VALUES {rows};
    RETURN NULL;
END $body$;"""


def restoring(unit: Unit) -> str:
    """The functions that bring the unit back: its touched rows, or the whole of it.

    They run with the database's own search_path, for the user's functions that the rows are checked and computed by:
    so no name of ours may be without its schema.
    """
    n, clear = unit.number, clearing(f"k_{unit.number}")
    put = f"INSERT INTO {unit.table} {_listed(unit)} SELECT {_names(unit.columns, 's')} FROM"
    if unit.key:
        touched = f"(SELECT DISTINCT {_names(unit.key)} FROM {OWN}.k_{n}) AS k"
        if _arrays(unit):
            arrays = ", ".join(f"pg_catalog.unnest({name})" for name in _arrays(unit))
            touched = f"""(
        SELECT {_names(unit.key)} FROM {OWN}.k_{n} UNION
        SELECT many.* FROM {OWN}.k_{n}, ROWS FROM ({arrays}) AS many
    ) AS k ({_names(unit.key)})"""
        restore = f"""
    DELETE FROM {_from(unit)} AS t USING {OWN}.k_{n} AS k WHERE {_same(unit, "t", "k")};
    {put} {touched} JOIN {OWN}.s_{n} AS s ON {_same(unit, "s", "k")};"""
        compare = f"""
    DELETE FROM {_from(unit)} AS t WHERE NOT EXISTS (
        SELECT FROM {OWN}.s_{n} AS s
        WHERE {_same(unit, "t", "s")}
          AND {_looks(unit.columns, "t")} OPERATOR(pg_catalog.*=) {_looks(unit.columns, "s")}
    );
    {put} {OWN}.s_{n} AS s WHERE NOT EXISTS (SELECT FROM {_from(unit)} AS t WHERE {_same(unit, "t", "s")});"""
    else:
        compare = f"""
    DELETE FROM {_from(unit)};
    {put} {OWN}.s_{n} AS s;"""
        # Rows of the same looks are the same row: all of them go, and as many as there were come back.
        touched = f"OPERATOR(pg_catalog.=) ANY (SELECT {_row(unit, 'k')} FROM {OWN}.k_{n} AS k)"
        restore = f"""
    DELETE FROM {_from(unit)} AS t WHERE {_row(unit, "t")} {touched};
    {put} {OWN}.s_{n} AS s WHERE {_row(unit, "s")} {touched};"""
        if not unit.columns:
            restore = compare
    return _function(f"restore_{n}", restore + clear, planned="few" if unit.key else "many") + _function(
        f"compare_{n}", compare + clear, planned="many"
    )


def clearing(log: str) -> str:
    """Empty a log of ours."""
    return f"""
    IF pg_catalog.pg_relation_size('{OWN}.{log}'::pg_catalog.regclass) OPERATOR(pg_catalog.>) {KEEP_BELOW_BYTES}
    THEN TRUNCATE {OWN}.{log};
    ELSE DELETE FROM {OWN}.{log}; END IF;"""


def _function(name: str, body: str, *, planned: str) -> str:
    """``few``: by index, row for row, as the logs have no statistics that would tell the planner how short they are."""
    switch = "off" if planned == "few" else "on"
    return f"""
CREATE FUNCTION {OWN}.{name}() RETURNS void LANGUAGE plpgsql
SET enable_seqscan = {switch} SET enable_hashjoin = {switch} SET enable_mergejoin = {switch} AS $body$
BEGIN{body}
END $body$;"""


def changed_rows(
    number: int, table: tuple[str, str], columns: Sequence[str], key: Sequence[str], partitioned: bool
) -> str:
    """A query for the unit's changed rows: (before, after) as JSON each, NULL where the row is not there.

    It reads the whole of both: it is asked for by a person or a test, not at each reset.
    """
    whole = f"{'' if partitioned else 'ONLY '}{qualified(*table)}"
    old, new = (
        f"(SELECT to_jsonb(row) FROM (SELECT {_names(columns, side)}) AS row)" if columns else "'{}'::jsonb"
        for side in ("s", "t")
    )
    shadow_rows, rows = f"SELECT {old} FROM {OWN}.s_{number} AS s", f"SELECT {new} FROM {whole} AS t"
    if not key:
        return (
            f"SELECT gone::text, NULL FROM ({shadow_rows} EXCEPT ALL {rows}) AS lost(gone) "
            f"UNION ALL SELECT NULL, come::text FROM ({rows} EXCEPT ALL {shadow_rows}) AS won(come)"
        )
    first = quote_name(key[0])
    same = " AND ".join(f"to_jsonb(s.{quote_name(name)}) = to_jsonb(t.{quote_name(name)})" for name in key)
    return (
        f"SELECT CASE WHEN s.{first} IS NOT NULL THEN {old} END::text, "
        f"CASE WHEN t.{first} IS NOT NULL THEN {new} END::text "
        f"FROM {OWN}.s_{number} AS s FULL JOIN {whole} AS t ON {same} "
        f"WHERE s.{first} IS NULL OR t.{first} IS NULL OR NOT ({_looks(columns, 's')} OPERATOR(pg_catalog.*=) "
        f"{_looks(columns, 't')})"
    )


def sequences_moved(baseline: Iterable[tuple[str, int, bool]]) -> str:
    """A function that lists the sequences that are not at ``baseline``: (regclass, last_value, is_called) each.

    Nor may numbers be logged ahead of use: taking one of those writes no WAL, and the next reset would see nothing.
    """
    looks = [
        f"SELECT '{name.replace(chr(39), chr(39) * 2)}'::text FROM {name} "
        f"WHERE last_value <> {last} OR is_called <> {str(called).lower()} OR log_cnt <> 0"
        for name, last, called in baseline
    ]
    return _listing("moved", "text", looks)


def _listing(name: str, kind: str, looks: list[str]) -> str:
    body = "\nUNION ALL ".join(looks) if looks else f"SELECT NULL::{kind} WHERE false"
    return f"""
CREATE FUNCTION {OWN}.{name}() RETURNS SETOF {kind} LANGUAGE plpgsql AS $body$
BEGIN
    RETURN QUERY {body};
END $body$;"""


def _names(columns: Iterable[str], of: str = "") -> str:
    return ", ".join((f"{of}." if of else "") + quote_name(column) for column in columns)


def _listed(unit: Unit) -> str:
    return f"({_names(unit.columns)}) OVERRIDING SYSTEM VALUE" if unit.columns else ""


def _from(unit: Unit) -> str:
    return unit.table if unit.partitioned else f"ONLY {unit.table}"


def _looks(columns: Iterable[str], of: str) -> str:
    return f"ROW({_names(columns, of)})::pg_catalog.record"


def _row(unit: Unit, of: str) -> str:
    return f"ROW({_names(unit.columns, of)})::pg_catalog.text"


def _same(unit: Unit, one: str, other: str) -> str:
    return " AND ".join(
        f"{one}.{quote_name(column)} {equals} {other}.{quote_name(column)}"
        for column, equals in zip(unit.key, unit.equals, strict=True)
    )
