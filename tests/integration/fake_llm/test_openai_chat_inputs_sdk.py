"""What a chat may hold beside texts and functions, by the unchanged ``openai`` SDK against the running server."""

from __future__ import annotations

import base64
from typing import Any

import openai
import pytest

from .conftest import Session
from .responses_sdk import left_over

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and more").decode()
SOUND = {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}
PDF = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}
TEXT = "Paris is mild. Rome is hot."
RUN: Any = {"type": "custom", "custom": {"name": "run", "format": {"type": "text"}}}


def image(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def sound(**more: str) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {**SOUND, **more}}


def asked(*parts: dict[str, Any], role: str = "user") -> Any:
    return [{"role": "user", "content": "hi"}, {"role": role, "content": [{"type": "text", "text": "look"}, *parts]}]


def test_images_sounds_and_files_are_taken_and_counted(chat: openai.OpenAI, session: Session) -> None:
    bare = chat.chat.completions.create(model="m", messages=asked()).usage
    parts = [
        image("https://x.test/y.png", detail="low"),
        image(f"data:image/png;base64,{PNG}"),
        sound(),
        {"type": "file", "file": PDF},
        {"type": "file", "file": {"file_id": "file-1"}},
    ]
    found = chat.chat.completions.create(model="m", messages=asked(*parts))
    assert found.choices[0].message.content == "You said: look"
    assert session.journal()[1]["turn"]["messages"][1]["attachments"] == len(parts)
    assert bare is not None
    assert found.usage is not None
    assert found.usage.prompt_tokens > bare.prompt_tokens + 100


PART = "messages[1].content[1]"


@pytest.mark.parametrize(
    ("part", "param", "code"),
    [
        ({"type": "image_url"}, f"{PART}.image_url", "missing_required_parameter"),
        ({"type": "image_url", "image_url": {}}, f"{PART}.image_url.url", "missing_required_parameter"),
        (image("y.png"), f"{PART}.image_url.url", "invalid_value"),
        (image("https://x.test/y.png", detail="huge"), f"{PART}.image_url.detail", "invalid_value"),
        (image(f"data:text/plain;base64,{PNG}"), f"{PART}.image_url.url", "invalid_image_format"),
        (image("data:image/png;base64,AA"), f"{PART}.image_url.url", "invalid_base64_image"),
        (image("data:image/png;base64,AAAA"), f"{PART}.image_url.url", "invalid_image_format"),
        (image(f"data:image/tiff;base64,{PNG}"), f"{PART}.image_url.url", "invalid_image_format"),
        (
            {"type": "input_audio", "input_audio": {**SOUND, "format": "ogg"}},
            f"{PART}.input_audio.format",
            "invalid_value",
        ),
        ({"type": "input_audio", "input_audio": {**SOUND, "data": "?"}}, f"{PART}.input_audio.data", "invalid_value"),
        ({"type": "file", "file": {}}, f"{PART}.file.file_id", "missing_required_parameter"),
        ({"type": "file", "file": {**PDF, "filename": None}}, f"{PART}.file.filename", "missing_required_parameter"),
        ({"type": "file", "file": {**PDF, "file_data": "JVBERg=="}}, f"{PART}.file.file_data", "invalid_value"),
        ({"type": "refusal", "refusal": "no"}, PART, "invalid_value"),
        ({"type": "video", "video": {}}, f"{PART}.type", "invalid_value"),
    ],
)
def test_a_part_is_refused_as_the_service_does(chat: openai.OpenAI, part: Any, param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(model="m", messages=asked(part))
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_the_user_shows_images(chat: openai.OpenAI, role: str) -> None:
    with pytest.raises(
        openai.BadRequestError, match=f"this message with role '{role}' contains an image URL"
    ) as caught:
        chat.chat.completions.create(model="m", messages=asked(image("https://x.test/y.png"), role=role))
    assert caught.value.param == "messages[1]"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"prediction": {"type": "guess", "content": "x"}}, "prediction.type"),
        ({"prediction": {"type": "content"}}, "prediction.content"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"verbosity": "huge"}, "verbosity"),
        ({"service_tier": "huge"}, "service_tier"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"web_search_options": {"search_context_size": "huge"}}, "web_search_options.search_context_size"),
        ({"web_search_options": {"user_location": {"type": "exact"}}}, "web_search_options.user_location.type"),
        ({"modalities": ["smell"]}, "modalities[0]"),
        ({"modalities": ["text", "audio"]}, "audio"),
        ({"modalities": ["text", "audio"], "audio": {"format": "ogg", "voice": "ash"}}, "audio.format"),
        ({"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "ash"}}, "modalities"),
        ({"tools": [{"type": "custom", "custom": {"name": "r", "format": {"type": "xml"}}}]},
         "tools[0].custom.format.type"),
        ({"tools": [RUN], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "any", "tools": []}}},
         "tool_choice.allowed_tools.mode"),
    ],
)  # fmt: skip
def test_a_parameter_is_refused_by_its_name(chat: openai.OpenAI, more: Any, param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat.chat.completions.create(model="m", messages=asked(), **more)
    assert caught.value.param == param


def test_a_scripted_call_of_a_custom_tool_is_custom(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"tool_calls": [{"name": "run", "arguments": "ls -l"}]}})
    found = chat.chat.completions.create(model="m", messages=asked(), tools=[RUN])
    assert left_over(found) == []
    call = (found.choices[0].message.tool_calls or [])[0]
    assert call.type == "custom"
    assert (call.custom.name, call.custom.input, found.choices[0].finish_reason) == ("run", "ls -l", "tool_calls")
    chunks = chat.chat.completions.create(model="m", messages=asked(), tools=[RUN], stream=True)
    deltas = [one for chunk in chunks for one in chunk.choices[0].delta.tool_calls or ()]
    assert "".join((one.model_extra or {})["custom"].get("input", "") for one in deltas) == "ls -l"
    response = chat.responses.create(model="m", input="x", tools=[{"type": "custom", "name": "run"}])
    assert response.output[0].type == "custom_tool_call"


