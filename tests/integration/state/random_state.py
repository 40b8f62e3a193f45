"""Random schemas, and random things that a test does to them: what the proof of the reset is made of."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

KEYS = {
    "serial": ("id serial primary key", "id"),
    "identity": ("id int generated always as identity primary key", "id"),
    "text": ("id text collate \"C\" primary key default md5(random()::text)", "id"),
    "uuid": ("id uuid default gen_random_uuid() unique not null", "id"),
    "pair": ("id int, region text, primary key (region, id)", "id"),
    "later": ("id int primary key deferrable initially deferred", "id"),
    "none": ("id int", "id"),
}  # fmt: skip

EXTRAS = {
    "generated": "twice int generated always as (n * 2) stored",
    "numeric": "price numeric default 1.50",
    "json": "doc json default '{\"a\": [1, 2]}'",
    "jsonb": "docb jsonb default '{\"b\": null}'",
    "bytes": "raw bytea default '\\x00ff'",
    "array": "list text[] default array['x', null, 'y,z']",
    "point": "place point default '(1,2)'",
    "float": "measure float8 default 0.1",
    "time": "made timestamptz default now()",
    "enum": "feeling mood default 'good'",
    "domain": "amount positive default 3",
    "row": "pair_of couple default row(1, 'a')",
    "long": "body text default repeat(md5('x'), 400)",
    "bit": "flags bit(3) default B'101'",
    "range": "during int4range default '[1,5)'",
}

PRELUDE = """
create type mood as enum ('good', 'bad');
create domain positive as int not null check (value > 0);
create type couple as (one int, other text);
create sequence free_sequence cache 5;
create sequence waiting_sequence;
create unlogged table scratch (id int primary key, n int);
create table audit (what text, n int);
create function note() returns trigger language plpgsql as $$ begin
    insert into audit values (tg_op, 1); return null; end $$;
create function change() returns trigger language plpgsql as $$ begin
    new.n := coalesce(new.n, 0) + 1; return new; end $$;
