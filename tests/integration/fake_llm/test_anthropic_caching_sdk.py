"""The prompt cache's part of the usage, through the unchanged ``anthropic`` SDK."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from .anthropic_calls import ASK, HELLO, LONG, asked, fully_typed
from .conftest import Session

FIVE: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}
HOUR: dict[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
SYSTEM: Any = [{"type": "text", "text": LONG, **FIVE}]
TOOL: Any = {"name": "f", "description": LONG, "input_schema": {"type": "object"}}
PLAIN = {"type": "text", "text": LONG}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": LONG}}
QUESTION = {"type": "text", "text": "And now?"}


def parts(found: Any) -> tuple[int, int, int]:
    """What was written to the cache, what was read from it, and the rest."""
    usage = found.usage
    return usage.cache_creation_input_tokens, usage.cache_read_input_tokens, usage.input_tokens


@pytest.mark.parametrize(
    "request_",
    [
        {**ASK, "system": SYSTEM},
        {**ASK, "tools": [{**TOOL, **FIVE}]},
        asked({**PLAIN, **FIVE}, QUESTION),
        {**asked(PLAIN, QUESTION), **FIVE},
        asked(QUESTION, {**DOCUMENT, **FIVE}),
    ],
    ids=["system", "tools", "message", "top level", "document"],
)  # fmt: skip
def test_a_prefix_is_written_once_and_read_after(claude: anthropic.Anthropic, request_: dict[str, Any]) -> None:
    first = claude.messages.create(**request_)
    second = claude.messages.create(**request_)
    written, read, rest = parts(first)
    assert (written > 1_024, read) == (True, 0)
    assert first.usage.cache_creation.ephemeral_5m_input_tokens == written
    assert parts(second) == (0, written, rest)
    assert fully_typed(first)
    counted = claude.messages.count_tokens(**{key: value for key, value in request_.items() if key != "max_tokens"})
    assert counted.input_tokens == written + rest


def test_a_stream_tells_the_same(claude: anthropic.Anthropic) -> None:
    written, _, rest = parts(claude.messages.create(**ASK, system=SYSTEM))
    with claude.messages.create(**ASK, system=SYSTEM, stream=True) as stream:
        events = list(stream)
    start, delta = events[0], events[-2]
    assert (start.type, delta.type) == ("message_start", "message_delta")
    assert parts(start.message) == parts(delta) == (0, written, rest)


def test_a_conversation_is_read_up_to_where_it_was_written(claude: anthropic.Anthropic) -> None:
    messages: list[Any] = [{"role": "user", "content": [PLAIN]}]
    first = claude.messages.create(**{**ASK, "messages": messages}, **FIVE)
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": LONG}]
    second = claude.messages.create(**{**ASK, "messages": messages}, **FIVE)
    assert parts(second)[1] == parts(first)[0]
    assert parts(second)[0] > 1_000
    messages[0] = {"role": "user", "content": LONG}
    assert parts(claude.messages.create(**{**ASK, "messages": messages}, **FIVE))[1] == sum(parts(second)[:2])
    messages[0] = {"role": "user", "content": "Changed. " + LONG}
    assert parts(claude.messages.create(**{**ASK, "messages": messages}, **FIVE))[1] == 0


def test_a_mark_that_moves_on_still_finds_what_was_written(claude: anthropic.Anthropic) -> None:
    first = claude.messages.create(**asked({**PLAIN, **FIVE}))
    moved = claude.messages.create(**asked(PLAIN, QUESTION, {**DOCUMENT, **FIVE}))
    assert parts(moved)[1] == parts(first)[0] > 1_024
    far = [QUESTION] * 30
    assert parts(claude.messages.create(**asked(PLAIN, *far, {**DOCUMENT, **FIVE})))[1] == 0


def test_lifetimes_are_told_apart(claude: anthropic.Anthropic) -> None:
    system: Any = [{"type": "text", "text": LONG, **HOUR}]
    found = claude.messages.create(**asked({**PLAIN, **FIVE}, QUESTION), system=system).usage
    creation = found.cache_creation
    assert creation is not None
    assert creation.ephemeral_1h_input_tokens > creation.ephemeral_5m_input_tokens - 20 > 1_000
    both = creation.ephemeral_1h_input_tokens + creation.ephemeral_5m_input_tokens
    assert found.cache_creation_input_tokens == both


@pytest.mark.parametrize(
    "change",
    [{"model": "claude-opus-5-5"}, {"system": [{**SYSTEM[0], "text": "!" + LONG}]}, {"tools": [TOOL]}],
    ids=["model", "system", "tools"],
)
def test_what_stands_before_makes_another_prefix(claude: anthropic.Anthropic, change: dict[str, Any]) -> None:
    request = {**ASK, "system": SYSTEM}
    claude.messages.create(**request)
    assert parts(claude.messages.create(**{**request, **change}))[1] == 0
    assert parts(claude.messages.create(**request))[1] > 0


def test_sessions_do_not_see_each_others_cache(claude: anthropic.Anthropic, session: Session) -> None:
    claude.messages.create(**ASK, system=SYSTEM)
    other = claude.with_options(api_key=f"{session.api_key}-2")
    assert parts(other.messages.create(**ASK, system=SYSTEM))[1] == 0
    session.call("POST", "/reset")
    assert parts(claude.messages.create(**ASK, system=SYSTEM))[1] == 0


def test_short_prefixes_are_not_cached(claude: anthropic.Anthropic) -> None:
    short: Any = [{"type": "text", "text": "Be brief.", **FIVE}]
    for _ in range(2):
        assert parts(claude.messages.create(**ASK, system=short))[:2] == (0, 0)
        assert parts(claude.messages.create(**{**ASK, "model": "claude-haiku-5-5"}, system=SYSTEM))[:2] == (0, 0)


def test_the_cache_can_be_filled_without_a_reply(claude: anthropic.Anthropic) -> None:
    filled = claude.messages.create(**{**ASK, "max_tokens": 0}, system=SYSTEM)
    assert (filled.content, filled.stop_reason, filled.usage.output_tokens) == ([], "max_tokens", 0)
    assert parts(claude.messages.create(**ASK, system=SYSTEM))[1] == parts(filled)[0] > 0


def test_a_scripted_usage_stands(claude: anthropic.Anthropic, session: Session) -> None:
    session.add({"reply": {"usage": {"input_tokens": 5, "output_tokens": 3, "cached_tokens": 2}}})
    assert parts(claude.messages.create(**ASK, system=SYSTEM)) == (0, 2, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (asked(*[{"type": "text", "text": "x", **FIVE}] * 5),
         "A maximum of 4 blocks with cache_control may be provided. Found 5."),
        ({**asked(*[{"type": "text", "text": "x", **FIVE}] * 4, QUESTION), **FIVE},
         "A maximum of 4 blocks with cache_control may be provided. Found 5."),
        ({**asked({**QUESTION, **HOUR}), "system": SYSTEM},
         "messages.0.content.0.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m'"),
        (asked({**QUESTION, "cache_control": {"type": "ephemeral", "ttl": "2h"}}), "Input should be '5m' or '1h'"),
        (asked({**QUESTION, "cache_control": {"type": "forever"}}), "Input tag 'forever' found using 'type'"),
        (asked({"type": "text", "text": "", **FIVE}), "cache_control cannot be set for empty text blocks"),
    ],
)  # fmt: skip
def test_breakpoints_that_cannot_be_are_refused(
    claude: anthropic.Anthropic, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(**change)
    assert message in caught.value.body["error"]["message"]  # type: ignore[index]


async def test_results_of_tools_can_end_a_prefix(async_claude: anthropic.AsyncAnthropic) -> None:
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": LONG, **FIVE}]}
    messages: Any = [
        *HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]},
    ]  # fmt: skip
    request: dict[str, Any] = {**ASK, "messages": messages, "tools": [{**TOOL, "description": "f"}]}
    first, second = [await async_claude.messages.create(**request) for _ in range(2)]
    assert parts(first)[0] == parts(second)[1] > 1_000
