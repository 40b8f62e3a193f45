"""The agents' flows on real Postgres, real Redis, and a fake LLM that speaks the real protocol."""

# The plan's test stands here word for word: without annotations, and in its own layout.
# mypy: allow-untyped-defs
# ruff: noqa: SIM117

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from netra_backend.app.agents.data_sub_agent import DataSubAgent
from netra_backend.app.agents.triage_sub_agent import TriageSubAgent
from netra_backend.app.errors import LLMInterrupted, LLMRateLimited, LLMTimeout, LLMUnavailable, UnknownUser
from netra_backend.app.llm.config import LLMConfig
from realstack import Database, FakeLLM, RedisDatabase, get_test_db, get_test_llm_config, get_test_redis

if TYPE_CHECKING:
    from tests.e2e.conftest import Serve

pytestmark = [pytest.mark.e2e, pytest.mark.real_services]

SLOW = {"message": "System is slow", "context": {"user_id": "test"}}
SEARCH = {"message": "How much search did we use?", "context": {"user_id": "test"}}
VERDICT = {"severity": "high", "category": "performance", "summary": "Every page takes ten seconds."}
FIRST_DAYS = {"since": "2024-08-01", "until": "2024-08-03", "feature": "search"}


# fmt: off
@pytest.mark.e2e
@pytest.mark.real_services
async def test_triage_agent_real_flow():
    """Test triage agent with real services."""
    # Use docker-compose services
    async with get_test_db() as db:
        async with get_test_redis() as redis:
            # Create real agent instance
            agent = TriageSubAgent(
                db=db,
                redis=redis,
                llm_config=get_test_llm_config()
            )

            # Execute real request
            result = await agent.process({
                "message": "System is slow",
                "context": {"user_id": "test"}
            })

            assert result is not None
            assert "severity" in result
# fmt: on


@pytest.fixture
def triage(real_db: Database, real_redis: RedisDatabase, fake_llm: FakeLLM) -> TriageSubAgent:
    return TriageSubAgent(db=real_db, redis=real_redis, llm_config=fake_llm.config("openai"))


@pytest.fixture
def data(real_db: Database, real_redis: RedisDatabase, fake_llm: FakeLLM) -> DataSubAgent:
    return DataSubAgent(db=real_db, redis=real_redis, llm_config=fake_llm.config("openai"))


async def test_a_verdict_becomes_a_row(triage: TriageSubAgent, real_db: Database, fake_llm: FakeLLM) -> None:
    """The row holds the request, the model's verdict, and the user's organisation; the daily count follows."""
    fake_llm.on(user="slow").reply_json(VERDICT)
    result = await triage.process(SLOW)

    row = await real_db.fetchrow("SELECT * FROM triage_results WHERE id = $1", result["id"])
    stored = {name: row[name] for name in ("organisation_id", "user_id", "message", "degraded", *VERDICT)}
    assert stored == {
        "organisation_id": "acme",
        "user_id": "test",
        "message": "System is slow",
        "degraded": False,
        **VERDICT,
    }
    assert await real_db.fetchval("SELECT runs FROM triage_daily WHERE day > '2024-12-31'") == 1


async def test_every_test_starts_from_the_seed(real_db: Database, real_redis: RedisDatabase) -> None:
    """The rows and keys that examples/netra/db/README.md promises, and no others, whatever ran before."""
    counts = {
        table: await real_db.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("organisations", "users", "triage_results", "triage_daily", "usage_events", "data_answers")
    }
    assert counts == {
        "organisations": 3,
        "users": 5,
        "triage_results": 3,
        "triage_daily": 3,
        "usage_events": 15,
        "data_answers": 0,
    }
    assert sorted(await real_redis.keys()) == [b"netra:flags", b"netra:ready"]


async def test_the_second_call_is_answered_from_redis(
    triage: TriageSubAgent, real_db: Database, real_redis: RedisDatabase, fake_llm: FakeLLM
) -> None:
    """The same user's same message costs no second LLM request and no second row, for the cache's five minutes."""
    fake_llm.on(user="slow").reply_json(VERDICT)
    first = await triage.process(SLOW)
    second = await triage.process(SLOW)

    assert second == {**first, "cached": True}
    assert len(fake_llm.calls) == 1
    assert await real_db.fetchval("SELECT count(*) FROM triage_results WHERE user_id = 'test'") == 2
    [key] = await real_redis.keys("netra:triage:test:*")
    assert 0 < await real_redis.ttl(key) <= 300


