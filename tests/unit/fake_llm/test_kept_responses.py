"""What is kept of OpenAI Responses: going on from it, looking it up, its bounds. As pure functions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fake_llm.dialects import keeping
from fake_llm.exchange import generate
from fake_llm.finish import finish
from fake_llm.kept import MAX_CONVERSATION, Kept, KeptTurn
from fake_llm.model import Fault, ProtocolError, Reply, Stamp, ToolCall, Turn
from fake_llm.scenario import Answer, Match, Scenario
from fake_llm.scenario_file import load_text
from fake_llm.session import Session
from fake_llm.stored_responses import answer
from fake_llm.tokens import count_input

STAMP = Stamp("0123456789abcdef01234567", 1_700_000_000)
NEXT = Stamp("ffffffffffffffffffffffff", 1_700_000_001)
RESPONSES = keeping("openai_responses")
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "42"}


def turn(kept: Kept | None = None, /, **more: Any) -> Turn:
    return RESPONSES.resume({"model": "m", "input": "hello", **more}, {}, kept or Kept())


def keep(kept: Kept, asked: Turn, reply: Reply, stamp: Stamp = STAMP, size: int = 100) -> KeptTurn:
    """Keep an answered turn, as the exchange does."""
    found = RESPONSES.kept_turn(asked, reply, stamp, kept, size)
    assert found is not None
    kept.add(found)
    return found


def rendered(asked: Turn, reply: Reply) -> Any:
    return json.loads(RESPONSES.render(asked, [finish(reply, asked, count_input(asked))], STAMP))


def test_a_turn_goes_on_from_a_kept_one() -> None:
    kept = Kept()
    first = turn(instructions="be brief", tools=[FUNCTION])
    keep(kept, first, Reply(text="so", tool_calls=(ToolCall("f"),)))
    call_id = rendered(first, Reply(text="so", tool_calls=(ToolCall("f"),)))["output"][1]["call_id"]
    asked = turn(kept, previous_response_id="resp_" + STAMP.id, input=[{**RESULT, "call_id": call_id}])
    assert (asked.system, asked.user, asked.number) == ("", "hello", 2)
    assert [result.text for result in asked.tool_results] == ["42"]


def test_a_reference_finds_what_was_sent_and_what_was_answered() -> None:
    kept = Kept()
    found = keep(kept, turn(), Reply(text="hi"))
    message = rendered(turn(), Reply(text="hi"))["output"][0]
    asked = turn(kept, input=[{"type": "item_reference", "id": found.items[0]["id"]}, {"id": message["id"]}])
    assert [(said.role, said.text) for said in asked.messages] == [("user", "hello"), ("assistant", "hi")]


def test_kept_turns_are_bounded_and_the_newest_stays() -> None:
    kept = Kept(max_bytes=250)
    for number in range(4):
        keep(kept, turn(), Reply(text="x"), Stamp(f"{number:024x}", 1))
    assert [kept.find(f"resp_{number:024x}") is not None for number in range(4)] == [False, False, True, True]
    keep(kept, turn(), Reply(text="x"), Stamp(f"{9:024x}", 1), size=1_000)
    assert len(kept) == 1


def test_a_kept_turn_counts_the_turns_before_it_and_a_conversation_has_an_end() -> None:
    kept = Kept()
    keep(kept, turn(), Reply(text="x"), size=MAX_CONVERSATION)
    second = keep(kept, turn(kept, previous_response_id=f"resp_{STAMP.id}"), Reply(text="y"), NEXT, size=1)
    assert second.size == MAX_CONVERSATION + 1
    with pytest.raises(ProtocolError) as caught:
        turn(kept, previous_response_id=f"resp_{NEXT.id}")
    assert caught.value.code == "context_length_exceeded"


def test_a_dropped_turn_is_still_part_of_what_went_on_from_it() -> None:
    kept = Kept()
    keep(kept, turn(), Reply(text="x"))
    keep(kept, turn(kept, previous_response_id=f"resp_{STAMP.id}", input="more"), Reply(text="y"), NEXT)
    assert kept.drop(f"resp_{STAMP.id}")
    found = answer(kept, "GET", f"resp_{NEXT.id}/input_items", {"order": "asc"}, body=b"", stamp=STAMP)
    texts = [item["content"][0]["text"] for item in json.loads(found.raw)["data"]]
    assert texts == ["hello", "x", "more"]


@pytest.mark.parametrize(("after", "first"), [({}, 0), ({"starting_after": "3"}, 4), ({"starting_after": "99"}, None)])
def test_events_are_replayed_after_a_number(after: dict[str, str], first: int | None) -> None:
    kept = Kept()
    keep(kept, turn(), Reply(text="one two"))
    raw = answer(kept, "GET", f"resp_{STAMP.id}", {"stream": "true", **after}, body=b"", stamp=STAMP).raw.decode()
    numbers = [
        json.loads(line.removeprefix("data: "))["sequence_number"] for line in raw.split("\n") if "data: " in line
    ]
    assert numbers[:1] == ([] if first is None else [first])


@pytest.mark.parametrize("query", [{"stream": "1"}, {"stream": "true", "starting_after": "x"}])
def test_a_query_that_says_nothing_is_refused(query: dict[str, str]) -> None:
    kept = Kept()
    keep(kept, turn(), Reply(text="x"))
    with pytest.raises(ProtocolError) as caught:
        answer(kept, "GET", f"resp_{STAMP.id}", query, body=b"", stamp=STAMP)
    assert caught.value.code == "invalid_type"


@pytest.mark.parametrize("kind", ["cut", "malformed", "empty", "hang"])
def test_what_goes_wrong_on_the_way_leaves_the_kept_response_whole(kind: str) -> None:
    session = Session("t", [Scenario("s", Match(), (Answer(Reply(text="whole", fault=Fault(kind))),))])  # type: ignore[arg-type]
    generate("openai_responses", session, {}, b'{"model": "m", "input": "x"}', STAMP)
    found = json.loads(answer(session.kept, "GET", f"resp_{STAMP.id}", {}, body=b"", stamp=STAMP).raw)
    assert (found["status"], found["output"][0]["content"][0]["text"]) == ("completed", "whole")


def test_a_files_scenarios_and_a_switched_fault_serve_this_dialect() -> None:
    session = Session("t")
    rules = (
        "- {match: {dialect: openai_chat}, reply: chat}\n- {match: {dialect: openai_responses, turn: 2}, reply: second}"
    )
    session.put_in_front(load_text(rules, "s.yaml"))
    asked: dict[str, Any] = {"model": "m", "input": "x"}
    generate("openai_responses", session, {}, json.dumps(asked).encode(), STAMP)
    asked["previous_response_id"] = f"resp_{STAMP.id}"
    found = generate("openai_responses", session, {}, json.dumps(asked).encode(), NEXT)
    assert (found.scenario, found.reply and found.reply.text) == ("s-2", "second")
    session.switch_fault(Fault("status", status=503), 1)
    statuses = [generate("openai_responses", session, {}, b'{"model": "m", "input": "x"}', STAMP).status for _ in "ab"]
    assert statuses == [503, 200]
