"""A captured seed loads to the rows that it was made from, holds all that they refer to, and nobody's data."""

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from realstack.errors import RealstackError
from realstack.model import Endpoint, PostgresPlan, Secret
from realstack.services.postgres import connect_arguments
from realstack.state.capture import Captured, CaptureRequest, capture
from realstack.state.capture.masking import MaskRules
from realstack.state.capture.subset import Root
from realstack.state.clones import Databases
from realstack.state.fingerprint import fingerprint
from realstack.state.template import prepare_template

Write = Callable[[str, str], Path]
ALL = MaskRules({}, ("*",))

TYPES, ROWS = (Path(__file__).with_name(f"every_type_{each}.sql").read_text() for each in ("tables", "rows"))


class Source:
    """A database with tables and rows, and what a capture of it loads to."""

    def __init__(self, postgres: Endpoint, root: Path, write: Write) -> None:
        self.postgres, self.root, self.write = postgres, root, write
        self.lenders: list[Databases] = []

    async def made(self, tables: str, rows: str) -> Endpoint:
        self.write("m.sql", tables)
        self.write("rows.sql", f"{rows.rstrip().rstrip(';')};" if rows else "select 1")
        return await self._lent(("rows.sql",))

    async def loaded(self, captured: Captured, *, as_folder: bool = False) -> Endpoint:
        if as_folder:
            for name, text in captured.as_files().items():
                self.write(f"captured/{name}", text)
            return await self._lent(("captured",))
        self.write("captured.yaml", captured.as_file())
        return await self._lent(("captured.yaml",))

    async def _lent(self, seed: tuple[str, ...]) -> Endpoint:
        template = await prepare_template(self.postgres, PostgresPlan(self.root, ("m.sql",), seed))
        self.lenders.append(Databases(self.postgres, template, f"gw{len(self.lenders)}", "rcapture"))
        return await self.lenders[-1].lend()


@pytest.fixture
async def source(postgres: Endpoint, tmp_path: Path, write: Write) -> AsyncIterator[Source]:
    made = Source(postgres, tmp_path, write)
    yield made
    for lender in made.lenders:
        await lender.close()


async def rows_of(endpoint: Endpoint) -> dict[str, str]:
    """What the fingerprint has of the rows: texts of all values, whatever their order."""
    found = await fingerprint(endpoint)
    return {name: text for name, text in found.parts.items() if name.startswith("rows ")}


async def fetched(endpoint: Endpoint, query: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(**connect_arguments(endpoint))
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


def request(**changes: object) -> CaptureRequest:
    return replace(CaptureRequest(b"key", masks=ALL), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("as_folder", [False, True], ids=["file", "folder"])
async def test_rows_of_every_type_load_to_the_same_rows(source: Source, as_folder: bool) -> None:
    database = await source.made(TYPES, ROWS)
    captured = await capture(database, request())
    assert captured.counts["everything"] == 11
    loaded = await source.loaded(captured, as_folder=as_folder)
    assert await rows_of(loaded) == await rows_of(database)
    assert (await capture(loaded, request())).texts == captured.texts


LETTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(LETTERS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(LETTERS), inner, max_size=3),
    max_leaves=6,
)


@settings(
    max_examples=8,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(
            st.none() | st.text(LETTERS),
            st.none() | JSON,
            st.sampled_from([None, Decimal("NaN")]) | st.decimals(allow_nan=False, allow_infinity=False, places=3),
            st.none() | st.floats(),
            st.none() | st.binary(max_size=9),
            st.none() | st.lists(st.none() | st.text(LETTERS)),
        ),
        max_size=40,
    )
)
async def test_whatever_the_values_are_they_come_back(source: Source, values: list[tuple[object, ...]]) -> None:
    database = await source.made(
        "create table t (id serial primary key, t text, j jsonb, n numeric, f float8, b bytea, ta text[], raw json)", ""
    )
    connection = await asyncpg.connect(**connect_arguments(database))
    await connection.executemany(
        "insert into t (t, j, n, f, b, ta, raw) values ($1, $2, $3, $4, $5, $6, $7)",
        [(t, text := None if j is None else json.dumps(j), n, f, b, ta, text) for t, j, n, f, b, ta in values],
    )
    await connection.close()
    captured = await capture(database, request())
    assert await rows_of(await source.loaded(captured)) == await rows_of(database)


