"""Random things that a test does to a random schema: what the proof of the reset is made of."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.integration.state.random_state import Schema

EMPTIES_ALL = """do $$ begin execute (
    select 'truncate ' || string_agg(format('%I.%I', schemaname, tablename), ', ') || ' cascade' from pg_tables
    where schemaname not in ('pg_catalog', 'information_schema')); end $$"""
"""What cleans up after a test by emptying all tables, by the usual query: it finds ours too."""

DDL = (
    "create table added (id int)",
    "drop table nothing",
    "drop function change() cascade",
    "drop table egg cascade",
    "drop rule twice on ruled",
    "drop sequence free_sequence",
    "alter table scratch add column more int default 3",
    "create index on audit (n)",
    "create or replace function note() returns trigger language plpgsql as 'begin return null; end'",
    "comment on table audit is 'x'",
    "grant select on audit to public",
    "alter table parts detach partition parts_rest",
    "alter sequence free_sequence increment 7",
    "alter type mood add value if not exists 'fair'",
    "create schema added",
    "alter table audit disable trigger all",
    "select 1 as one into added",
    "drop policy half on hidden",
    "alter default privileges grant select on tables to public",
    "create extension if not exists hstore",
    "create publication everything",
    "create index concurrently on audit (what)",
    "refresh materialized view counted",
    "create event trigger own on ddl_command_end execute function own_event()",
    "reassign owned by proof_owner to current_user",
    "security label on table audit is null",
    "drop owned by proof_owner",
    "do $$ begin create table added (id int); raise 'x'; exception when others then null; end $$",
)
"""Commands that a reset answers with a fresh clone, or that fail."""
OTHER_DDL = {
    "concurrently": ("create unique index concurrently on audit (what)",),
    "events": ("create event trigger own on ddl_command_end execute function own_event()",),
    "cluster": ("cluster scratch using scratch_pkey",),
    "owner": ("reassign owned by proof_owner to current_user",),
    "database": (
        "do $$ begin execute format('alter database %I set work_mem = 128', current_database()); end $$",
        "do $$ begin execute format('alter database %I connection limit 90', current_database()); end $$",
    ),
    "rights": (
        "do $$ begin execute format('grant create on database %I to proof_owner', current_database()); end $$",
        "do $$ begin execute format('alter database %I owner to proof_owner', current_database()); end $$",
    ),
    "meddle": (
        "delete from pg_realstack.s_1",
        "truncate pg_realstack.s_1, pg_realstack.ddl",
        "update pg_realstack.units set columns = '{}'",
        "delete from scratch; delete from pg_realstack.k_1; truncate pg_realstack.k_2",
        "truncate parts; delete from pg_realstack.dirty",
        EMPTIES_ALL,
    ),
    "blocked": ("insert into always values (1, 1)", "begin; insert into always values (2, 1); rollback"),
    "large": (
        "select lo_from_bytea(0, 'x')",
        "select lo_create(0)",
        "select lo_put(4242, 0, 'other')",
        "select lo_unlink(4242)",
        "begin; select lo_unlink(4242); rollback",
    ),
}
"""The same, by kind: each is seen by a rule of its own."""


@dataclass(frozen=True)
class Step:
    """What one of the sessions does. ``kind``: ``sql``, ``ddl``, ``kill``, ``copy``, ``prepared`` or ``running``."""

    session: int
    kind: str
    sql: str = ""


KINDS = (
    *["write"] * 14,
    *["transaction"] * 5,
    *["sequence", "special"] * 2,
    *("truncate", "copy", "kill", "role", "many", "session", "server", "two-phase", "prepared", "running"),
)


def steps(schema: Schema, ddl: bool = True, only: tuple[str, ...] = ()) -> st.SearchStrategy[Step]:
    """One step on the schema; of the kinds named by ``only``, if any are. One draw of numbers: drawing costs too."""
    kinds = only or ((*KINDS, "ddl", "ddl", *OTHER_DDL) if ddl else KINDS)
    small = st.integers(0, 6)
    return st.tuples(
        st.integers(0, 2),
        st.sampled_from(kinds),
        st.sampled_from(schema.tables),
        st.integers(0, 9999),  # to be divided by how many there are to choose from
        small,
        small,
    ).map(lambda drawn: _step(schema, *drawn))


def _step(schema: Schema, session: int, kind: str, name: str, choice: int, i: int, n: int) -> Step:
    if kind in ("kill", "prepared") or (kind == "copy" and name not in schema.id_is_text):
        return Step(session, kind, name)
    if kind == "ddl" or kind in OTHER_DDL:
        commands = OTHER_DDL.get(kind, DDL)
        return Step(session, "ddl", commands[choice % len(commands)])
    if kind == "running":
        return Step(session, "running", RUNNING[choice % len(RUNNING)])
    choices = {
        "transaction": TRANSACTION,
        "sequence": SEQUENCE,
        "ahead": SEQUENCE[:2],
        "truncate": (f"truncate {name}", f"truncate {name} cascade", f"truncate {name} restart identity cascade"),
        "role": ("set session_replication_role = replica", "set session_replication_role = origin"),
        "many": (f"insert into {name} (n) select i from generate_series(100, 400) i",),
        "special": SPECIAL,
        "session": SESSION,
        "server": SERVER,
        "membership": MEMBERSHIP,
        "nothing": ("select 1",),
        "failing": (FAILS,),
        "loose": ("select nextval('loose')",),
        "two-phase": ("begin; delete from audit; prepare transaction 'left'", "rollback prepared 'left'"),
    }
    texts = choices.get(kind) or _writes(name, i, n, choice % 4)
    return Step(session, "sql", texts[choice % len(texts)])


FAILS = "begin; insert into audit values ('fails', 1); select 1 / 0"
TRANSACTION = (
    "begin",
    "begin isolation level serializable",
    "commit",
    "rollback",
    "savepoint s",
    "rollback to s",
    "set constraints all deferred",
    FAILS,
)
SEQUENCE = (
    "select setval('hidden_id_seq', 3), nextval('hidden_id_seq')",
    "select nextval('hidden_id_seq')",
    "select setval('hidden_id_seq', 2)",
    "select nextval('free_sequence')",
    "select setval('free_sequence', 40, false)",
    "select nextval('waiting_sequence')",
    "select setval('waiting_sequence', 1)",
)
SPECIAL = (
    "insert into nothing default values",
    "delete from nothing",
    "merge into ruled using (values (1), (77)) s(i) on id = s.i when matched then delete "
    "when not matched then insert values (s.i, 5)",
    "with gone as (delete from scratch returning *) insert into scratch select id, n + 1 from gone",
    "with new as (insert into scratch values (50, 1) returning *) delete from scratch where id in (select id from new)",
    "update scratch set id = id + 100; update scratch set id = id - 99",
    "update parts set region = case region when 'a' then 'b' else 'a' end",
    "begin; update chicken set egg = 9; insert into egg values (9, 1); commit",
    "select set_config('DateStyle', 'German', false), set_config('extra_float_digits', '-10', false)",
    "create temp table mine (id int) on commit drop",
    "do $$ begin insert into audit values ('caught', 1); raise 'x'; exception when others then null; end $$",
    "delete from audit where ctid = (select min(ctid) from audit)",
    "truncate scratch; insert into scratch values (1, 99), (60, 1)",
    "update parent set n = n + 10",
    "set role pg_monitor",
    "reset role",
)
SESSION = (
    "select pg_try_advisory_lock(7)",
    "select pg_try_advisory_lock(-1, 7)",
    "select pg_advisory_lock_shared(8)",
    "select pg_advisory_xact_lock(9)",
    "select pg_advisory_unlock_all()",
    "create temp table mine_to_keep (id int)",
    "create temp sequence mine_to_count",
    "listen jobs",
    "notify jobs, 'x'",
    "unlisten *",
    "prepare mine as select * from audit",
    "set work_mem = '1MB'",
    "begin; declare mine cursor with hold for select * from audit; commit",
    "discard all",
)
LASTS = ("listen jobs", "prepare mine as select * from audit", "set work_mem = '1MB'", "set role pg_monitor")
"""Of those above what a reset tells of, where it was the last that a session ran."""
RUNNING = ("select pg_sleep(20)", "insert into audit values ('running', 1); select pg_sleep(20)")
MEMBERSHIP = (
    "create role proof_guest",
    "grant proof_owner to proof_guest",
    "grant proof_owner to proof_guest with admin option",
    "revoke admin option for proof_owner from proof_guest",
)
"""Of these two in turn change nothing but how the membership is given."""
SERVER = (
    *MEMBERSHIP,
    "alter role proof_guest password 'secret'",
    "grant proof_owner to proof_guest with inherit false",
    "revoke proof_owner from proof_guest",
    "comment on role proof_guest is 'x'",
    "comment on database template0 is 'x'",
    "comment on database template0 is null",
    "grant set on parameter work_mem to proof_guest",
    "revoke all on parameter work_mem from proof_guest",
    "select pg_create_physical_replication_slot('proof')",
    "select pg_drop_replication_slot('proof')",
    "select pg_replication_origin_create('proof')",
    "select pg_replication_origin_drop('proof')",
    "alter tablespace pg_default set (seq_page_cost = 2)",
    "alter tablespace pg_default reset (seq_page_cost)",
    "alter role proof_guest createdb",
    "drop role if exists proof_guest",
    "alter role all set work_mem = '6MB'",
    "alter role all reset all",
    "alter system set work_mem = '5MB'",
    "alter system reset all",
)


def _writes(name: str, i: int, n: int, choice: int) -> tuple[str, ...]:
    """INSERT, UPDATE and DELETE; they may well violate something."""
    which = (f"n = {n}", f"id::text = '{i}'", f"n < {n}", f"id::text = (select min(id::text) from {name})")[choice]
    return (
        f"insert into {name} (n) values ({n})",
        f"insert into {name} (id, n) values ({i}, {n})",
        f"insert into {name} (id, n) overriding system value values ({i}, {n}) on conflict do nothing",
        f"insert into {name} (id, region, n) values ({i}, 'a', {n}), ({i}, 'b', {n})",
        f"insert into {name} (id, n) values ({i}, {n}) on conflict (id) do update set n = 99",
        f"insert into {name} select * from {name} where {which}",
        f"update {name} set n = {n} where {which}",
        f"update {name} set n = n + 1",
        f"update {name} set id = id where {which}",
        f"update {name} set id = {i} where {which}",
        f"delete from {name} where {which}",
        f"delete from {name}",
        f"delete from only {name} where {which}",
    )
