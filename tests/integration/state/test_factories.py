"""Rows that factories make: in their tables, parents first, the same in every build."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from realstack.errors import SeedFailed
from realstack.model import Endpoint, PostgresPlan
from realstack.services.postgres import connect_arguments
from realstack.state.clones import Databases
from realstack.state.fingerprint import Fingerprint, fingerprint
from realstack.state.server import connect_for_maintenance, drop_database
from realstack.state.template import prepare_template

Write = Callable[[str, str], Path]

TABLES = """
create type mood as enum ('sad', 'fine');
create table users (
    id serial primary key, email text unique not null, mood mood, born date, seen timestamptz, token uuid,
    facts jsonb, tags text[], score float8, paid numeric, picture bytea, nap interval, ip inet
);
create table runs (id serial primary key, owner int not null references users, note text);
create table rooms (id serial primary key, name text);
create table logs (
    id uuid primary key default gen_random_uuid(), "made At" timestamptz(3) default now(),
    day date default current_date, at timestamp default (now() at time zone 'utc'), noted text default 'now()',
    soon timestamptz default now() + '1 day',
    wall timestamptz default clock_timestamp(), plain time default localtime(0)
);
create table guests (room int references rooms, guest int references users, primary key (room, guest));
"""

PLAIN = """
import enum, random, secrets, uuid, ipaddress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
import pydantic

class Mood(enum.Enum):
    BAD, GOOD = "sad", "fine"

@dataclass
class Run:
    __tablename__ = "runs"
    owner: object
    note: str = "x"

class User(pydantic.BaseModel):
    email: str
    mood: Mood = Mood.GOOD
    seen: datetime = pydantic.Field(default_factory=lambda: datetime.now(UTC))
    secret: pydantic.SecretStr | None = pydantic.Field(default=None, exclude=True)

def tables():
    runs = [Run(1, "first")]
    return {"runs": runs, "users": [{"id": 1, "email": "a"}]}

def yielded():
    ann = {"email": "ann", "mood": Mood.BAD}
    yield Run(ann, "of ann")
    yield "users", ann

async def awaited():
    return [("users", {"email": "a"})]

async def streamed():
    yield "users", {"email": "a"}
    yield "users", {"email": "b"}

def values():
    return {
        "email": "a", "mood": Mood.GOOD, "born": date(1990, 2, 3), "seen": datetime(2024, 1, 2, tzinfo=UTC),
        "token": uuid.UUID(int=7), "facts": {"at": date(2024, 1, 1), "deep": [{"n": Decimal("1.50")}, {2, 1}]},
        "tags": ("x", "y z"), "score": float("nan"), "paid": Decimal("12345678901234567890.10"),
        "picture": b"\\x00\\xff", "nap": timedelta(days=-1, seconds=5), "ip": ipaddress.ip_address("10.0.0.1"),
    }

def chance():
    return {
        "email": str([random.random(), random.Random().random(), secrets.token_hex(4), hash("x"), {"q", "r", "s"}]),
        "token": uuid.uuid4(), "seen": datetime.now(UTC), "born": date.today(), "facts": {"now": str(datetime.now())},
    }

def wrong():
    yield {"email": "first"}
    yield {"email": "second"}
    email = "first"
    yield {"email": email}

def no_column():
    return [{"email": "a"}, {"emial": "b"}]

def no_value():
    return [{"email": "a", "facts": {"x": object()}}]

def no_table():
    return [{"email": "a"}]

def nothing():
    pass

def raises():
    yield {"email": "a"}
    raise KeyError("lost")

class Neither:
    pass

ROWS = [("users", {"email": "a"})]
"""

MODELS = """
from datetime import UTC, datetime
from typing import Optional
from sqlalchemy import Column, ForeignKey, Table, DateTime
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from polyfactory.factories.pydantic_factory import ModelFactory
import pydantic

class Base(DeclarativeBase):
    pass

guests = Table("guests", Base.metadata,
    Column("room", ForeignKey("rooms.id"), primary_key=True), Column("guest", ForeignKey("users.id"), primary_key=True))

class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    seen: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=lambda: datetime.now(UTC))
    runs: Mapped[list["Run"]] = relationship(back_populates="user")

class Run(Base):
    __tablename__ = "runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int] = mapped_column(ForeignKey("users.id"))
    note: Mapped[Optional[str]]
    user: Mapped[User] = relationship(back_populates="runs")

class Room(Base):
    __tablename__ = "rooms"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    guests: Mapped[list[User]] = relationship(secondary=guests)

def instances():
    ann = User(email="eve", runs=[Run(note="1"), Run(note="2")])
    yield Room(name="blue", guests=[ann, User(email="bob", id=40)])

def related():
    return [Run(note="1", user=User(email="a")), Run(note="2", user=User(email="a"))]

def bad():
    yield User(email="a")
    yield User(email="b")
    again = User(email="a")
    yield again
    yield User(email="c")

class UserFactory(SQLAlchemyFactory[User]):
    __set_relationships__ = False

