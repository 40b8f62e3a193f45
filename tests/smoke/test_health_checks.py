"""Against the local target: every service answers, and the application is ready and takes one request."""

from __future__ import annotations

import pytest

from realstack import Database, Environment, FakeLLM, RedisDatabase
from tests.e2e.conftest import Serve

pytestmark = [pytest.mark.smoke, pytest.mark.real_services]


async def test_every_service_answers_by_its_own_client(
    real_db: Database, real_redis: RedisDatabase, fake_llm: FakeLLM, realstack_env: Environment
) -> None:
    assert await real_db.fetchval("SELECT 1") == 1
    assert await real_redis.ping()
    assert fake_llm.calls == []
    assert all(realstack_env.endpoint(name).version for name in ("postgres", "redis", "fake_llm"))


async def test_the_backend_is_ready_and_triages_one_request(
    serve_backend: Serve, service_environ: dict[str, str], fake_llm: FakeLLM
) -> None:
    fake_llm.on(user="slow").reply_json({"severity": "high", "category": "performance", "summary": "It is slow."})
    async with serve_backend(service_environ) as client:
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 200
        body = {"message": "System is slow", "context": {"user_id": "test"}}
        answer = await client.post("/agents/triage", json=body)
    assert answer.status_code == 200
    assert answer.json()["severity"] == "high"
    assert len(fake_llm.calls) == 1