SHOP = """
create table orgs (id int primary key, title text);
create table users (id int primary key, org int references orgs, boss int references users, nick text);
create table runs (id int primary key, user_id int references users, code text unique);
create table steps (run int references runs, nr int, primary key (run, nr));
create table notes (id int primary key, run int, nr int, body text, foreign key (run, nr) references steps);
create table alembic_version (version_num text);
"""
SHOP_ROWS = """
insert into orgs select i, 'o' || i from generate_series(1, 3) i;
insert into users values (1, 1, null, 'a'), (2, 1, 1, 'b'), (3, 2, 2, 'c'), (4, 3, 4, 'd');
insert into runs values (10, 3, 'x'), (11, 4, 'y'), (12, null, 'z'), (13, 2, 'w');
insert into steps values (10, 1), (10, 2), (11, 1);
insert into notes values (1, 10, 2, 'n'), (2, null, null, 'm');
insert into alembic_version values ('abc');
"""


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"roots": [Root("runs", "runs.user_id = 3")]}, {"orgs": 2, "users": 3, "runs": 1}),
        (
            {"roots": [Root("runs", "user_id = 3")], "with_children": True},
            {"orgs": 2, "users": 3, "runs": 1, "steps": 2, "notes": 1},
        ),
        ({"roots": [Root("users", "id = 4")], "with_children": True}, {"orgs": 1, "users": 1, "runs": 1, "steps": 1}),
        (
            {"roots": [Root("notes"), Root("orgs", "id = 3")]},
            {"orgs": 3, "users": 3, "runs": 1, "steps": 1, "notes": 2},
        ),
        (
            {"roots": [Root("users", "id = 3"), Root("users", "id = 2")], "with_children": True},
            {"orgs": 2, "users": 3, "runs": 2, "steps": 2, "notes": 1},
        ),
        ({"roots": [Root("runs")], "rows": 1}, {"orgs": 2, "users": 3, "runs": 1}),
        ({"exclude": ["orgs", "notes"]}, {"users": 4, "runs": 4, "steps": 3}),
        ({}, {"orgs": 3, "users": 4, "runs": 4, "steps": 3, "notes": 2}),
    ],
    ids=["parents", "children", "self", "composite key", "a parent that is chosen too", "limit", "exclude", "all"],
)
async def test_what_the_chosen_rows_refer_to_comes_along(
    source: Source, changes: dict[str, object], counts: dict[str, int]
) -> None:
    database = await source.made(SHOP, SHOP_ROWS)
    captured = await capture(database, request(**changes))
    assert dict(captured.counts) == counts
    if "exclude" not in changes:
        loaded = await source.loaded(captured)
        for table, count in counts.items():
            assert await fetched(loaded, f"select count(*) from {table}") == [(count,)]


CIRCLE = """
create table a (id int primary key, b int);
create table b (id int primary key, a int references a {});
alter table a add constraint to_b foreign key (b) references b {};
insert into a values (1, null), (2, null); insert into b values (1, 1), (2, 2); update a set b = 2 where id = 1;
"""


async def test_rows_in_a_circle_load_by_deferred_constraints(source: Source) -> None:
    await source.made(CIRCLE.format("", "deferrable"), "")
    database = source.lenders[0]
    lent = await database.lend()
    source.write("m.sql", CIRCLE.format("", "deferrable").split("insert")[0])
    captured = await capture(lent, request())
    assert captured.deferred
    assert await rows_of(await source.loaded(captured)) == await rows_of(lent)
    with pytest.raises(RealstackError, match="in a circle"):
        captured.as_files()


async def test_a_circle_that_cannot_load_is_named(source: Source) -> None:
    database = await source.made(CIRCLE.format("", ""), "")
    with pytest.raises(RealstackError, match=r"a circle: a.b → b.a → a\.") as caught:
        await capture(database, request())
    assert "--mask COLUMN=null" in caught.value.remedy
    broken = await capture(database, request(masks=MaskRules({"a.b": "null"}, ("*",))))
    assert list(broken.texts) == ["a", "b"]


PEOPLE = """
create extension citext;
create table people (
    id serial primary key, email citext unique, full_name text, phone varchar(20), last_ip inet, api_token uuid,
    street_address text, born date, birthday date, profile jsonb, email_verified bool, nick text, bio text
);
create table letters (id serial primary key, to_email citext references people (email), sender text);
"""
PEOPLE_ROWS = """
insert into people (email, full_name, phone, last_ip, api_token, street_address, birthday, profile, nick, bio) values
 ('Ann@corp.test', 'Ann Lee', '+4912345', '81.2.69.142', gen_random_uuid(), 'Main 1', '1990-01-01', '{"deep": {"Phone": "1"}}', 'x',
  'write me: ann.lee@corp.test'),
 ('bob@corp.test', 'Ann Lee', '+4999999', '2a00::1', gen_random_uuid(), '', null, null, 'y', null);
insert into letters (to_email, sender) values ('ANN@corp.test', 'ann@corp.test'), ('bob@corp.test', 'nobody');
"""  # noqa: E501
RULES = {
    "people.email": "email",
    "people.full_name": "name",
    "*.phone": "phone",
    "people.last_ip": "ip",
    "people.api_token": "hash",
    "*address*": "address",
    "people.birthday": "null",
    "people.profile": "fixed:{}",
    "people.bio": "fixed:hello",
    "letters.sender": "email",
}