create table parts (id int, region text, n int, primary key (id, region)) partition by list (region);
create table parts_a partition of parts for values in ('a') partition by hash (id);
create table parts_a0 partition of parts_a for values with (modulus 2, remainder 0);
create table parts_a1 (region text, n int, id int, primary key (region, id));
alter table parts_a1 alter id set not null, alter region set not null, drop constraint parts_a1_pkey;
alter table parts_a attach partition parts_a1 for values with (modulus 2, remainder 1);
create table parts_rest partition of parts default;
create table parent (id int, n int);
create table heir (more text) inherits (parent);
create table chicken (id int primary key, egg int);
create table egg (id int primary key, chicken int references chicken deferrable initially deferred);
alter table chicken add foreign key (egg) references egg deferrable initially deferred;
create table hidden (id serial primary key, n int);
alter table hidden enable row level security; alter table hidden force row level security;
create policy half on hidden using (n > 1);
create table ruled (id int primary key, n int);
create rule no_delete as on delete to ruled where old.n = 0 do instead nothing;
create rule twice as on insert to ruled where new.n = 5 do also insert into audit values ('rule', new.id);
create table nothing ();
insert into scratch select i, i from generate_series(1, 5) i;
insert into parts select i, (array['a', 'b'])[1 + i % 2], i from generate_series(1, 12) i;
insert into parent select i, i from generate_series(1, 3) i;
insert into heir select i, i, 'h' from generate_series(1, 3) i;
insert into audit values ('seed', 1), ('seed', 1), ('seed', null);
begin; insert into chicken values (1, 1); insert into egg values (1, 1); commit;
insert into hidden (n) select i from generate_series(1, 4) i;
insert into ruled select i, i from generate_series(1, 4) i;
insert into nothing default values;
select nextval('free_sequence');
create materialized view counted as select count(*) from audit;
create table always (id int primary key, n int);
create trigger note after insert or delete on always execute function note();
alter table always enable always trigger note;
create table clubs (id int primary key);
insert into clubs values (1), (2);
create function own_event() returns event_trigger language plpgsql as 'begin end';
do $$ begin create role proof_owner; exception when duplicate_object or unique_violation then null; end $$;
alter table clubs owner to proof_owner;
select lo_from_bytea(4242, 'known');
"""
FIXED = ("scratch", "audit", "parts", "parts_a", "parts_a1", "parent", "heir", "chicken", "egg", "hidden", "ruled")


@dataclass(frozen=True)
class Schema:
    """SQL that makes it, and the names of its tables that have columns ``id`` and ``n``."""

    sql: str
    tables: tuple[str, ...]
    id_is_text: frozenset[str] = frozenset()


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """One to four tables of drawn keys and columns that may refer to each other, beside those that are always there."""
    lines, names = [PRELUDE], list(FIXED)
    text_ids: set[str] = set()
    for number in range(draw(st.integers(1, 4))):
        key = draw(st.sampled_from(sorted(KEYS)))
        extras = draw(st.lists(st.sampled_from(sorted(EXTRAS)), max_size=6, unique=True))
        lines.append(table(f"t{number}", key, extras, refers_to=draw(st.sampled_from(["", "cascade", "set null"]))))
        name = f"t{number}"
        if draw(st.booleans()):
            lines.append(f"create trigger note after insert or delete on {name} execute function note();")
        if draw(st.booleans()):
            lines.append(
                f"create trigger change before insert or update on {name} for each row execute function change();"
            )
        if draw(st.booleans()):
            lines.append(f"create unique index on {name} (u);")
        if not draw(st.integers(0, 5)):
            lines.append(f"create unlogged sequence loose{number};")
        names.append(name)
        text_ids.update({name} if key in ("text", "uuid") else ())
    return Schema("\n".join(lines), tuple(names), frozenset(text_ids))


def table(name: str, key: str, extras: list[str], refers_to: str = "") -> str:
    """A table and three rows; ``refers_to`` is what its foreign key on parts of itself does."""
    columns = [KEYS[key][0], "n int", "u int", *(EXTRAS[extra] for extra in extras)]
    if refers_to:
        columns.append(f"scratch_id int references ruled on delete {refers_to} on update cascade")
    ids = {"pair": "id, region, ", "later": "id, ", "none": "id, "}.get(key, "")
    values = {"pair": "i, 'r', ", "later": "i, ", "none": "1, "}.get(key, "")
    more, of_more = (", scratch_id", ", i") if refers_to else ("", "")
    insert = f"insert into {name} ({ids}n, u{more}) select {values}i, i{of_more} from generate_series(1, 3) i;"
    return f"create table {name} ({', '.join(columns)});\n{insert}"


EVERYTHING = Schema(
    "\n".join((PRELUDE, *(table(f"t{n}", key, sorted(EXTRAS), "cascade") for n, key in enumerate(sorted(KEYS))))),
    (*FIXED, *(f"t{n}" for n in range(len(KEYS)))),
    frozenset(f"t{n}" for n, key in enumerate(sorted(KEYS)) if key in ("text", "uuid")),
)

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
    """What one of the sessions does. ``kind``: ``sql``, ``ddl``, ``kill``, ``copy`` or ``prepared``."""

    session: int
    kind: str
    sql: str = ""


KINDS = (
    *["write"] * 14,
    *["transaction"] * 5,
    *["sequence", "special"] * 2,
    *("truncate", "copy", "kill", "role", "many", "session", "server", "two-phase", "prepared"),
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
        "nothing": ("select 1",),
        "loose": ("select nextval('loose')",),
        "two-phase": ("begin; delete from audit; prepare transaction 'left'", "rollback prepared 'left'"),
    }
    texts = choices.get(kind) or _writes(name, i, n, choice % 4)
    return Step(session, "sql", texts[choice % len(texts)])


TRANSACTION = (
    "begin",
    "begin isolation level serializable",
    "commit",
    "rollback",
    "savepoint s",
    "rollback to s",
    "set constraints all deferred",
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
SERVER = (
    "create role proof_guest",
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
