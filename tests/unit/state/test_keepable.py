"""Which sources make the same state again, as far as their text tells, and what names that state."""

from __future__ import annotations

from pathlib import Path

import pytest

from realstack.model import PostgresPlan
from realstack.state.keepable import state_id, why_not_exact


def plan(root: Path, sql: str, name: str = "001.sql") -> PostgresPlan:
    (root / name).write_text(sql)
    return PostgresPlan(root, (name,))


@pytest.mark.parametrize(
    "sql",
    [
        "COPY users FROM '/srv/users.csv';",
        "copy users (id,\n name) from E'/srv/users.csv' with csv;",
        "COPY users FROM PROGRAM 'curl example.org';",
        "SELECT pg_read_file('/etc/hostname');",
        "SELECT lo_import('/srv/logo.png');",
        "CREATE EXTENSION postgres_fdw;",
        "SELECT * FROM dblink('host=other', 'SELECT 1') AS t (n int);",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $$ return 1 $$;",
    ],
)
def test_what_reads_from_elsewhere_is_named(tmp_path: Path, sql: str) -> None:
    assert why_not_exact(plan(tmp_path, sql)).startswith("001.sql may read what lies outside of it")


@pytest.mark.parametrize(
    "sql",
    [
        "COPY users (id, name) FROM stdin;\n1\tAda's program\n\\.\n",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;",
        "INSERT INTO notes VALUES ('from the program of the day; a copy from memory');",
        "SELECT pg_get_serial_sequence('users', 'id');",
    ],
)
def test_what_does_not_is_exact(tmp_path: Path, sql: str) -> None:
    assert why_not_exact(plan(tmp_path, sql)) == ""


def test_a_state_is_named_by_its_sources_its_project_and_whether_it_can_be_reset(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one = plan(tmp_path, "SELECT 1;")
    names = {
        state_id(one, in_place=True),
        state_id(one, in_place=False),
        state_id(plan(tmp_path / "other", "SELECT 1;"), in_place=True),
        state_id(plan(tmp_path, "SELECT 1;", "002.sql"), in_place=True),
    }
    assert len(names) == 4
    assert state_id(one, in_place=True) in names
    assert state_id(plan(tmp_path, "SELECT 2;"), in_place=True) not in names