async def test_columns_that_look_personal_are_refused_until_something_is_said(source: Source) -> None:
    database = await source.made(PEOPLE, PEOPLE_ROWS)
    captured = await capture(database, request(masks=MaskRules({}, ("people.full_name",))))
    assert dict(captured.refused) == {
        "people.email": "its name has 'email'",
        "people.phone": "its name has 'phone'",
        "people.last_ip": "its name has 'ip'",
        "people.api_token": "its name has 'token'",
        "people.street_address": "its name has 'street'",
        "people.birthday": "its name has 'birthday'",
        "people.profile": "its JSON has the key 'Phone'",
        "people.bio": "a value looks like an e-mail address",
        "letters.sender": "a value looks like an e-mail address",
    }
    without = await capture(database, request(masks=MaskRules({}, ()), exclude=["people"]))
    assert set(without.refused) == {"letters.to_email", "letters.sender"}


async def test_masked_rows_load_hold_together_and_tell_nothing(source: Source) -> None:
    database = await source.made(PEOPLE, PEOPLE_ROWS)
    captured = await capture(database, request(masks=MaskRules(RULES)))
    assert captured.refused == {}
    assert set(captured.masked) == {
        *(name for name in RULES if "*" not in name),
        "people.phone",
        "people.street_address",
        "letters.to_email",
    }
    text = captured.as_file()
    assert not re.search(r"corp\.test|Lee|\+49|81\.2|2a00|Main|1990", text, re.IGNORECASE)
    loaded = await source.loaded(captured)
    of_letters = "select count(*), count(distinct full_name), count(distinct email)"
    assert await fetched(loaded, f"{of_letters} from letters join people on to_email = email") == [(2, 1, 2)]
    assert await fetched(loaded, "select count(*) from people where api_token is null") == [(0,)]


async def test_the_same_key_masks_the_same_and_another_one_otherwise(source: Source) -> None:
    database = await source.made(PEOPLE, PEOPLE_ROWS)
    one = await capture(database, request(masks=MaskRules(RULES)))
    same = await capture(database, request(masks=MaskRules(RULES)))
    other = await capture(database, request(masks=MaskRules(RULES), key=b"other"))
    assert one.as_file() == same.as_file()
    assert one.as_file() != other.as_file()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"people.emial": "email"}, "'people.emial' names no column"),
        ({"people.email": "mail"}, "the mask 'mail' of 'people.email' is not known"),
        ({"people.email": "fixed:x"}, "people.email must hold each value once"),
        ({"people.birthday": "name"}, "people.birthday is of the type date: the mask 'name' does not fit"),
        ({"people.phone": "address"}, "people.phone (character varying(20)) is too short for the mask 'address'"),
        ({"letters.to_email": "hash"}, "would tear the foreign key letters_to_email_fkey apart"),
    ],
)
async def test_a_mask_that_cannot_be_is_told(source: Source, rules: dict[str, str], said: str) -> None:
    database = await source.made(PEOPLE, PEOPLE_ROWS)
    with pytest.raises(RealstackError) as caught:
        await capture(database, request(masks=MaskRules(rules)))
    assert said in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"roots": [Root("usres")]}, "there is no table 'usres'"),
        ({"roots": [Root("runs", "nope = 1")]}, 'column "nope" does not exist'),
        ({"roots": [Root("runs", "true); delete from notes; --")]}, "the rows of 'runs' cannot be chosen"),
        ({"roots": [Root("runs", "nextval('s') > 0")]}, "read-only transaction"),
        ({"exclude": ["nothing"]}, "--exclude: there is no table 'nothing'"),
    ],
)
async def test_a_capture_that_cannot_be_is_told_and_writes_nothing(
    source: Source, changes: dict[str, object], said: str
) -> None:
    database = await source.made(SHOP + "create sequence s;", SHOP_ROWS)
    before = await fingerprint(database)
    with pytest.raises(RealstackError) as caught:
        await capture(database, request(**changes))
    assert said in caught.value.problem
    assert before.difference(await fingerprint(database)) == []


async def test_a_reader_who_may_not_see_all_rows_is_told(source: Source) -> None:
    database = await source.made(SHOP + "alter table users enable row level security;", SHOP_ROWS)
    connection = await asyncpg.connect(**connect_arguments(database))
    await connection.execute("create role capture_reader login password 'r'")
    await connection.execute("grant select on all tables in schema public to capture_reader")
    try:
        reader = replace(database, username="capture_reader", password=Secret("r"))
        with pytest.raises(RealstackError, match="row-level security"):
            await capture(reader, request())
    finally:
        await connection.execute("drop owned by capture_reader; drop role capture_reader")
        await connection.close()
