"""Given addresses: taken as they are, refused in words that show no password."""

from __future__ import annotations

from pathlib import Path

import pytest

from realstack.errors import ProviderUnavailable, SettingsError
from realstack.model import Run, ServiceSpec
from realstack.providers.external import External

RUN = Run("r1", Path("/nonexistent"), 1, 0.0, "tests")


def spec(name: str = "postgres", port: int = 5432) -> ServiceSpec:
    return ServiceSpec(name, name, name, port)


async def test_an_address_is_handed_on_whole() -> None:
    url = "postgresql://ci:s3cret@db.example:6000/app?sslmode=require"
    async with External({"postgres": url}).running([spec()], RUN) as running:
        address = running["postgres"].address
        assert (address.host, address.port, address.socket_dir) == ("db.example", 6000, None)
        assert address.url == url
        assert running["postgres"].died() is None
        assert running["postgres"].log_lines() == []


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("postgresql://db.example/app", 5432),
        ("http://llm.example", 80),
        ("https://llm.example/fake", 443),
        ("redis://[::1]:7000/2", 7000),
    ],
)
async def test_the_port_defaults_to_the_schemes_or_the_declared_one(url: str, port: int) -> None:
    async with External({"postgres": url}).running([spec()], RUN) as running:
        assert running["postgres"].address.port == port


async def test_missing_addresses_are_all_named_by_their_variables() -> None:
    specs = [spec("postgres"), spec("fake_llm"), spec("redis")]
    with pytest.raises(ProviderUnavailable) as refused:
        async with External({"redis": "redis://x:1"}).running(specs, RUN):
            pytest.fail("it ran")
    assert "REALSTACK_POSTGRES_URL" in str(refused.value)
    assert "REALSTACK_FAKE_LLM_URL" in str(refused.value)
    assert "REALSTACK_REDIS_URL" not in str(refused.value)
    assert "DATABASE_URL" in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["s3cret", "db:s3cret", "postgresql://ci:s3cret@/app", "postgresql://ci:s3cret@db:port/app", "http://[s3cret"],
)
async def test_a_useless_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="REALSTACK_POSTGRES_URL") as refused:
        async with External({"postgres": url}).running([spec()], RUN):
            pytest.fail("it ran")
    shown: BaseException | None = refused.value
    while shown is not None:
        assert "s3cret" not in str(shown)
        shown = shown.__cause__


def test_a_given_service_shows_no_password() -> None:
    assert "s3cret" not in repr(External({"postgres": "postgresql://ci:s3cret@db/app"}).__dict__)