@pytest.mark.parametrize(("mode", "called"), [("required", ["b"]), ("auto", [])])
def test_only_allowed_tools_are_called(chat: openai.OpenAI, mode: str, called: list[str]) -> None:
    tools: Any = [{"type": "function", "function": {"name": name}} for name in "ab"]
    choice: Any = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [tools[1]]}}
    found = chat.chat.completions.create(model="m", messages=asked(), tools=tools, tool_choice=choice)
    assert [
        call.function.name for call in found.choices[0].message.tool_calls or () if call.type == "function"
    ] == called


def test_functions_of_old_are_called_and_answered(chat: openai.OpenAI) -> None:
    old: Any = {"functions": [{"name": "f", "parameters": {"type": "object"}}], "function_call": {"name": "f"}}
    found = chat.chat.completions.create(model="m", messages=asked(), **old)
    call = found.choices[0].message.function_call
    assert call is not None
    assert (call.name, found.choices[0].finish_reason) == ("f", "function_call")
    more: Any = [*asked(), found.choices[0].message.to_dict(), {"role": "function", "name": "f", "content": "42"}]
    old["function_call"] = "auto"
    assert "42" in (chat.chat.completions.create(model="m", messages=more, **old).choices[0].message.content or "")


def test_citations_are_annotations_of_pages(chat: openai.OpenAI, session: Session) -> None:
    pages = [{"words": "Rome is hot", "title": "Rome", "url": "https://w.test/rome"}, {"title": "a file"}]
    session.add({"reply": {"text": TEXT, "citations": pages}})
    found = chat.chat.completions.create(model="m", messages=asked(), web_search_options={"search_context_size": "low"})
    assert left_over(found) == []
    noted = (found.choices[0].message.annotations or [])[0]
    assert TEXT[noted.url_citation.start_index : noted.url_citation.end_index] == "Rome is hot"
    assert (noted.url_citation.title, noted.url_citation.url) == ("Rome", "https://w.test/rome")
    deltas = [
        chunk.choices[0].delta for chunk in chat.chat.completions.create(model="m", messages=asked(), stream=True)
    ]
    streamed = [(delta.model_extra or {}).get("annotations") for delta in deltas]
    assert [one for one in streamed if one] == [[noted.to_dict()]]


def test_reasoning_is_hidden_counted_and_shown_where_a_compatible_server_is_meant(
    chat: openai.OpenAI, session: Session
) -> None:
    session.add({"reply": {"text": "42", "reasoning": "Six times seven."}})
    found = chat.chat.completions.create(model="m", messages=asked(), reasoning_effort="high")
    assert left_over(found) == []
    assert found.usage is not None
    assert found.usage.completion_tokens_details is not None
    assert 0 < (found.usage.completion_tokens_details.reasoning_tokens or 0) < found.usage.completion_tokens
    shown: Any = {"extra_body": {"include_reasoning": True}}
    message = chat.chat.completions.create(model="m", messages=asked(), **shown).choices[0].message
    assert message.model_extra == {"reasoning_content": "Six times seven."}
    chunks = list(chat.chat.completions.create(model="m", messages=asked(), stream=True, **shown))
    thought = [(chunk.choices[0].delta.model_extra or {}).get("reasoning_content", "") for chunk in chunks]
    assert "".join(thought) == "Six times seven."
    said = [place for place, chunk in enumerate(chunks) if chunk.choices[0].delta.content]
    assert max(place for place, words in enumerate(thought) if words) < min(said)


def test_what_was_predicted_is_counted(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": TEXT})
    guess: Any = {"type": "content", "content": "Paris is mild. London"}
    found = chat.chat.completions.create(model="m", messages=asked(), prediction=guess)
    assert found.usage is not None
    assert found.usage.completion_tokens_details is not None
    assert found.usage.completion_tokens_details.accepted_prediction_tokens == 4
