"""Extended thinking through the unchanged ``anthropic`` SDK."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from .anthropic_calls import ASK, HELLO, said, whole_and_streamed
from .conftest import Session

ENABLED: Any = {"type": "enabled", "budget_tokens": 1_024}
TOOL: Any = {"name": "look_up", "input_schema": {"type": "object"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "17"}


@pytest.mark.parametrize("thinking", [ENABLED, {"type": "adaptive"}, {"type": "between_tools"}])
def test_scripted_thoughts_come_first_and_are_signed(
    claude: anthropic.Anthropic, session: Session, thinking: Any
) -> None:
    session.add({"reply": {"reasoning": "It is about hellos. ", "text": "Hello."}})
    for found in whole_and_streamed(claude, **ASK, thinking=thinking):
        thought, text = found.content
        assert (thought.type, thought.thinking, text.text) == ("thinking", "It is about hellos. ", "Hello.")
        assert len(thought.signature) > 40
        details = found.usage.output_tokens_details
        assert details.thinking_tokens >= 4
        assert found.usage.output_tokens == details.thinking_tokens + 2


def test_unscripted_replies_think_the_same_each_time(claude: anthropic.Anthropic) -> None:
    found = [*whole_and_streamed(claude, **ASK, thinking=ENABLED), claude.messages.create(**ASK, thinking=ENABLED)]
    assert [[block.type for block in one.content] for one in found] == [["thinking", "text"]] * 3
    assert said(found[0].content) == said(found[1].content) == said(found[2].content)
    assert "hello there" in found[0].content[0].thinking


@pytest.mark.parametrize("thinking", [None, {"type": "disabled"}])
def test_nothing_is_thought_unasked(claude: anthropic.Anthropic, session: Session, thinking: Any) -> None:
    session.add({"reply": {"reasoning": "It is about hellos.", "text": "Hello."}})
    found = claude.messages.create(**ASK, **({"thinking": thinking} if thinking else {}))
    assert said(found.content) == [{"type": "text", "text": "Hello."}]
    assert found.usage.output_tokens == 2


def test_an_omitted_thought_leaves_its_signature(claude: anthropic.Anthropic) -> None:
    for found in whole_and_streamed(claude, **ASK, thinking={**ENABLED, "display": "omitted"}):
        thought = found.content[0]
        assert (thought.type, thought.thinking) == ("thinking", "")
        assert found.usage.output_tokens_details.thinking_tokens > 0
        again = [*HELLO, {"role": "assistant", "content": found.content}, *HELLO]
        assert claude.messages.create(**{**ASK, "messages": again}, thinking=ENABLED).content


def test_thoughts_that_may_not_be_read_can_be_sent_back(claude: anthropic.Anthropic, session: Session) -> None:
    session.add({"match": {"turn": 1}, "reply": {"reasoning": "Secret.", "reasoning_redacted": True, "text": "Hello."}})
    for found in whole_and_streamed(claude, **ASK, thinking=ENABLED):
        assert [block.type for block in found.content] == ["redacted_thinking", "text"]
        again = [*HELLO, {"role": "assistant", "content": found.content}, *HELLO]
        assert claude.messages.create(**{**ASK, "messages": again}, thinking=ENABLED).stop_reason == "end_turn"


def test_a_tool_loop_keeps_its_thoughts(claude: anthropic.Anthropic, session: Session) -> None:
    call = {"name": "look_up", "id": "t1"}
    session.add({"match": {"turn": 1}, "reply": {"reasoning": "I must look.", "tool_calls": [call]}})
    first = claude.messages.create(**ASK, thinking=ENABLED, tools=[TOOL])
    assert [block.type for block in first.content] == ["thinking", "tool_use"]
    messages: Any = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": [RESULT]}]
    last = claude.messages.create(**{**ASK, "messages": messages}, thinking=ENABLED, tools=[TOOL])
    assert said(last.content)[-1] == {"type": "text", "text": "The tool answered: 17"}

    messages[1]["content"] = first.content[1:]
    with pytest.raises(
        anthropic.BadRequestError, match="Expected `thinking` or `redacted_thinking`, but found `tool_us"
    ):
        claude.messages.create(**{**ASK, "messages": messages}, thinking=ENABLED, tools=[TOOL])
    assert claude.messages.create(**{**ASK, "messages": messages}, tools=[TOOL]).content


@pytest.mark.parametrize("change", [{"thinking": "I thought something else."}, {"signature": "c2lnbmF0dXJl"}])
def test_a_changed_thought_is_refused(claude: anthropic.Anthropic, change: dict[str, str]) -> None:
    found = claude.messages.create(**ASK, thinking=ENABLED)
    thought = {**found.content[0].to_dict(), **change}
    again = [*HELLO, {"role": "assistant", "content": [thought, found.content[1]]}, *HELLO]
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(**{**ASK, "messages": again}, thinking=ENABLED)
    assert caught.value.body["error"] == {  # type: ignore[index]
        "type": "invalid_request_error",
        "message": "messages.1.content.0: Invalid `signature` in `thinking` block",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thinking": {"type": "enabled"}}, "thinking.enabled.budget_tokens: Field required"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1_023}}, "greater than or equal to 1024"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4_000}}, "`max_tokens` must be greater than"),
        ({"thinking": {"type": "deep"}}, "Input tag 'deep' found using 'type'"),
        ({"thinking": {**ENABLED, "display": "full"}}, "thinking.enabled.display: Input should be"),
        ({"thinking": ENABLED, "tools": [TOOL], "tool_choice": {"type": "any"}}, "forces tool use"),
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_is_refused(
    claude: anthropic.Anthropic, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(anthropic.BadRequestError, match=message):
        claude.messages.create(**ASK, **change)


async def test_a_limit_that_the_thoughts_reach_leaves_no_words(
    async_claude: anthropic.AsyncAnthropic, session: Session
) -> None:
    session.add({"reply": {"reasoning": "One two three four five six seven eight.", "text": "Hello."}})
    found = await async_claude.messages.create(**{**ASK, "max_tokens": 3}, thinking={"type": "adaptive"})
    assert [block.type for block in found.content] == ["thinking"]
    assert (found.stop_reason, found.usage.output_tokens) == ("max_tokens", 3)
