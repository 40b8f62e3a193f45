"""From where the control API may be used."""

from __future__ import annotations

import pytest

from fake_llm.access import Access, From


@pytest.mark.parametrize(
    ("client", "nearest"),
    [
        ("127.0.0.1", "loopback"), ("127.9.9.9", "loopback"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback"),
        ("172.17.0.1", "private"), ("192.168.65.1", "private"), ("10.0.2.2", "private"), ("::ffff:10.0.0.1", "private"),
        ("fd00::1", "private"), ("fe80::1%eth0", "private"), ("100.64.0.1", "private"),
        ("8.8.8.8", "any"), ("2606:4700::1", "any"), ("::ffff:8.8.8.8", "any"), ("testclient", "any"),
        (None, "loopback"),
    ],
)  # fmt: skip
def test_an_address_is_let_in_from_its_range_on(client: str | None, nearest: From) -> None:
    order: list[From] = ["none", "loopback", "private", "any"]
    let_in = [one for one in order if Access(one).refusal(client, []) is None]
    assert let_in == order[order.index(nearest) :]


def test_no_token_lets_no_token_in() -> None:
    assert Access("none").refusal("127.0.0.1", [(b"authorization", b"Bearer ")]) is not None
    assert "secret" not in repr(Access("none", "secret"))
