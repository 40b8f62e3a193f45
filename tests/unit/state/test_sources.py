"""Which files make a state, in which order, and what their hash tells."""

from collections.abc import Callable
from pathlib import Path

import pytest

from realstack.errors import MigrationFailed, SeedFailed
from realstack.model import PostgresPlan
from realstack.state.sources import Phase, hash_of, read_steps


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("select 1;\n")


def order(root: Path, *migrations: str) -> list[str]:
    return [step.shown for step in read_steps(PostgresPlan(root, migrations))]


@pytest.mark.parametrize(
    "names",
    [
        ["1_a.sql", "2_b.sql", "10_c.sql"],
        ["V1__a.sql", "V1.1__b.sql", "V2__c.sql", "V10__d.sql", "R__views.sql"],
        ["2024_init/migration.sql", "2025_more/migration.sql"],
        ["001_x.up.sql", "002_y.up.sql"],
        ["schema.sql", "table2.sql", "table10.csv"],
    ],
)
def test_files_apply_in_natural_order(tmp_path: Path, names: list[str]) -> None:
    put(tmp_path / "m", *reversed(names))
    assert order(tmp_path, "m") == [f"m/{name}" for name in names]


def test_scripts_that_revert_are_left_out(tmp_path: Path) -> None:
    put(tmp_path / "m", "001_x.up.sql", "001_x.down.sql", "U1__x.sql", "2/up.sql", "2/down.sql", "shutdown.sql")
    assert order(tmp_path, "m") == ["m/001_x.up.sql", "m/2/up.sql", "m/shutdown.sql"]


def test_sources_keep_the_order_of_the_settings_and_their_phase(tmp_path: Path) -> None:
    put(tmp_path, "b.sql", "a.sql", "s.yaml")
    steps = read_steps(PostgresPlan(tmp_path, ("b.sql", "a.sql"), ("s.yaml",)))
    assert [(step.shown, step.phase) for step in steps] == [
        ("b.sql", Phase.MIGRATIONS),
        ("a.sql", Phase.MIGRATIONS),
        ("s.yaml", Phase.SEED),
    ]


def test_a_missing_source_names_the_nearest(tmp_path: Path) -> None:
    put(tmp_path, "db/migrations/1.sql")
    with pytest.raises(MigrationFailed, match=r"did you mean 'migrations'"):
        order(tmp_path, "db/migration")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("empty", "holds none of"),
        ("notes.txt", "not known"),
        ("versioned", "folder of alembic's"),
        ("alembic:no.ini", "no such file"),
        ("alembic:bad.ini", "cannot be read"),
        ("python:nowhere.at:all", "no module"),
        ("python:seeds", "no function"),
    ],
)
def test_an_impossible_source_is_refused_with_its_name(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    put(tmp_path, "notes.txt", "versioned/env.py", "versioned/versions/1.py", "bad.ini")
    with pytest.raises(SeedFailed, match=said) as caught:
        read_steps(PostgresPlan(tmp_path, seed=(source,)))
    assert str(caught.value).startswith(source)
    assert caught.value.remedy


def state(root: Path, *migrations: str, version: str = "17.6") -> str:
    return hash_of(read_steps(PostgresPlan(root, migrations)), root=root, server_version=version)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "m/1.sql").write_text("select 2;\n"),
        lambda root: (root / "m/1.sql").rename(root / "m/3.sql"),
        lambda root: put(root, "m/4.sql"),
        lambda root: (root / "m/2.sql").unlink(),
    ],
    ids=["content", "name", "another", "one less"],
)
def test_every_change_gives_another_hash(tmp_path: Path, change: Callable[[Path], object]) -> None:
    put(tmp_path, "m/1.sql", "m/2.sql")
    before = state(tmp_path, "m")
    assert state(tmp_path, "m") == before
    assert state(tmp_path, "m", version="17.7") != before
    change(tmp_path)
    assert state(tmp_path, "m") != before


def test_the_hash_knows_the_project_by_its_files_and_not_by_its_place(tmp_path: Path) -> None:
    put(tmp_path / "here", "m/1.sql")
    put(tmp_path / "there", "m/1.sql")
    assert state(tmp_path / "here", "m") == state(tmp_path / "there", "m")


def test_a_python_source_counts_with_its_package(tmp_path: Path) -> None:
    put(tmp_path, "app/__init__.py", "app/seeds.py", "app/words.py", "other.py")
    before = state(tmp_path, "python:app.seeds:run")
    (tmp_path / "other.py").write_text("x = 1")
    assert state(tmp_path, "python:app.seeds:run") == before
    (tmp_path / "app/words.py").write_text("x = 1")
    assert state(tmp_path, "python:app.seeds:run") != before


def test_an_alembic_source_counts_with_its_versions_and_env(tmp_path: Path) -> None:
    put(tmp_path, "alembic/env.py", "alembic/versions/1.py")
    (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/alembic\n")
    before = state(tmp_path, "alembic:alembic.ini")
    assert state(tmp_path, "alembic:alembic.ini@abc") != before
    for changed in ("alembic/versions/1.py", "alembic/env.py"):
        (tmp_path / changed).write_text(f"# {changed}")
        after = state(tmp_path, "alembic:alembic.ini")
        assert after != before
        before = after
