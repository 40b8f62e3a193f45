"""What a test changed compares with what one would write by hand."""

import pytest

from realstack.state.changes import Changes, Rows, TableChanges

CHANGES = Changes(
    {
        "runs": TableChanges(inserted=Rows([{"id": 1, "made": "2026-01-01"}]), masks={"made": "<now()>"}),
        "users": TableChanges(updated=Rows([({"id": 1, "name": "a"}, {"id": 1, "name": "b"})])),
    },
    sequences={"runs_id_seq": (3, 4)},
    known_tables=("runs", "tags", "users"),
)


def test_it_equals_a_dict_of_counts_that_names_every_changed_table() -> None:
    assert CHANGES == {"runs": {"inserted": 1}, "users": {"updated": 1}}
    assert CHANGES == {"runs": {"inserted": 1, "deleted": 0}, "users": {"updated": 1}, "tags": {}}
    assert CHANGES != {"runs": {"inserted": 1}}
    assert CHANGES != {"runs": {"inserted": 2}, "users": {"updated": 1}}


def test_rows_compare_with_their_number_and_with_rows() -> None:
    assert CHANGES.inserted("runs") == 1
    assert CHANGES.inserted("runs") == ({"id": 1, "made": "2026-01-01"},)
    assert CHANGES.inserted("runs") != 2
    assert CHANGES.deleted("tags") == 0
    assert CHANGES.updated("users")[0][1]["name"] == "b"


def test_a_misspelt_table_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(KeyError, match="runs"):
        CHANGES.inserted("rums")


def test_a_snapshot_masks_what_differs_from_run_to_run() -> None:
    assert CHANGES.snapshot()["runs"] == {"inserted": [{"id": 1, "made": "<now()>"}]}
    assert CHANGES.snapshot()["users"] == {"updated": [[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]]}


def test_its_repr_is_a_line_for_a_report() -> None:
    assert repr(CHANGES) == "<Changes runs: 1 inserted; users: 1 updated; sequence runs_id_seq: 3 → 4>"
    assert repr(Changes({})) == "<Changes none>"


def test_it_is_false_only_where_nothing_changed() -> None:
    assert not Changes({})
    assert Changes({}, ddl=("CREATE TABLE of table public.x",))
    assert Changes({}, sequences={"s": (1, 2)})