class UserIn(pydantic.BaseModel):
    __tablename__ = "users"
    email: str
    score: float
    seen: pydantic.AwareDatetime
    token: pydantic.UUID4

class UserInFactory(ModelFactory[UserIn]):
    pass
"""


BY_HAND = """
import random
async def seed(connection):
    await connection.execute("insert into rooms (name) values ($1)", str([random.random(), hash("x")]))
"""


@pytest.fixture
def plan(write: Write, tmp_path: Path) -> PostgresPlan:
    write("m.sql", TABLES)
    write("app/__init__.py", "")
    write("app/seeds.py", PLAIN)
    write("app/models.py", MODELS)
    return PostgresPlan(tmp_path, ("m.sql",))


@asynccontextmanager
async def made(postgres: Endpoint, plan: PostgresPlan, source: str) -> AsyncIterator[asyncpg.Connection]:
    lender = Databases(postgres, await prepare_template(postgres, replace(plan, seed=(source,))), "gw0", "rfact")
    connection = await asyncpg.connect(**connect_arguments(await lender.lend()))
    try:
        yield connection
    finally:
        await connection.close()
        await lender.close()


async def built(postgres: Endpoint, plan: PostgresPlan) -> Fingerprint:
    """The fingerprint of a template that is built now, and gone again."""
    template = await prepare_template(postgres, plan)
    assert template.built
    lender = Databases(postgres, template, "gw0", "rfact")
    found = await fingerprint(await lender.lend())
    await lender.close()
    connection = await connect_for_maintenance(postgres)
    await drop_database(connection, template.name)
    await connection.close()
    return found


async def test_rows_go_to_their_tables_parents_first(postgres: Endpoint, plan: PostgresPlan) -> None:
    async with made(postgres, plan, "factory:app.seeds:tables") as connection:
        assert tuple(await connection.fetchrow("select owner, note from runs")) == (1, "first")
        assert await connection.fetchval("insert into users (email) values ('b') returning id") == 2


async def test_a_value_that_is_another_row_stands_for_its_key(postgres: Endpoint, plan: PostgresPlan) -> None:
    async with made(postgres, plan, "factory:app.seeds:yielded") as connection:
        query = "select note, email, mood from runs join users on users.id = owner"
        assert tuple(await connection.fetchrow(query)) == ("of ann", "ann", "sad")


@pytest.mark.parametrize(
    ("source", "emails"),
    [
        ("awaited", ["a"]),
        ("streamed", ["a", "b"]),
        ("ROWS", ["a"]),
    ],
)
async def test_coroutines_streams_and_lists_are_factories_too(
    postgres: Endpoint, plan: PostgresPlan, source: str, emails: list[str]
) -> None:
    async with made(postgres, plan, f"factory:app.seeds:{source}") as connection:
        assert [row[0] for row in await connection.fetch("select email from users order by id")] == emails


async def test_values_become_the_columns_types(postgres: Endpoint, plan: PostgresPlan) -> None:
    async with made(postgres, plan, "factory:app.seeds:values -> users") as connection:
        assert await connection.fetchval("select to_jsonb(users) - 'id' from users") == (
            '{"ip": "10.0.0.1", "nap": "-1 days +00:00:05", "born": "1990-02-03", "mood": "fine", '
            '"paid": 12345678901234567890.10, "seen": "2024-01-02T00:00:00+00:00", "tags": ["x", "y z"], "email": "a", '
            '"facts": {"at": "2024-01-01", "deep": [{"n": "1.50"}, [1, 2]]}, "score": "NaN", '
            '"token": "00000000-0000-0000-0000-000000000007", "picture": "\\\\x00ff"}'
        )


async def test_sqlalchemy_instances_bring_what_they_relate_to(postgres: Endpoint, plan: PostgresPlan) -> None:
    async with made(postgres, plan, "factory:app.models:instances") as connection:
        query = "select email, note from runs join users on users.id = owner order by runs.id"
        assert [tuple(row) for row in await connection.fetch(query)] == [("eve", "1"), ("eve", "2")]
        guests = "select email from guests join users on users.id = guest order by email"
        assert [row[0] for row in await connection.fetch(guests)] == ["bob", "eve"]
        assert str(await connection.fetchval("select min(seen) from users")) == "2025-01-01 00:00:00+00:00"
        assert await connection.fetchval("insert into users (email) values ('new') returning id") == 41


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        ("app.models:UserFactory*7", 7),
        ("app.models:UserInFactory*5", 5),
        ("app.models:UserIn*3", 3),
        ("app.models:UserIn", 1),
        ("app.seeds:chance*2 -> users", 2),
    ],
)
async def test_a_factory_makes_as_many_rows_as_its_name_says(
    postgres: Endpoint, plan: PostgresPlan, source: str, rows: int
) -> None:
    async with made(postgres, plan, f"factory:{source}") as connection:
        assert await connection.fetchval("select count(*) from users") == rows


async def test_two_builds_of_every_kind_of_source_have_the_same_fingerprint(
    postgres: Endpoint, plan: PostgresPlan, write: Write
) -> None:
    write("s/1.sql", "insert into users (email, seen) values ('sql', '2025-01-01Z'); insert into logs default values;")
    write("s/2_users.csv", "email\ncsv\n")
    write("s/users.jsonl", '{"email": "jsonl"}\n')
    write(
        "s/rows.yaml",
        "logs:\n- {}\n- {noted: yes}\nusers:\n- &y {email: yaml, seen: !time -3d}\nruns:\n- {owner: *y}\n",
    )
    write("app/by_hand.py", BY_HAND)
    factories = ("seeds:yielded", "seeds:chance*3 -> users", "models:instances", "models:UserInFactory*5")
    seed = ("s", "python:app.by_hand:seed", *(f"factory:app.{each}" for each in factories))
    plan = replace(plan, seed=seed, now="2025-01-31T12:00:00+00:00")
    first, second = await built(postgres, plan), await built(postgres, plan)
    assert first.difference(second) == []
    later = await built(postgres, replace(plan, now="2025-02-28T12:00:00+00:00"))
    assert first.difference(later) == [
        "rows public.logs differ: as many (3), others",
        "rows public.users differ: as many (15), others",
    ]


async def test_defaults_of_the_clock_count_from_the_plans_instant_and_are_put_back(
    postgres: Endpoint, plan: PostgresPlan, write: Write
) -> None:
    write("logs.yaml", "logs:\n- {}\n")
    bare = await built(postgres, replace(plan, now="2025-01-31T12:00:00+00:00"))
    plan = replace(plan, seed=("logs.yaml",), now="2025-01-31T13:00:00+01:00")
    seeded = await built(postgres, plan)
    assert bare.difference(seeded) == ["rows public.logs differ: 0 → 1"]
    async with made(postgres, plan, "logs.yaml") as connection:
        row = await connection.fetchrow("select to_jsonb(logs) - 'id' from logs")
        assert json.loads(row[0]) == {
            "made At": "2025-01-31T12:00:00+00:00",
            "day": "2025-01-31",
            "at": "2025-01-31T12:00:00",
            "noted": "now()",
            "soon": "2025-02-01T12:00:00+00:00",
            "wall": "2025-01-31T12:00:00+00:00",
            "plain": "12:00:00",
        }
        assert (await connection.fetchval("select id from logs")).version == 4
        await connection.execute("insert into logs default values")
        assert await connection.fetchval("select count(distinct wall) from logs") == 2


LINES = {name: text.splitlines() for name, text in (("app/seeds.py", PLAIN), ("app/models.py", MODELS))}


@pytest.mark.parametrize(
    ("source", "at", "said"),
    [
        ("app.seeds:wrong -> users", '    yield {"email": email}', "row 3: a row of 'users' does not fit: duplicate"),
        ("app.seeds:no_column -> users", "def no_column():", "row 2: the table 'users' has no column 'emial'"),
        ("app.seeds:no_value -> users", "def no_value():", "row 1: column 'facts': a value of type object has no form"),
        ("app.seeds:no_table", "def no_table():", '{"email": "a"} has no table'),
        ("app.seeds:nothing", "def nothing():", "it gave None instead of rows"),
        ("app.seeds:raises -> users", '    raise KeyError("lost")', "KeyError: 'lost'"),
        ("app.seeds:Neither", "class Neither:", "Neither is a class, and neither a factory nor a model"),
        ("app.seeds:wrong -> usres", '    yield {"email": "first"}', "row 1: there is no table 'usres'"),
        ("app.models:bad", "    yield again", "row 3: a row of 'users' does not fit: duplicate key"),
        ("app.models:related", "def related():", "a row of 'users', related to one of its rows, does not fit: dupl"),
        ("app.seeds:missing", "", "app.seeds has no 'missing'"),
        ("app.seeds", "", "this names no factory"),
        ("nowhere:users", "", "there is no module 'nowhere'"),
    ],
)
async def test_a_factory_that_fails_is_named_with_its_line_and_the_row(
    postgres: Endpoint, plan: PostgresPlan, source: str, at: str, said: str
) -> None:
    with pytest.raises(SeedFailed) as caught:
        await prepare_template(postgres, replace(plan, seed=(f"factory:{source}",)))
    places = [f"{name}:{lines.index(at) + 1}: " for name, lines in LINES.items() if at and at in lines]
    assert f"{places[0] if places else ''}{said}" in caught.value.problem
    assert caught.value.remedy
    assert str(postgres.password) not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "row"),
    [("app.seeds:wrong -> users", '{"email": "first"}'), ("app.models:related", '{"email": "a"}')],
)
async def test_the_row_that_does_not_fit_is_shown(
    postgres: Endpoint, plan: PostgresPlan, source: str, row: str
) -> None:
    with pytest.raises(SeedFailed) as caught:
        await prepare_template(postgres, replace(plan, seed=(f"factory:{source}",)))
    assert f"row: {row}" in caught.value.details
