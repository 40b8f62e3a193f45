"""Masks hide, hold together, and fit; what looks personal is seen."""

import pytest

from realstack.errors import RealstackError
from realstack.state.capture.masking import Masks
from realstack.state.capture.personal import looks_personal, word_in
from realstack.state.capture.tables import CapturedTable, Column

TEXT = Column("c", "text", "text", "S")
TABLE = CapturedTable(1, "public", "t", False, (), (TEXT,))


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("email", "email"),
        ("userEmail", "email"),
        ("E_MAIL", "email"),
        ("work_phone_2", "phone"),
        ("lastName", "lastname"),
        ("name", "name"),
        ("file_name", "name"),
        ("IPAddress", "ip"),
        ("apiKey", "api key"),
        ("password_hash", "password"),
        ("ssn", "ssn"),
        ("shipping", ""),
        ("renamed", ""),
        ("description", ""),
        ("addressee_count", ""),
        ("tokenizer", ""),
    ],
)
def test_a_name_looks_personal_by_its_words(name: str, word: str) -> None:
    assert word_in(name) == word


@pytest.mark.parametrize(
    ("column", "values", "personal"),
    [
        (Column("email", "text", "text", "S"), ["x"], True),
        (Column("email", "text", "text", "S"), [None, ""], False),
        (Column("email_sent_at", "timestamptz", "timestamptz", "D"), ["2024-01-01"], False),
        (Column("birth_date", "date", "date", "D"), ["2024-01-01"], True),
        (Column("is_mobile", "boolean", "bool", "B"), ["true"], False),
        (Column("ssn", "bigint", "int8", "N"), ["1"], True),
        (Column("name_count", "integer", "int4", "N"), ["1"], False),
        (Column("token", "uuid", "uuid", "U"), ["00000000-0000-0000-0000-000000000000"], True),
        (Column("address", "uuid", "uuid", "U"), ["00000000-0000-0000-0000-000000000000"], False),
        (Column("body", "text", "text", "S"), ["see a.b@corp.example.org"], True),
        (Column("body", "text", "text", "S"), ["@handle, a@b"], False),
        (Column("tags", "text[]", "_text", "A"), ["{a@corp.org}"], True),
        (Column("facts", "jsonb", "jsonb", "U"), ['{"a": [{"user_email": "x"}]}'], True),
        (Column("facts", "jsonb", "jsonb", "U"), ['{"a": [{"email": null, "phone": true, "name": ""}]}'], False),
    ],
)
def test_a_column_looks_personal_by_name_type_and_values(
    column: Column, values: list[str | None], personal: bool
) -> None:
    assert bool(looks_personal(column, values)) is personal


@pytest.mark.parametrize(
    ("column", "rule", "form"),
    [
        (TEXT, "email", r"user-[0-9a-f]{16}@example\.com"),
        (TEXT, "phone", r"\+999\d{11}"),
        (TEXT, "name", r"[A-Z][a-z]+ [A-Z][a-z]+ [0-9a-f]{8}"),
        (TEXT, "address", r"\d+ [A-Z][a-z]+ Street [0-9a-f]{8}"),
        (TEXT, "ip", r"10\.\d+\.\d+\.\d+"),
        (TEXT, "hash", r"[0-9a-f]{16}"),
        (Column("c", "varchar(5)", "varchar", "S", 5), "hash", r"[0-9a-f]{5}"),
        (
            Column("c", "uuid", "uuid", "U"),
            "hash",
            r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
        ),
        (Column("c", "bytea", "bytea", "U"), "hash", r"\\x[0-9a-f]{32}"),
        (Column("c", "smallint", "int2", "N"), "hash", r"\d{1,5}"),
        (Column("c", "bigint", "int8", "N"), "phone", r"\d+"),
        (TEXT, "fixed:a:b", "a:b"),
        (TEXT, "keep", "value"),
    ],
)
def test_a_mask_has_the_form_of_its_rule_and_fits_the_type(column: Column, rule: str, form: str) -> None:
    import re

    assert re.fullmatch(form, str(Masks(b"k").masked(TABLE, column, rule, "value")))


def test_the_same_value_is_masked_the_same_everywhere_and_another_one_never() -> None:
    masks = Masks(b"k")
    made = [masks.masked(TABLE, TEXT, "email", f"a{number % 500}") for number in range(1000)]
    assert made[:500] == made[500:]
    assert len(set(made)) == 500
    short = Column("c", "varchar(2)", "varchar", "S", 2)
    assert len({masks.masked(TABLE, short, "hash", str(number)) for number in range(100)}) == 100
    assert Masks(b"other").masked(TABLE, TEXT, "email", "a1") != made[1]


def test_spellings_that_citext_takes_for_one_are_masked_as_one() -> None:
    masks = Masks(b"k")
    citext = Column("c", "citext", "citext", "S")
    assert masks.masked(TABLE, citext, "email", "Ann@x.org") == masks.masked(TABLE, citext, "email", "ann@X.org")
    assert masks.masked(TABLE, TEXT, "email", "Ann@x.org") != masks.masked(TABLE, TEXT, "email", "ann@x.org")


def test_null_and_the_empty_text_stay_and_null_takes_all() -> None:
    masks = Masks(b"k")
    assert [masks.masked(TABLE, TEXT, "email", value) for value in (None, "")] == [None, ""]
    assert masks.masked(TABLE, TEXT, "null", "x") is None


def test_a_column_that_is_too_small_for_so_many_values_is_told() -> None:
    masks = Masks(b"k")
    tiny = Column("c", "varchar(1)", "varchar", "S", 1)
    made = {masks.masked(TABLE, tiny, "hash", str(number)) for number in range(10)}
    with pytest.raises(RealstackError, match="too short"):
        _ = [masks.masked(TABLE, tiny, "hash", str(number)) for number in range(17)]
    assert len(made) == 10
