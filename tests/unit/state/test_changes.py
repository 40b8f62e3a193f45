"""What a test changed compares with what one would write by hand."""

import pytest

from realstack.state.changes import Changes, Row, Rows, TableChanges
from realstack.state.reset.difference import order_by

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


def test_it_equals_a_dict_that_has_rows_where_one_wants_to_name_them() -> None:
    changes = CHANGES
    runs = [{"id": 1, "made": "2026-01-01"}]
    pair = ({"id": 1, "name": "a"}, {"id": 1, "name": "b"})
    assert changes == {"runs": {"inserted": runs}, "users": {"updated": [pair]}}
    assert changes == {"runs": {"inserted": tuple(runs), "deleted": []}, "users": {"updated": [list(pair)]}}
    assert changes == {"runs": {"inserted": changes.inserted("runs")}, "users": {"updated": 1}}
    assert changes != {"runs": {"inserted": [{"id": 2}]}, "users": {"updated": 1}}
    assert changes != {"runs": {"inserted": [*runs, *runs]}, "users": {"updated": 1}}
    assert changes != {"users": {"updated": 1, "deleted": runs}, "runs": {"inserted": 1}}
    assert changes.inserted("runs") == runs


@pytest.mark.parametrize("wanted", [{"runs": {"inserted": "2"}}, {"runs": 2}, {"runs": {"inserted": None}}])
def test_what_can_never_be_equal_is_an_error_that_shows_how_it_is_written(wanted: object) -> None:
    changes = CHANGES
    with pytest.raises(TypeError, match=r"runs.*number of rows, or the rows"):
        assert changes == wanted


def test_numbers_of_any_size_have_their_place() -> None:
    place = order_by(["id"])
    rows: list[Row] = [
        {"id": 10**400},
        {"id": 2},
        {"id": 1.5},
        {"id": -(10**400)},
        {"id": "a"},
        {"id": 2**53 + 1},
        {"id": 2**53},
    ]
    assert [row["id"] for row in sorted(rows, key=place)] == [-(10**400), 1.5, 2, 2**53, 2**53 + 1, 10**400, "a"]


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
