"""The triage agent with its own code throughout; only the border is doubled."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from netra_backend.app.agents.triage_sub_agent import TriageSubAgent, models, prompts, store
from netra_backend.app.errors import LLMUnavailable, UnknownUser, UserSuspended
from netra_testing.border import CONFIG, Answer, Keys, Rows, answers, model_server, request, says, says_json

HIGH = {"severity": "high", "category": "performance", "summary": "Everything is slow."}


async def triage(db: Rows, redis: Keys, *script: Answer, times: int = 1) -> tuple[list[dict[str, Any]], list[Any]]:
    async with model_server(*script) as server:
        agent = TriageSubAgent(db=db, redis=redis.client(), llm_config=CONFIG, llm_client=server.client, cache_ttl_s=60)
        results = [await agent.process(request()) for _ in range(times)]
    return results, server.requests


async def test_a_verdict_is_stored_and_returned() -> None:
    db, redis = Rows(), Keys()
    [result], [asked] = await triage(db, redis, says_json(**HIGH))
    assert result == {**HIGH, "id": "id-1", "priority": "P2", "degraded": False, "cached": False}
    assert db.inserted == [
        ("acme", "test", "System is slow", "high", "performance", "Everything is slow.", False, "test-model")
    ]
    assert asked["model"] == "test-model"
    assert asked["response_format"] == prompts.RESPONSE_FORMAT
    assert asked["messages"][1] == {"role": "user", "content": "System is slow"}


async def test_the_second_call_is_answered_from_the_cache() -> None:
    db, redis = Rows(), Keys()
    [first, second], asked = await triage(db, redis, says_json(**HIGH), times=2)
    assert second == {**first, "cached": True}
    assert len(asked) == 1
    assert list(redis.ttl.values()) == [60]


async def test_no_answer_is_cached_while_the_cache_is_switched_off() -> None:
    redis = Keys(flags={"triage_cache": b"off"})
    [_, second], asked = await triage(Rows(), redis, says_json(**HIGH), times=2)
    assert second["cached"] is False
    assert len(asked) == 2
    assert redis.strings == {}


async def test_the_agent_works_while_redis_is_away() -> None:
    [first, second], asked = await triage(Rows(), Keys(away=True), says_json(**HIGH), times=2)
    assert (first["cached"], second["cached"]) == (False, False)
    assert len(asked) == 2


async def test_a_wrong_reply_is_mended_by_asking_once_more() -> None:
    db = Rows()
    [result], asked = await triage(db, Keys(), says_json(severity="grim", category="data"), says_json(**HIGH))
    assert (result["severity"], result["degraded"]) == ("high", False)
    complaint = asked[1]["messages"][-1]["content"]
    assert "severity: Input should be 'low'" in complaint
    assert asked[1]["messages"][-2] == {"role": "assistant", "content": '{"severity": "grim", "category": "data"}'}


async def test_nonsense_twice_gives_a_degraded_verdict_that_is_stored_but_not_cached() -> None:
    db, redis = Rows(), Keys()
    [result], asked = await triage(db, redis, says("lorem ipsum"))
    assert (result["severity"], result["category"], result["summary"]) == ("medium", "other", "System is slow")
    assert result["degraded"] is True
    assert len(asked) == 2
    assert db.inserted[0][6] is True
    assert redis.strings == {}


async def test_a_refusal_is_not_argued_with() -> None:
    [result], asked = await triage(Rows(), Keys(), says(None, refusal="I cannot help with that."))
    assert result["degraded"] is True
    assert len(asked) == 1


async def test_a_missing_summary_becomes_the_beginning_of_the_message() -> None:
    db = Rows()
    [result], _ = await triage(db, Keys(), says_json(severity="high", category="performance"))
    assert result["summary"] == "System is slow"
    assert db.inserted[0][5] == "System is slow"


@pytest.mark.parametrize(("user_id", "error"), [("nobody", UnknownUser), ("former", UserSuspended)])
async def test_who_may_not_ask_costs_no_llm_request(user_id: str, error: type[Exception]) -> None:
    db = Rows()
    async with model_server(says_json(**HIGH)) as server:
        agent = TriageSubAgent(db=db, redis=Keys().client(), llm_config=CONFIG, llm_client=server.client)
        with pytest.raises(error, match=user_id):
            await agent.process(request(user_id=user_id))
    assert server.requests == []
    assert db.inserted == []


async def test_nothing_is_stored_when_the_model_is_away() -> None:
    db, redis = Rows(), Keys()
    with pytest.raises(LLMUnavailable):
        await triage(db, redis, answers(500, retry_after="0.001"))
    assert (db.inserted, redis.strings) == ([], {})


@pytest.mark.parametrize("wrong", [{}, {"message": "x"}, request(message="  "), request(user_id="")])
async def test_a_request_of_another_shape_is_refused(wrong: dict[str, Any]) -> None:
    agent = TriageSubAgent(db=Rows(), redis=Keys().client(), llm_config=CONFIG)
    with pytest.raises(ValidationError):
        await agent.process(wrong)


async def test_one_run_is_one_statement() -> None:
    from netra_backend.app.accounts import Account

    db = Rows()
    verdict = models.TriageVerdict(severity="low", category="billing", summary="s")
    run_id = await store.save_run(
        db, Account("test", "acme", "Acme"), message="m", verdict=verdict, degraded=False, model="x"
    )
    assert run_id == "id-1"
    assert len(db.inserted) == 1


def test_the_schema_allows_the_models_words_and_no_others() -> None:
    schema = prompts.RESPONSE_FORMAT["json_schema"]["schema"]
    assert schema["properties"]["severity"] == {"type": "string", "enum": list(models.SEVERITIES)}  # type: ignore[index]
    assert set(models.PRIORITIES) == set(models.SEVERITIES)
    assert models.TriageResponse(severity="low", category="data", priority="P4", summary="s").cached is False
