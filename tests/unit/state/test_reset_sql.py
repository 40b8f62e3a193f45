"""The SQL of the reset, made from what the catalogue says of a table."""

from dataclasses import replace

from realstack.state.reset import sql
from realstack.state.reset.units import Unit

USERS = Unit(
    1, "public", "us'ers", False, ("id", "na me"), ("id",), ("OPERATOR(pg_catalog.=)",), ('"public"."us\'ers"',)
)

HERD = replace(USERS, key=("id", "na me"), equals=USERS.equals * 2, arrays=("pg_catalog._int8", "pg_catalog._text"))


def test_names_are_quoted_everywhere() -> None:
    text = sql.shadow(USERS) + sql.triggers(USERS) + sql.restoring(USERS)
    assert '"na me"' in text
    assert '"public"."us\'ers"' in text
    assert " na me" not in text


def test_a_table_with_a_key_logs_the_key_only() -> None:
    assert 'SELECT "id" FROM realstack_new' in sql.triggers(USERS)


def test_a_table_without_a_key_logs_whole_rows() -> None:
    assert 'SELECT "id", "na me" FROM realstack_new' in sql.triggers(replace(USERS, key=(), equals=()))


def test_a_write_to_a_parent_marks_its_whole_family() -> None:
    text = sql.triggers(replace(USERS, inherits=True, family=(1, 4)))
    assert "VALUES (1), (4)" in text
    assert "realstack_new" not in text


def test_only_a_partitioned_table_is_written_through_its_root() -> None:
    assert 'DELETE FROM ONLY "public"."us\'ers"' in sql.restoring(USERS)
    assert 'DELETE FROM "public"."us\'ers"' in sql.restoring(replace(USERS, partitioned=True))


def test_sequences_are_compared_with_where_they_were() -> None:
    text = sql.sequences_moved([("public.a_seq", 7, True)])
    assert "last_value <> 7 OR is_called <> true" in text
    assert "WHERE false" in sql.sequences_moved([])


def test_only_tables_with_a_log_are_asked_whether_it_is_empty() -> None:
    assert "SELECT 1 WHERE EXISTS (SELECT FROM pg_realstack.k_1)" in sql.touched([USERS])
    assert "k_1" not in sql.touched([replace(USERS, inherits=True)])


def test_the_log_may_be_added_to_and_the_shadow_may_not() -> None:
    text = sql.watching([USERS])
    assert "INSERT OR UPDATE OR DELETE OR TRUNCATE ON pg_realstack.s_1 " in text
    assert "AFTER UPDATE OR DELETE OR TRUNCATE ON pg_realstack.k_1 " in text


def test_what_runs_with_the_databases_own_path_leaves_no_name_to_be_found_by_it() -> None:
    for unit in (USERS, HERD, replace(USERS, key=(), equals=())):
        text = sql.restoring(unit)
        assert "::text" not in text.replace("::pg_catalog.text", "")
        assert "::record" not in text
        assert " pg_relation_size" not in text
        assert " IN (" not in text


def test_keys_of_deleted_rows_go_into_arrays_where_they_can() -> None:
    text = sql.shadow(HERD) + sql.triggers(HERD) + sql.restoring(HERD)
    assert "ADD COLUMN realstack_keys_0 pg_catalog._int8, ADD COLUMN realstack_keys_1 pg_catalog._text;" in text
    assert (
        '(realstack_keys_0, realstack_keys_1)\n    SELECT pg_catalog.array_agg("id"), pg_catalog.array_agg("na me")'
        in text
    )
    assert "ROWS FROM (pg_catalog.unnest(realstack_keys_0), pg_catalog.unnest(realstack_keys_1))" in text
    assert f"count(*) OPERATOR(pg_catalog.<=) {sql.MOST_KEYS}" in text


def test_arrays_that_have_room_in_the_row_stay_in_it() -> None:
    text = sql.shadow(replace(HERD, key_bytes=16)) + sql.triggers(replace(HERD, key_bytes=16))
    assert "ALTER COLUMN realstack_keys_1 SET STORAGE PLAIN" in text
    assert f"count(*) OPERATOR(pg_catalog.<=) {sql.ARRAY_BYTES // 16}" in text


def test_a_table_that_is_compared_as_a_whole_has_no_arrays() -> None:
    assert "realstack_keys" not in sql.shadow(replace(HERD, inherits=True))
