"""Values that show themselves in failure output."""

from __future__ import annotations

from pathlib import Path

import pytest

from realstack.model import Choice, Endpoint, Owner, Run, Secret, tail


def endpoint(**changes: object) -> Endpoint:
    values: dict[str, object] = {
        "service": "postgres",
        "kind": "postgres",
        "host": "127.0.0.1",
        "port": 5432,
        "scheme": "postgresql",
        "username": "app",
        "password": Secret("s p@ss/word"),
        "database": "app db",
        "provider": "embedded",
    }
    return Endpoint(**{**values, **changes})  # type: ignore[arg-type]


def test_a_url_quotes_what_a_url_must_quote() -> None:
    assert endpoint().url == "postgresql://app:s%20p%40ss%2Fword@127.0.0.1:5432/app%20db"


def test_neither_repr_nor_safe_url_nor_the_urls_own_repr_shows_the_password() -> None:
    for text in (repr(endpoint()), endpoint().safe_url, repr(endpoint().url), repr(endpoint().password)):
        assert "word" not in text
        assert "***" in text


def test_an_ipv6_host_stands_in_brackets() -> None:
    assert endpoint(host="::1", username=None, password=None, database=None).url == "postgresql://[::1]:5432"


def test_a_password_without_a_name_is_kept_as_redis_wants_it() -> None:
    assert (
        endpoint(scheme="redis", username=None, password=Secret("p"), database="3").url == "redis://:p@127.0.0.1:5432/3"
    )


def test_a_choice_says_its_reason() -> None:
    assert str(Choice("embedded", "no engine answered")) == "embedded, because no engine answered"


def test_the_labels_of_a_run_name_run_owner_and_project() -> None:
    run = Run("r1", Path("/x"), 42, 1.5, "shop", owner_place="boot/7")
    assert run.labels == {"realstack.run": "r1", "realstack.owner": "42:1.50@boot/7", "realstack.project": "shop"}


@pytest.mark.parametrize(
    ("label", "owner"),
    [
        ("42:1.50@boot/7", Owner(42, 1.5, "boot/7")),
        ("42:1.50", Owner(42, 1.5)),
        ("", None),
        ("42", None),
        ("somebody:else@there", None),
    ],
)
def test_the_label_of_an_owner_is_read_back_and_what_is_none_names_nobody(label: str, owner: Owner | None) -> None:
    assert Owner.of_label(label) == owner
    assert owner is None or str(owner) == label


def test_a_tail_is_the_last_lines_without_trailing_space() -> None:
    assert tail(["a", "b  ", "c\n"], 2) == ("b", "c")
