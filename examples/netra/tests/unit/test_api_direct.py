"""The HTTP side: routes, health, and which answer each error becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from netra_backend.app import accounts, database, main
from netra_backend.app.agents import contracts
from netra_backend.app.agents.data_sub_agent import DataSubAgent
from netra_backend.app.agents.triage_sub_agent import TriageSubAgent
from netra_backend.app.api import agents, health, problems
from netra_backend.app.api.backend import Backend
from netra_backend.app.errors import NetraError
from netra_backend.app.llm.config import LLMConfig
from netra_backend.app.settings import Settings
from netra_testing.border import (
    CONFIG,
    Answer,
    Keys,
    Rows,
    answers,
    closed_port,
    model_server,
    request,
    says,
    says_json,
    streams,
)


@asynccontextmanager
async def served(
    *script: Answer, db: Rows | None = None, redis: Keys | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """The application over doubles of what stands at its border."""
    app = main.create_app()
    rows, keys = db or Rows(), (redis or Keys()).client()
    async with model_server(*script) as server:
        app.state.backend = Backend(
            db=rows,
            redis=keys,
            triage=TriageSubAgent(db=rows, redis=keys, llm_config=CONFIG, llm_client=server.client),
            data=DataSubAgent(db=rows, redis=keys, llm_config=CONFIG, llm_client=server.client),
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://netra") as client:
            yield client


async def test_the_agents_are_listed() -> None:
    async with served(says("")) as client:
        listed = [contracts.AgentCard.model_validate(one) for one in (await client.get("/agents")).json()]
    assert [(one.name, one.path) for one in listed] == [("triage", "/agents/triage"), ("data", "/agents/data")]
    assert {route.path for route in agents.router.routes} >= {one.path for one in listed}  # type: ignore[attr-defined]


async def test_triage_over_http() -> None:
    async with served(says_json(severity="critical", category="security", summary="Leak.")) as client:
        answer = await client.post("/agents/triage", json=request("Keys were leaked"))
    assert answer.status_code == 200
    assert answer.json()["priority"] == "P1"


async def test_data_over_http() -> None:
    async with served(streams({"content": "None."})) as client:
        answer = await client.post("/agents/data", json=request())
    assert (answer.status_code, answer.json()["answer"]) == (200, "None.")


async def test_an_answer_streams_as_events() -> None:
    async with served(streams({"content": "A"}, {"content": "B"})) as client:
        answer = await client.post("/agents/data/stream", json=request())
    kinds = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert kinds == ["delta", "delta", "done"]
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_a_stream_that_breaks_ends_with_an_error_event() -> None:
    async with served(streams({"content": "A"}, finish=None)) as client:
        answer = await client.post("/agents/data/stream", json=request())
    assert answer.text.endswith(
        'event: error\ndata: {"error":{"code":"llm_interrupted",'
        '"message":"the model\'s stream ended before its answer was complete"}}\n\n'
    )


async def test_what_fails_before_the_stream_begins_is_an_ordinary_error() -> None:
    async with served(says("")) as client:
        answer = await client.post("/agents/data/stream", json=request(user_id="nobody"))
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("answer", "user_id", "status", "code"),
    [
        (says(""), "nobody", 404, "unknown_user"),
        (says(""), "former", 403, "user_suspended"),
        (answers(500, x_should_retry="false"), "test", 503, "llm_unavailable"),
        (answers(401), "test", 502, "llm_rejected"),
    ],
)
async def test_an_error_has_its_status_and_its_code(answer: Answer, user_id: str, status: int, code: str) -> None:
    async with served(answer) as client:
        got = await client.post("/agents/triage", json=request(user_id=user_id))
    assert (got.status_code, got.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("error", [TimeoutError(), OSError("no route to db.internal"), asyncpg.CannotConnectNowError()])
async def test_a_database_that_is_away_is_named_without_its_address(error: Exception) -> None:
    async with served(says_json(severity="low", category="data"), db=Rows(broken=error)) as client:
        got = await client.post("/agents/triage", json=request())
    assert (got.status_code, got.json()["error"]["code"]) == (503, "database_unavailable")
    assert "db.internal" not in got.text


async def test_a_database_that_goes_away_ends_a_stream_with_an_error_event() -> None:
    db = Rows()
    db.refuses_inserts = ConnectionResetError()
    async with served(streams({"content": "A"}), db=db) as client:
        answer = await client.post("/agents/data/stream", json=request())
    assert [line for line in answer.text.splitlines() if line.startswith("event")] == ["event: delta", "event: error"]
    assert "database_unavailable" in answer.text


async def test_a_rate_limit_is_passed_on() -> None:
    async with served(answers(429, retry_after="599.5")) as client:
        got = await client.post("/agents/triage", json=request())
    assert (got.status_code, got.headers["retry-after"]) == (503, "600")


async def test_a_request_of_another_shape_is_refused() -> None:
    async with served(says("")) as client:
        assert (await client.post("/agents/triage", json={"message": ""})).status_code == 422


def test_every_error_that_a_request_can_meet_has_a_status() -> None:
    def descendants(kind: type[NetraError]) -> set[type[NetraError]]:
        return {kind}.union(*(descendants(one) for one in kind.__subclasses__()))

    without = descendants(NetraError) - set(problems.STATUS)
    assert {one.__name__ for one in without} == {"NetraError", "LLMError", "SettingsMissing"}


async def test_ready_when_both_answer() -> None:
    async with served(says("")) as client:
        answer = await client.get("/health/ready")
        assert (await client.get("/health/live")).json() == {"status": "live"}
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "missing": []})


@pytest.mark.parametrize(
    ("db", "redis", "missing"),
    [
        (Rows(broken=OSError("refused")), Keys(), ["database"]),
        (Rows(), Keys(away=True), ["redis"]),
        (Rows(broken=TimeoutError()), Keys(away=True), ["database", "redis"]),
    ],
)
async def test_unready_names_what_is_missing(db: Rows, redis: Keys, missing: list[str]) -> None:
    async with served(says(""), db=db, redis=redis) as client:
        answer = await client.get("/health/ready")
    assert health.Readiness.model_validate(answer.json()) == health.Readiness(status="unready", missing=missing)
    assert answer.status_code == 503


async def test_the_process_starts_without_its_servers_and_says_what_is_missing() -> None:
    """With the real lifespan: no Postgres, no Redis, and still an answer."""
    settings = Settings(
        database_url=f"postgresql://app:s3cret@127.0.0.1:{closed_port()}/netra",
        redis_url=f"redis://127.0.0.1:{closed_port()}/0",
        llm=LLMConfig("openai", "m", f"http://127.0.0.1:{closed_port()}/v1", "sk-planted"),
    )
    app = main.create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://netra") as client,
    ):
        unready = await client.get("/health/ready")
        triage = await client.post("/agents/triage", json=request())
    assert (unready.status_code, unready.json()["missing"]) == (503, ["database", "redis"])
    assert (triage.status_code, triage.json()["error"]["code"]) == (503, "database_unavailable")
    assert "s3cret" not in unready.text + triage.text


async def test_accounts_and_pools_are_the_databases_business() -> None:
    account = await accounts.find_account(Rows(), "test")
    assert account == accounts.Account("test", "acme", "Acme Logistics")
    async with database.open_pool(f"postgresql://app@127.0.0.1:{closed_port()}/netra") as pool:
        with pytest.raises(database.UNREACHABLE):
            await pool.fetchval("SELECT 1")
