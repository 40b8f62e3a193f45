"""Thoughts and their signatures, by the unchanged ``google-genai`` SDK."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from .conftest import Session
from .gemini_calls import NO_LOOP, raw, reason
from .gemini_known import assert_known

THINKER = "gemini-3-pro"
OLDER = "gemini-2.5-flash"
SHOW: Any = {"include_thoughts": True}
TOOLS: Any = [{"function_declarations": [{"name": "look"}, {"name": "wait"}]}]
CALLS: Any = [{"name": "look", "arguments": {"at": "Ä", "n": [1, 2.5]}}, {"name": "wait"}]


def ask(client: genai.Client, contents: Any = "hello", model: str = THINKER, **config: Any) -> Any:
    config = {"automatic_function_calling": NO_LOOP, **config}
    return client.models.generate_content(model=model, contents=contents, config=types.GenerateContentConfig(**config))


def stream(client: genai.Client, contents: Any = "hello", model: str = THINKER, **config: Any) -> list[Any]:
    found = client.models.generate_content_stream(
        model=model, contents=contents, config=types.GenerateContentConfig(automatic_function_calling=NO_LOOP, **config)
    )
    return list(found)


def parts(found: Any) -> list[types.Part]:
    return list(found.candidates[0].content.parts)


@pytest.mark.parametrize("scripted", [True, False])
def test_thoughts_come_before_the_answer_where_they_are_asked_for(
    gemini: genai.Client, session: Session, scripted: bool
) -> None:
    if scripted:
        session.add({"reply": {"text": "Four.", "reasoning": "Two and two."}})
    found = ask(gemini, thinking_config=SHOW)
    first, last = parts(found)
    assert (first.thought, last.thought) == (True, None)
    assert found.text == ("Four." if scripted else "You said: hello")
    assert first.text
    if scripted:
        assert first.text == "Two and two."
    usage = found.usage_metadata
    assert usage.thoughts_token_count > 0
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    )
    chunks = stream(gemini, thinking_config=SHOW)
    pieces = [part for chunk in chunks for part in parts(chunk)]
    kinds = [bool(part.thought) for part in pieces]
    assert kinds == sorted(kinds, reverse=True)
    assert "".join(part.text or "" for part in pieces if part.thought) == first.text
    assert pieces[-1].thought_signature == last.thought_signature
    assert [reason(chunk) for chunk in chunks].count("STOP") == 1
    counts = [chunk.usage_metadata.thoughts_token_count for chunk in chunks]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (1, usage.thoughts_token_count)
    assert ask(gemini, thinking_config=SHOW).candidates == found.candidates
    assert assert_known(session) > 3


def test_thoughts_that_are_not_shown_are_counted_and_none_are_thought_without_a_budget(
    gemini: genai.Client, session: Session
) -> None:
    session.add({"reply": {"text": "Four.", "reasoning": "Two and two."}})
    hidden = ask(gemini, model=OLDER)
    assert [part.thought for part in parts(hidden)] == [None]
    assert (
        hidden.usage_metadata.thoughts_token_count
        == ask(gemini, model=OLDER, thinking_config=SHOW).usage_metadata.thoughts_token_count
    )
    off = ask(gemini, model=OLDER, thinking_config={"thinking_budget": 0, **SHOW})
    assert [(part.text, part.thought_signature) for part in parts(off)] == [("Four.", None)]
    assert off.usage_metadata.thoughts_token_count is None
    for level in ("low", "HIGH"):
        assert ask(gemini, thinking_config={"thinking_level": level}).text == "Four."


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"thinkingBudget": 0}, "Budget 0 is invalid"),
        ({"thinkingBudget": 1, "thinkingLevel": "LOW"}, "only one of thinking budget and thinking level"),
        ({"thinkingLevel": "DEEP"}, "generation_config.thinking_config.thinking_level"),
        ({"thinkingBudget": 99999}, "thinking_budget must be in the range"),
        ({"include_thoughts": "yes"}, "TYPE_BOOL"),
    ],
)
def test_a_thinking_config_that_cannot_be_is_refused(session: Session, config: Any, message: str) -> None:
    body = {"generationConfig": {"thinking_config": config}}
    found = raw(session, "/v1beta/models/gemini-2.5-pro:generateContent", body=body)
    assert (found.status_code, found.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert message in found.json()["error"]["message"]


def history(client: genai.Client, session: Session, model: str = THINKER) -> tuple[list[Any], Any]:
    """A conversation whose last turn called two functions, and the results that go on from it."""
    session.add({"match": {"turn": 1}, "reply": {"tool_calls": CALLS}})
    said = ask(client, model=model, tools=TOOLS).candidates[0].content
    results = [types.Part.from_function_response(name=c["name"], response={"output": "ok"}) for c in CALLS]
    return [types.Content(role="user", parts=[types.Part(text="hello")]), said], types.Content(
        role="user", parts=results
    )


def test_the_first_call_is_signed_and_its_signature_comes_back(gemini: genai.Client, session: Session) -> None:
    before, results = history(gemini, session)
    first, second = before[1].parts
    assert isinstance(first.thought_signature, bytes)
    assert second.thought_signature is None
    assert ask(gemini, [*before, results], tools=TOOLS).text == "The tool answered: ok"
    streamed = [part for chunk in stream(gemini, tools=TOOLS) for part in parts(chunk)]
    assert [part.thought_signature for part in streamed] == [first.thought_signature, None]
    assert_known(session)


def test_the_sdks_own_loop_and_chats_carry_signatures(gemini: genai.Client, session: Session) -> None:
    def look(at: str) -> str:
        """Look."""
        return f"seen {at}"

    session.add(
        {"match": {"turn": 1}, "reply": {"tool_calls": [{"name": "look", "arguments": {"at": "a"}}]}},
        {"match": {"turn": 2}, "reply": {"tool_calls": [{"name": "look", "arguments": {"at": "b"}}]}},
    )
    chat = gemini.chats.create(model=THINKER, config=types.GenerateContentConfig(tools=[look], thinking_config=SHOW))
    assert chat.send_message("look twice").text == "The tool answered: seen b"
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("and now?")) == "You said: and now?"
    assert [entry["status"] for entry in session.journal()] == [200] * 4


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (None, "missing a thought_signature in functionCall parts"),
        (b"not ours", "Corrupted thought signature."),
        ("other", "Corrupted thought signature."),
        (b"skip_thought_signature_validator", ""),
        (b"context_engineering_is_the_way_to_go", ""),
    ],
)
@pytest.mark.parametrize("model", [THINKER, OLDER])
def test_a_signature_that_does_not_fit_is_refused_by_newer_models_only(
    gemini: genai.Client, session: Session, signature: Any, message: str, model: str
) -> None:
    before, results = history(gemini, session)
    if signature == "other":  # ours, of another call
        before[1].parts[0].function_call.args["n"] = [1, 2]
    else:
        before[1].parts[0].thought_signature = signature
    if not message or model == OLDER:
        assert ask(gemini, [*before, results], model=model, tools=TOOLS).text == "The tool answered: ok"
        return
    with pytest.raises(errors.ClientError) as caught:
        ask(gemini, [*before, results], model=model, tools=TOOLS)
    assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    assert message in (caught.value.message or "")
    if signature is None:
        assert "`default_api:look` , position 2." in (caught.value.message or "")


def test_only_the_current_turn_is_checked_and_each_step_of_it(gemini: genai.Client, session: Session) -> None:
    before, results = history(gemini, session)
    unsigned = before[1].model_copy(deep=True)
    unsigned.parts[0].thought_signature = None
    done = types.Content(role="model", parts=[types.Part(text="done")])
    past = [before[0], unsigned, results, done, before[0]]
    assert ask(gemini, past, tools=TOOLS).text == "You said: hello"
    with pytest.raises(errors.ClientError, match="position 4"):
        ask(gemini, [*before, results, unsigned, results], tools=TOOLS)


def test_a_dummy_may_stand_as_it_is_and_a_signature_in_the_urls_alphabet(session: Session) -> None:
    path = f"/v1beta/models/{THINKER}:generateContent"
    session.add({"match": {"turn": 1}, "reply": {"tool_calls": CALLS[:1]}})
    signed = raw(session, path).json()["candidates"][0]["content"]["parts"][0]
    own = base64.urlsafe_b64encode(base64.b64decode(signed["thoughtSignature"])).decode().rstrip("=")
    result = {"function_response": {"name": "look", "response": {"output": "ok"}}}
    for sent in (own, "skip_thought_signature_validator"):
        call = {"function_call": signed["functionCall"], "thought_signature": sent}
        contents = [
            {"parts": [{"text": "hello"}]}, {"role": "model", "parts": [call]}, {"role": "user", "parts": [result]}
        ]  # fmt: skip
        assert raw(session, path, body={"contents": contents}).status_code == 200