async def test_an_operator_can_switch_the_cache_off(
    triage: TriageSubAgent, real_redis: RedisDatabase, fake_llm: FakeLLM
) -> None:
    """With the switch off, each call asks the model."""
    fake_llm.on(user="slow").reply_json(VERDICT)
    await real_redis.hset("netra:flags", "triage_cache", "off")
    await triage.process(SLOW)
    await triage.process(SLOW)
    assert len(fake_llm.calls) == 2


async def test_a_rate_limit_is_waited_out_as_told(triage: TriageSubAgent, fake_llm: FakeLLM) -> None:
    """After a 429 the request is repeated no sooner than Retry-After says; left alone, the SDK waits half a second."""
    fake_llm.on(user="slow").fail(429, retry_after=0.7).then.reply_json(VERDICT)
    result = await triage.process(SLOW)

    refused, answered = fake_llm.calls
    assert (refused.status, answered.status) == (429, 200)
    assert answered.time - refused.time >= 0.7
    assert answered.request == refused.request
    assert result["severity"] == "high"


async def test_a_lasting_rate_limit_is_an_error_and_no_row(
    triage: TriageSubAgent, real_db: Database, fake_llm: FakeLLM
) -> None:
    """The first try and both retries are refused; then the caller is told how long to stay away."""
    fake_llm.on(user="slow").fail(429, retry_after=0.05)
    with pytest.raises(LLMRateLimited):
        await triage.process(SLOW)
    assert [call.status for call in fake_llm.calls] == [429, 429, 429]
    assert await real_db.fetchval("SELECT count(*) FROM triage_results") == 3


async def test_nonsense_is_answered_by_a_marked_fallback(
    triage: TriageSubAgent, real_db: Database, real_redis: RedisDatabase, fake_llm: FakeLLM
) -> None:
    """The model is asked once more; after more nonsense a neutral verdict is stored, marked, and not cached."""
    fake_llm.on().reply("lorem ipsum")
    result = await triage.process(SLOW)

    assert (result["severity"], result["category"], result["degraded"]) == ("medium", "other", True)
    assert len(fake_llm.calls) == 2
    assert "Invalid JSON" in fake_llm.calls[1].user
    assert await real_db.fetchval("SELECT degraded FROM triage_results WHERE id = $1", result["id"]) is True
    assert await real_redis.keys("netra:triage:*") == []


async def test_nonsense_once_is_mended(triage: TriageSubAgent, fake_llm: FakeLLM) -> None:
    """The second, usable reply counts."""
    fake_llm.on(user="slow").reply("lorem ipsum")
    fake_llm.on(user="cannot be used").reply_json(VERDICT)
    result = await triage.process(SLOW)
    assert (result["severity"], result["degraded"]) == ("high", False)


async def test_a_model_that_hangs_is_given_up(real_db: Database, real_redis: RedisDatabase, fake_llm: FakeLLM) -> None:
    """After the configured time there is an error, and no row."""
    impatient = replace(LLMConfig.of(fake_llm.config("openai")), timeout_s=0.2, max_retries=0)
    fake_llm.on(user="slow").hang(60)
    with pytest.raises(LLMTimeout):
        await TriageSubAgent(db=real_db, redis=real_redis, llm_config=impatient).process(SLOW)
    assert await real_db.fetchval("SELECT count(*) FROM triage_results") == 3


async def test_a_cut_stream_leaves_nothing_half_written(
    data: DataSubAgent, real_db: Database, fake_llm: FakeLLM
) -> None:
    """The beginning of an answer is no answer."""
    fake_llm.on(user="search").cut(after=2)
    with pytest.raises(LLMInterrupted):
        await data.process(SEARCH)
    assert [(call.status, call.outcome) for call in fake_llm.calls] == [(200, "cut")]
    assert await real_db.fetchval("SELECT count(*) FROM data_answers") == 0


