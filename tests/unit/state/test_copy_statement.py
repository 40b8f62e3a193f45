import pytest

from realstack.state.copy_statement import CopyTarget, NotReadableError, parse_copy


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("COPY t FROM stdin;", CopyTarget("t")),
        ("COPY public.t (id, name) FROM stdin;", CopyTarget("t", "public", ["id", "name"])),
        ('copy "My ""T".x ("A b") from STDIN', CopyTarget("x", 'My "T', ["A b"])),
        (
            "COPY T FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL '', FORCE_NULL (a, b));",
            CopyTarget(
                "t", options={"format": "csv", "header": True, "delimiter": ";", "null": "", "force_null": ["a", "b"]}
            ),
        ),
        ("COPY t FROM STDIN (HEADER false)", CopyTarget("t", options={"header": False})),
        (
            "COPY t FROM STDIN CSV HEADER DELIMITER AS E'\\t'",
            CopyTarget("t", options={"format": "csv", "header": True, "delimiter": "\t"}),
        ),
        ("COPY t FROM STDIN WITH (ENCODING 'UTF8')", CopyTarget("t")),
    ],
)
def test_it_reads_what_people_and_pg_dump_write(statement: str, expected: CopyTarget) -> None:
    assert parse_copy(statement) == expected


@pytest.mark.parametrize(
    "statement",
    ["COPY a.b.c FROM stdin", "COPY t FROM stdin WHERE x > 1", "COPY t FROM stdin (LOG_VERBOSITY verbose)", "COPY t ("],
)
def test_what_it_does_not_read_it_refuses(statement: str) -> None:
    with pytest.raises(NotReadableError):
        parse_copy(statement)
