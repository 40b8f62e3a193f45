"""The data agent and its tools with their own code throughout; only the border is doubled."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from netra_backend.app.accounts import Account
from netra_backend.app.agents.data_sub_agent import DataSubAgent, agent, models, prompts, store, tools
from netra_backend.app.errors import AgentSwitchedOff, LLMInterrupted
from netra_backend.app.llm.chat import Reply, ToolRequest
from netra_testing.border import CONFIG, Answer, Keys, Rows, asks_tool, model_server, request, streams

AUGUST = '{"since": "2024-08-01", "until": "2024-08-02", "feature": "search"}'
DAYS = ({"day": "2024-08-01", "units": 10}, {"day": "2024-08-02", "units": 20})


async def ask(db: Rows, *script: Answer) -> tuple[dict[str, Any], list[Any]]:
    async with model_server(*script) as server:
        sut = DataSubAgent(db=db, redis=Keys().client(), llm_config=CONFIG, llm_client=server.client)
        return await sut.process(request("How much search?")), server.requests


async def test_a_tools_rows_reach_the_model_and_the_caller() -> None:
    db = Rows(*DAYS)
    result, asked = await ask(db, asks_tool("usage_by_day", AUGUST), streams({"content": "30 "}, {"content": "units."}))
    assert result == {
        "id": "id-1",
        "answer": "30 units.",
        "rows": list(DAYS),
        "tools_used": ["usage_by_day"],
        "degraded": False,
    }
    assert db.asked == [("acme", date(2024, 8, 1), date(2024, 8, 2), "search")]
    tool_message = asked[1]["messages"][-1]
    assert tool_message["tool_call_id"] == "call_1"
    assert json.loads(tool_message["content"]) == {"rows": list(DAYS)}
    assert "Acme Logistics" in asked[0]["messages"][0]["content"]


async def test_a_model_that_only_asks_for_tools_is_stopped() -> None:
    db = Rows(*DAYS)
    result, asked = await ask(db, asks_tool("usage_by_day", AUGUST))
    assert len(asked) == agent.MOST_ROUNDS
    assert (result["degraded"], result["answer"], result["rows"]) == (True, prompts.NO_ANSWER, list(DAYS))


async def test_an_empty_answer_is_marked_as_degraded() -> None:
    result, _ = await ask(Rows(), streams({"content": " "}))
    assert (result["degraded"], result["answer"], result["rows"]) == (True, prompts.NOT_ANSWERED, [])


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("drop_table", "{}", "there is no tool 'drop_table'"),
        ("usage_by_day", "not json", "Invalid JSON"),
        ("usage_by_day", '{"since": "2024-08-02", "until": "2024-08-01"}', "until is before since"),
        ("usage_by_feature", '{"since": "2024-01-01", "until": "2024-12-31"}', "longer than 92 days"),
        ("usage_by_feature", '{"since": "2024-08-01"}', "until: Field required"),
        ("usage_by_day", AUGUST[:-1] + ', "organisation_id": "globex"}', "organisation_id: Extra inputs"),
    ],
)
async def test_a_wrong_use_of_a_tool_is_explained_to_the_model(name: str, arguments: str, problem: str) -> None:
    db = Rows(*DAYS)
    result, asked = await ask(db, asks_tool(name, arguments), streams({"content": "Sorry."}))
    assert problem in json.loads(asked[1]["messages"][-1]["content"])["error"]
    assert db.asked == []
    assert result["answer"] == "Sorry."


async def test_every_declared_tool_exists_and_the_other_way_round() -> None:
    assert [one["function"]["name"] for one in tools.DECLARATIONS] == list(tools.TOOLS)
    run = await tools.run_tool(
        Rows({"feature": "search", "units": 3, "users": 1}),
        "acme",
        ToolRequest("call_1", "usage_by_feature", '{"since": "2024-08-01", "until": "2024-08-01"}'),
    )
    assert run.result == {"rows": [{"feature": "search", "units": 3, "users": 1}]}


async def test_a_cut_stream_stores_nothing_though_text_was_handed_out() -> None:
    db = Rows()
    texts: list[str] = []

    async def read(sut: DataSubAgent) -> None:
        async for event in sut.stream(request()):
            assert isinstance(event, models.AnswerDelta)
            texts.append(event.text)

    async with model_server(streams({"content": "Half an"}, finish=None)) as server:
        sut = DataSubAgent(db=db, redis=Keys().client(), llm_config=CONFIG, llm_client=server.client)
        with pytest.raises(LLMInterrupted):
            await read(sut)
    assert texts == ["Half an"]
    assert db.inserted == []


async def test_a_switched_off_agent_says_so() -> None:
    sut = DataSubAgent(db=Rows(), redis=Keys(flags={"data_agent": b"off"}).client(), llm_config=CONFIG)
    with pytest.raises(AgentSwitchedOff):
        await sut.process(request())


async def test_the_look_ups_are_stored_with_the_answer() -> None:
    db = Rows()
    run = models.ToolRun("usage_by_day", AUGUST, {"rows": []})
    account = Account("test", "acme", "Acme")
    stored = await store.save_answer(db, account, question="q", answer="a", runs=[run], degraded=False, model="m")
    assert stored == "id-1"
    assert json.loads(db.inserted[0][4]) == [{"name": "usage_by_day", "arguments": AUGUST, "result": {"rows": []}}]


def test_a_period_of_a_quarter_is_the_longest() -> None:
    assert models.Period(since=date(2024, 1, 1), until=date(2024, 4, 1)).until == date(2024, 4, 1)
    with pytest.raises(ValidationError, match="longer than 92 days"):
        models.Period(since=date(2024, 1, 1), until=date(2024, 4, 2))


def test_results_answer_their_requests_in_order() -> None:
    reply = Reply(tool_requests=(ToolRequest("a", "x", "{}"), ToolRequest("b", "y", "{}")))
    runs = [models.ToolRun("x", "{}", {"rows": [1]}), models.ToolRun("y", "{}", {"rows": [2]})]
    messages = prompts.tool_messages(reply, runs)
    assert [one.get("tool_call_id") for one in messages] == [None, "a", "b"]