@pytest.mark.parametrize(("user_id", "units"), [("test", [10, 20, 30]), ("clinic", [1000, 1000, 1000]), ("new", [])])
async def test_a_tool_call_reads_the_askers_own_rows(
    user_id: str, units: list[int], data: DataSubAgent, real_db: Database, fake_llm: FakeLLM
) -> None:
    """The model asks for rows, gets those of the asking user's organisation, and answers."""
    fake_llm.on(user="search").reply_tool("usage_by_day", FIRST_DAYS).then.reply("That is all of it.")
    result = await data.process({**SEARCH, "context": {"user_id": user_id}})

    assert [row["units"] for row in result["rows"]] == units
    assert (result["answer"], result["tools_used"]) == ("That is all of it.", ["usage_by_day"])
    told: dict[str, Any] = fake_llm.calls[1].request["messages"][-1]
    assert (told["role"], json.loads(told["content"])["rows"]) == ("tool", result["rows"])
    stored = json.loads(await real_db.fetchval("SELECT tool_runs FROM data_answers WHERE id = $1", result["id"]))
    assert json.loads(stored[0]["arguments"]) == FIRST_DAYS


async def test_an_unknown_user_costs_no_llm_request(triage: TriageSubAgent, fake_llm: FakeLLM) -> None:
    """Who asks is settled before anything is spent."""
    with pytest.raises(UnknownUser, match="nobody"):
        await triage.process({"message": "System is slow", "context": {"user_id": "nobody"}})
    assert fake_llm.calls == []


async def test_usage_cannot_be_rewritten(real_db: Database) -> None:
    """The schema's own rules hold in the test's database too."""
    with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
        await real_db.execute("UPDATE usage_events SET units = 1")


async def test_the_api_serves_both_agents_on_a_real_port(
    serve_backend: Serve, service_environ: dict[str, str], real_db: Database, fake_llm: FakeLLM
) -> None:
    """A process that knows only its environment variables writes to this test's database and asks this test's LLM."""
    fake_llm.on(user="slow").reply_json(VERDICT)
    fake_llm.on(user="search").reply_tool("usage_by_day", FIRST_DAYS).then.reply("60 units.")
    async with serve_backend(service_environ) as client:
        triaged = await client.post("/agents/triage", json=SLOW)
        again = await client.post("/agents/triage", json=SLOW)
        answered = await client.post("/agents/data", json=SEARCH)
        unknown = await client.post("/agents/triage", json={**SLOW, "context": {"user_id": "nobody"}})

    assert (triaged.status_code, triaged.json()["severity"]) == (200, "high")
    assert again.json() == {**triaged.json(), "cached": True}
    assert (answered.status_code, answered.json()["answer"]) == (200, "60 units.")
    assert unknown.status_code == 404
    assert len(fake_llm.calls) == 3
    assert await real_db.fetchval("SELECT count(*) FROM triage_results WHERE id = $1", triaged.json()["id"]) == 1


async def test_the_api_tells_apart_how_the_llm_fails(
    serve_backend: Serve, service_environ: dict[str, str], real_db: Database, fake_llm: FakeLLM
) -> None:
    """502 for a cut stream, 503 for a failing server, 504 for a hanging one; nothing is stored, and it stays ready."""
    fake_llm.on(user="search").cut(after=2)
    fake_llm.on(user="slow").fail(500)
    fake_llm.on(user="stuck").hang(60)
    environ = {**service_environ, "NETRA_LLM_MAX_RETRIES": "0", "NETRA_LLM_TIMEOUT_S": "1"}
    async with serve_backend(environ) as client:
        cut = await client.post("/agents/data", json=SEARCH)
        down = await client.post("/agents/triage", json=SLOW)
        hanging = await client.post("/agents/triage", json={**SLOW, "message": "It is stuck"})
        ready = await client.get("/health/ready")

    assert (cut.status_code, cut.json()["error"]["code"]) == (502, "llm_interrupted")
    assert (down.status_code, down.json()["error"]["code"]) == (503, "llm_unavailable")
    assert (hanging.status_code, hanging.json()["error"]["code"]) == (504, "llm_timeout")
    assert ready.status_code == 200
    assert await real_db.fetchval("SELECT count(*) FROM triage_results") == 3


async def test_a_model_that_nobody_serves_is_unavailable(real_db: Database, real_redis: RedisDatabase) -> None:
    """A refused connection is told apart from a wrong answer."""
    nowhere = LLMConfig("openai", "gpt-4o-mini", "http://127.0.0.1:1/v1", "sk-test", max_retries=0)
    with pytest.raises(LLMUnavailable, match="connection"):
        await TriageSubAgent(db=real_db, redis=real_redis, llm_config=nowhere).process(SLOW)
