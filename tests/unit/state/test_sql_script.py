"""The splitter reads scripts as psql does, and loses not a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realstack.state.sql_script import Kind, Script, UnfinishedError


def statements(text: str) -> list[str]:
    return [piece.text.strip() for piece in Script(text).pieces if piece.kind is not Kind.REST]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select 1; select 2", ["select 1;", "select 2"]),
        ("select ';'; select 2;", ["select ';';", "select 2;"]),
        ("select 'it''s; fine'; select 2;", ["select 'it''s; fine';", "select 2;"]),
        (r"select E'\'; x'; select 2;", [r"select E'\'; x';", "select 2;"]),
        (r"select e'a'" + "\n" + r"  '\'; x'; select 2;", ["select e'a'\n  '\\'; x';", "select 2;"]),
        (r"select '\'; select 2;", [r"select '\';", "select 2;"]),
        (r"select name'\'; select 2;", [r"select name'\';", "select 2;"]),
        ('select "a;""b"; select 2;', ['select "a;""b";', "select 2;"]),
        ("select 1 -- no; end\n; select 2;", ["select 1 -- no; end\n;", "select 2;"]),
        ("select 1 /* a /* ; */ ; */; select 2;", ["select 1 /* a /* ; */ ; */;", "select 2;"]),
        ("do $$ begin; end $$; select 2;", ["do $$ begin; end $$;", "select 2;"]),
        ("do $a$ $$ ; $b$ ; $a$; select 2;", ["do $a$ $$ ; $b$ ; $a$;", "select 2;"]),
        ("do $é$ ; $é$; select 2;", ["do $é$ ; $é$;", "select 2;"]),
        ("select $1; select a$$; select 2;", ["select $1;", "select a$$;", "select 2;"]),
        (
            "create rule r as on insert to t do also (delete from a; delete from b); select 2;",
            ["create rule r as on insert to t do also (delete from a; delete from b);", "select 2;"],
        ),
        (
            "create function f() returns int begin atomic select case when true then 1 end; select 2; end; select 3;",
            [
                "create function f() returns int begin atomic select case when true then 1 end; select 2; end;",
                "select 3;",
            ],
        ),
        (
            "CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC DELETE FROM a; END; select 3;",
            ["CREATE OR REPLACE PROCEDURE p() BEGIN ATOMIC DELETE FROM a; END;", "select 3;"],
        ),
        ("begin; select 1; end; select 2;", ["begin;", "select 1;", "end;", "select 2;"]),
        ("\\set x 1\nselect 2;", ["\\set x 1", "select 2;"]),
        ("select 1e5; select 2;", ["select 1e5;", "select 2;"]),
        ("", []),
        ("  -- nothing\n", []),
        (";;", [";", ";"]),
    ],
)
def test_statements_end_where_psql_ends_them(text: str, expected: list[str]) -> None:
    assert statements(text) == expected


def test_data_of_copy_go_with_its_statement() -> None:
    script = Script("COPY t (a, b) FROM stdin;\n1\tx;'\n2\t\\N\n\\.\n\nselect 2;\n")
    copy, after, _ = script.pieces
    assert copy.kind is Kind.COPY
    assert copy.data == "1\tx;'\n2\t\\N\n"
    assert copy.sql == "COPY t (a, b) FROM stdin;\n"
    assert after.text.strip() == "select 2;"
    assert script.line_of(after.body) == 6


def test_a_copy_to_stdout_has_no_data() -> None:
    assert [piece.kind for piece in Script("copy t to stdout; select 1;").pieces] == [Kind.SQL, Kind.SQL]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("select 1;\nselect 'x", 2),
        ("select 'it''s; select 2;", 1),
        ("\n\n/* a /* b */", 3),
        ("do $$ x", 1),
        ('select 1;\n\nselect "a', 3),
        ("copy t from stdin;\n1\n", 1),
        (r"select E'\';", 1),
    ],
)
def test_an_open_quote_is_reported_where_it_begins(text: str, line: int) -> None:
    script = Script(text)
    with pytest.raises(UnfinishedError) as caught:
        _ = script.pieces
    assert script.line_of(caught.value.offset) == line


def test_the_line_is_shown_with_a_caret_under_the_character() -> None:
    script = Script("select 1;\n\tselect foo;\r\n")
    line, caret = script.shown(script.text.index("foo"))
    assert line == "2 | \tselect foo;"
    assert caret == "  | \t       ^"


PARTS = st.sampled_from(
    [
        "select 1",
        ";",
        "'a;b'",
        "''",
        "E'\\''",
        '"q;"',
        "$$ ; $$",
        "$x$ $$ ; $x$",
        "-- c ;\n",
        "/* ; /* ; */ */",
        "(",
        ")",
        " ",
        "\n",
        "\r\n",
        "begin",
        "atomic",
        "end",
        "case",
        "create function f()",
        "copy t from stdin;\n1\n\\.\n",
        "é",
        "$1",
        "\\echo x\n",
        "E",
        "1e",
        ".",
        "::",
        "\t",
    ]
)


@given(st.lists(PARTS, max_size=30))
def test_the_pieces_join_to_the_script(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        pieces = Script(text).pieces
    except UnfinishedError:
        return
    assert "".join(piece.text for piece in pieces) == text
    assert all(piece.text for piece in pieces)
    assert [piece.start for piece in pieces] == [sum(len(p.text) for p in pieces[:n]) for n in range(len(pieces))]


@given(st.text(max_size=60))
def test_any_text_is_split_or_refused(text: str) -> None:
    try:
        pieces = Script(text).pieces
    except UnfinishedError:
        return
    assert "".join(piece.text for piece in pieces) == text


STATEMENTS = st.sampled_from(
    [
        "select ';'",
        "select E'\\';'",
        "do $$ begin; end $$",
        'select ";"',
        "select /* ; */ 1",
        "select (1)",
        "create function f() returns int begin atomic select 1; end",
        "create rule r as on delete to t do (select 1; select 2)",
    ]
)


@given(st.lists(STATEMENTS, max_size=10), st.sampled_from(["", " ", "\n", " -- x;\n", "/* ; */"]))
def test_statements_joined_by_semicolons_come_back(parts: list[str], between: str) -> None:
    text = "".join(f"{part};{between}" for part in parts)
    found = [piece.text[piece.body - piece.start :] for piece in Script(text).pieces if piece.kind is Kind.SQL]
    assert found == [f"{part};" for part in parts]
