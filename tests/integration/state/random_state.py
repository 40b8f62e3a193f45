"""Random schemas: what the proof of the reset begins with."""

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
    "computed": "tripled int generated always as (tripled(n)) stored",
    "checked": "fine int default 1 check (tripled(fine) > 0)",
    "checked domain": "size small default 1",
}

PRELUDE = """
create type mood as enum ('good', 'bad');
create domain positive as int not null check (value > 0);
create type couple as (one int, other text);
create function factor() returns int language sql immutable as 'select 3';
create function tripled(n int) returns int language plpgsql immutable as 'begin return n * factor(); end';
create domain small as int check (tripled(value) < 3000);
create table booked (
    id int primary key, n int, exclude using gist (int4range(n, n + 2) with &&) where (tripled(n) is not null)
);
create table exclusive (
    id int, n int, exclude using btree (n with =) where (n > 2) deferrable initially deferred
);
create table herd (id int, n int, breed text default 'b', primary key (breed, id));
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
insert into scratch select i, i from generate_series(1, 40) i;
insert into parts select i, (array['a', 'b'])[1 + i % 2], i from generate_series(1, 12) i;
insert into parent select i, i from generate_series(1, 3) i;
insert into heir select i, i, 'h' from generate_series(1, 3) i;
insert into audit values ('seed', 1), ('seed', 1), ('seed', null);
begin; insert into chicken values (1, 1); insert into egg values (1, 1); commit;
insert into hidden (n) select i from generate_series(1, 4) i;
insert into ruled select i, i from generate_series(1, 4) i;
insert into nothing default values;
insert into booked select i, 10 * i from generate_series(1, 4) i;
insert into exclusive select i, i from generate_series(1, 6) i;
insert into herd select i, i % 6, 'b' || i % 2 from generate_series(1, 40) i;
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
FIXED = (
    *("scratch", "audit", "parts", "parts_a", "parts_a1", "parent", "heir", "chicken", "egg", "hidden", "ruled"),
    *("booked", "exclusive", "herd"),
)


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
    # Before the rows: since PostgreSQL 17 an index over them is built without the database's own search_path.
    index = f"create index on {name} (tripled(n));" if "computed" in extras or "checked" in extras else ""
    return f"create table {name} ({', '.join(columns)});\n{index}{insert}"


EVERYTHING = Schema(
    "\n".join((PRELUDE, *(table(f"t{n}", key, sorted(EXTRAS), "cascade") for n, key in enumerate(sorted(KEYS))))),
    (*FIXED, *(f"t{n}" for n in range(len(KEYS)))),
    frozenset(f"t{n}" for n, key in enumerate(sorted(KEYS)) if key in ("text", "uuid")),
)
