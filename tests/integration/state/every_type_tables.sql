create extension citext;
create schema "My App";
create type mood as enum ('sad', 'so so', 'null');
create type pair as (a int, "b c" text);
create domain small as int check (value < 1000);
create domain doc as jsonb;
create domain code as varchar(9);
create type span as range (subtype = float8);
create table everything (
    id bigint generated always as identity primary key, n numeric, exact numeric(12, 3), f float8, r real, b bool,
    s smallint, t text, v varchar(40), c char(6), ci citext, d date, ts timestamp, tz timestamptz, ti time, ttz timetz,
    iv interval, u uuid, bin bytea, js json, jb jsonb, ip inet, net cidr, mac macaddr, bits bit(3), vb varbit,
    m mood, p pair, sm small, dc doc, co code, sp span, ir int4range, mr int4multirange, ia int[], ta text[], tza timestamptz[],
    ja jsonb[], ma mood[], pa pair[], matrix int[][], pt point, tv tsvector, x xml, o oid, ch "char", nm name, mo money,
    rc regclass, twice int generated always as (s * 2) stored
);
create table "My App"."Odd: name" ("the, key" int primary key, "null" text, "a.b" text, "on" bool);
create table no_key (a int, b text);
create table parted (id int, part text) partition by list (part);
create table parted_a partition of parted for values in ('a');
create table parted_b partition of parted for values in ('b');
create table parent (id int); create table child (more text) inherits (parent);
