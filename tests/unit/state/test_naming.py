from pathlib import Path

import pytest

from realstack.state import naming

CLONE = naming.clone_name(naming.lender_name("r0123456789", "gw0"), 7)
TEMPLATE = naming.template_name(Path("/project"), "ab" * 32)


def test_names_are_known_again() -> None:
    assert naming.is_our_name(CLONE)
    assert naming.is_our_name(TEMPLATE)
    assert naming.lender_of(CLONE) == "rs_run_r0123456789_gw0"
    assert naming.lender_of(TEMPLATE) is None
    assert naming.is_template(TEMPLATE)


@pytest.mark.parametrize(
    "name", ["postgres", "rs_tpl", "rs_prod", CLONE[:-1] + "x", CLONE.replace("_7_", "_8_"), "x" + CLONE]
)
def test_other_names_are_not_ours(name: str) -> None:
    assert not naming.is_our_name(name)


def test_somebody_elses_comment_makes_a_template_somebody_elses() -> None:
    assert naming.is_ours(TEMPLATE, None)
    assert naming.is_ours(TEMPLATE, naming.mark("template"))
    assert not naming.is_ours(TEMPLATE, "my precious")
    assert not naming.is_ours("app", naming.mark("clone"))


def test_what_was_lent_is_ours_whatever_comment_a_test_gave_it_and_no_other_name_is() -> None:
    for comment in (None, naming.mark("clone"), "the test's own words", "{}"):
        assert naming.is_ours(CLONE, comment)
        for other in (CLONE[:-1], f"{CLONE}0", f"{CLONE[:-6]}000000", f"my_{CLONE}", CLONE.upper(), "rs_run_mine"):
            assert not naming.is_ours(other, comment)


def test_long_and_odd_names_of_workers_stay_apart_and_fit() -> None:
    names = {
        naming.clone_name(naming.lender_name("Run-" + "x" * 80, worker), 10**6)
        for worker in ("a" * 90, "a" * 91, "GW_0", "gw0")
    }
    assert len(names) == 4
    assert all(len(name) <= 63 and naming.is_our_name(name) for name in names)


@pytest.mark.parametrize("comment", [None, "", "[]", "{}", "default administrative connection database", '"realstack"'])
def test_only_our_own_mark_is_one(comment: str | None) -> None:
    assert naming.read_mark(comment) is None
