"""What the tests of the reset in place begin with: a schema of all kinds of tables, and all that is seen of it."""

import asyncpg

SCHEMA = """
create table users (
    id serial primary key, name text, email text unique, made timestamptz default now(),
    loud text generated always as (upper(name)) stored
);
create table runs (
    id bigint generated always as identity primary key, user_id int references users on delete cascade, note text
);
create table tags (user_id int references users on delete cascade, tag text);
create table parts (id int, region text, v text, primary key (id, region)) partition by list (region);
create table parts_a partition of parts for values in ('a');
create table parts_b partition of parts for values in ('b');
create table base (id int primary key, x text);
create table child (y int) inherits (base);
create unlogged table scratch (id int primary key);
create table nothing ();
create function factor() returns int language sql immutable as 'select 3';
create function tripled(n int) returns int language plpgsql immutable as 'begin return n * factor(); end';
create domain small as int check (tripled(value) < 3000);
create table booked (
    id int primary key, n small check (tripled(n) >= 0), three int generated always as (tripled(n)) stored,
    exclude using gist (int4range(n, n + 2) with &&)
);
create index on booked (tripled(n));
create table herd (breed text, id int, primary key (breed, id));
create table flock (id bigint primary key, v text);
create domain sure as int not null check (value > 0);
create table pack (id sure primary key);
create table swarm (id int[] primary key);
create sequence cached cache 10;
create view loud_users as select id, name from users;
create materialized view counted as select count(*) from users;
create table owned (id int);
alter table owned owner to realstack_reader;
insert into users (name, email) select 'u' || i, i || '@x' from generate_series(1, 30) i;
insert into runs (user_id, note) select i, 'n' from generate_series(1, 30) i;
insert into tags select i, 't' from generate_series(1, 20) i;
insert into tags select 1, 't' from generate_series(1, 3);
insert into parts select i, case when i % 2 = 0 then 'a' else 'b' end, 'v' from generate_series(1, 10) i;
insert into base values (1, 'x');
insert into child values (2, 'y', 3);
insert into scratch values (1);
insert into nothing default values;
insert into booked values (1, 10), (2, 20), (3, 30);
insert into herd select 'b' || i % 3, i from generate_series(1, 40) i;
insert into flock select i, 'v' from generate_series(1, 1000) i;
insert into pack select i from generate_series(1, 40) i;
insert into swarm select array(select generate_series(1, i)) from generate_series(1, 40) i;
"""
TABLES = (
    "users",
    "runs",
    "tags",
    "parts",
    "only base",
    "child",
    "scratch",
    "nothing",
    "booked",
    "herd",
    "flock",
    "pack",
    "swarm",
)
SEQUENCES = ("users_id_seq", "runs_id_seq", "cached")


async def seen(app: asyncpg.Connection) -> dict[str, list[str]]:
    """All rows and sequences, as an application sees them."""
    found = {table: sorted(map(str, await app.fetch(f"select * from {table}"))) for table in TABLES}
    for sequence in SEQUENCES:
        found[sequence] = [str(await app.fetchrow(f"select last_value, is_called from {sequence}"))]
    return found
