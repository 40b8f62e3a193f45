"""Tools that OpenAI runs itself, citations and told reasoning, by the unchanged ``openai`` SDK."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from .conftest import Session
from .responses_sdk import kinds, left_over, streamed

TEXT = "Paris is mild. Rome is hot."
PAGES = [
    {"words": "Paris is mild", "title": "Weather", "url": "https://w.test/paris"},
    {"words": "Rome is hot", "title": "Rome", "url": "https://w.test/rome"},
]
WEB = {"name": "web_search", "input": {"query": "weather"}, "output": [{"url": "https://w.test/paris"}]}
FILE = {"file_id": "file-7", "filename": "notes.txt", "score": 0.7, "text": "Paris is mild"}
FILES = {"name": "file_search", "input": {"queries": ["weather"]}, "output": [FILE]}
CODE = {"name": "code_execution", "input": {"code": "print(6 * 7)"}, "output": "42\n"}
MCP = {"name": "mcp", "input": {"server": "docs", "tool": "look_up", "arguments": {"q": "rain"}}, "output": "none"}
IMAGE = {"name": "image_generation", "input": {"prompt": "a cat"}}


def item_events(events: list[Any], place: int) -> list[str]:
    """The kinds of events of one item, without what all have in front of their names."""
    return [
        name.removeprefix("response.") for name in kinds(e for e in events if getattr(e, "output_index", -1) == place)
    ]


@pytest.mark.parametrize(
    ("tool", "kind", "between"),
    [
        (
            WEB,
            "web_search_call",
            ["web_search_call.in_progress", "web_search_call.searching", "web_search_call.completed"],
        ),
        (
            FILES,
            "file_search_call",
            ["file_search_call.in_progress", "file_search_call.searching", "file_search_call.completed"],
        ),
        (
            CODE,
            "code_interpreter_call",
            [
                "code_interpreter_call.in_progress",
                "code_interpreter_call_code.delta",
                "code_interpreter_call_code.done",
                "code_interpreter_call.interpreting",
                "code_interpreter_call.completed",
            ],
        ),
        (MCP, "mcp_list_tools", ["mcp_list_tools.in_progress", "mcp_list_tools.completed"]),
        (
            IMAGE,
            "image_generation_call",
            [
                "image_generation_call.in_progress",
                "image_generation_call.generating",
                "image_generation_call.partial_image",
                "image_generation_call.completed",
            ],
        ),
    ],
)
def test_a_hosted_tool_is_an_item_before_the_message_with_its_events_in_order(
    chat: openai.OpenAI, session: Session, tool: dict[str, Any], kind: str, between: list[str]
) -> None:
    session.add({"reply": {"text": TEXT, "server_tools": [tool]}})
    offered: Any = [{"type": "image_generation", "partial_images": 1}]
    events = streamed(chat, tools=offered)
    assert item_events(events, 0) == ["output_item.added", *between, "output_item.done"]
    last = events[-1]
    assert last.type == "response.completed"
    assert [last.response.output[0].type, last.response.output[-1].type] == [kind, "message"]
    whole = chat.responses.create(model="m", input="hello", tools=offered)
    assert left_over(whole) == []
    assert whole.output_text == TEXT
    again: Any = [*(item.to_dict() for item in whole.output), {"role": "user", "content": "and now?"}]
    assert chat.responses.create(model="m", input=again).status == "completed"


def test_results_outputs_and_sources_are_shown_where_they_are_included(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": TEXT, "server_tools": [WEB, FILES, CODE]}})
    wanted: Any = ["file_search_call.results", "code_interpreter_call.outputs", "web_search_call.action.sources"]
    shown = [item.to_dict() for item in chat.responses.create(model="m", input="x", include=wanted).output]
    hidden = [item.to_dict() for item in chat.responses.create(model="m", input="x").output]
    assert shown[0]["action"]["sources"] == [{"type": "url", "url": "https://w.test/paris"}]  # type: ignore[index]
    assert "sources" not in hidden[0]["action"]  # type: ignore[operator]
    assert [one["file_id"] for one in shown[1]["results"]] == ["file-7"]  # type: ignore[attr-defined]
    assert shown[2]["outputs"] == [{"type": "logs", "logs": "42\n"}]
    assert (hidden[1]["results"], hidden[2]["outputs"]) == (None, None)


def test_an_mcp_call_is_asked_for_and_made_once_it_is_approved(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {"match": {"turn": 1}, "reply": {"text": "done", "server_tools": [{**MCP, "output": None}, CODE]}},
        {"match": {"turn": 2}, "reply": {"text": "done", "server_tools": [MCP]}},
    )
    tools: Any = [{"type": "mcp", "server_label": "docs", "server_url": "https://d.test"}]
    first = chat.responses.create(model="m", input="look it up", tools=tools)
    assert [item.type for item in first.output] == ["mcp_list_tools", "mcp_approval_request"]
    assert left_over(first) == []
    request = first.output[1]
    answer: Any = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}
    second = chat.responses.create(model="m", input=[answer], previous_response_id=first.id, tools=tools)
    call = next(item for item in second.output if item.type == "mcp_call")
    assert (call.approval_request_id, call.output, call.status) == (request.id, "none", "completed")
    assert second.output_text == "done"
    never: Any = [{**tools[0], "require_approval": "never"}]
    found = chat.responses.create(model="m", input="look it up", tools=never)
    assert [item.type for item in found.output] == ["mcp_list_tools", "mcp_call", "code_interpreter_call", "message"]


def test_a_tool_that_failed_says_so(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {
            "reply": {
                "text": "sorry",
                "server_tools": [{**MCP, "error": "no such page"}, {**WEB, "error": "unavailable"}],
            }
        }
    )
    events = streamed(chat)
    assert "response.mcp_call.failed" in kinds(events)
    assert "response.web_search_call.completed" not in kinds(events)
    found = chat.responses.create(model="m", input="x")
    assert [getattr(item, "status", None) for item in found.output] == [None, "failed", "failed", "completed"]
    assert left_over(found) == []


def test_no_more_hosted_tools_run_than_the_request_allows(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": TEXT, "server_tools": [WEB, CODE, FILES]}})
    found = chat.responses.create(model="m", input="x", max_tool_calls=2)
    assert [item.type for item in found.output] == ["web_search_call", "code_interpreter_call", "message"]
    assert found.max_tool_calls == 2


def test_citations_annotate_the_words_that_they_stand_for(chat: openai.OpenAI, session: Session) -> None:
    cited = [*PAGES, {"words": "mild", "title": "notes.txt"}]
    session.add({"reply": {"text": TEXT, "server_tools": [WEB, FILES], "citations": cited}})
    events = streamed(chat)
    assert item_events(events, 2) == [
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.annotation.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
    ]
    added: list[Any] = [event.annotation for event in events if event.type == "response.output_text.annotation.added"]
    message = chat.responses.create(model="m", input="x").output[-1]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    found: list[Any] = [*part.annotations]
    assert [one.to_dict() for one in found] == [one.to_dict() for one in added]
    pages = [one for one in found if one.type == "url_citation"]
    assert [TEXT[one.start_index : one.end_index] for one in pages] == ["Paris is mild", "Rome is hot"]
    (of_file,) = [one for one in found if one.type == "file_citation"]
    assert (of_file.file_id, of_file.filename, of_file.index) == ("file-7", "notes.txt", TEXT.index("mild") + 4)


def test_told_reasoning_is_the_summary_where_one_is_asked_for(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": "42", "reasoning": "Six times seven."}})
    found = chat.responses.create(model="m", input="x", reasoning={"summary": "auto"})
    thought = found.output[0]
    assert thought.type == "reasoning"
    assert [part.text for part in thought.summary] == ["Six times seven."]
    assert found.usage is not None
    assert found.usage.output_tokens_details.reasoning_tokens > 0
    events = streamed(chat, reasoning={"summary": "auto"})
    deltas = [event.delta for event in events if event.type == "response.reasoning_summary_text.delta"]
    assert len(deltas) > 1
    assert "".join(deltas) == "Six times seven."
    silent = chat.responses.create(model="m", input="x").output[0]
    assert silent.type == "reasoning"
    assert silent.summary == []


def test_encrypted_content_is_taken_back_and_that_of_others_refused(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": "42", "reasoning": "Six times seven."}})
    wanted: Any = {"include": ["reasoning.encrypted_content"], "store": False}
    output = [item.to_dict() for item in chat.responses.create(model="m", input="x", **wanted).output]
    more: Any = [*output, {"role": "user", "content": "sure?"}]
    assert chat.responses.create(model="m", input=more, **wanted).output_text == "42"
    content = str(output[0]["encrypted_content"])
    changed = content[:20] + ("B" if content[20] == "A" else "A") + content[21:]
    for foreign in ("gAAAAABpM0Yj-x==", changed, content[:-8]):
        more[0] = {**output[0], "encrypted_content": foreign}
        with pytest.raises(openai.BadRequestError, match="could not be verified") as caught:
            chat.responses.create(model="m", input=more, **wanted)
        assert caught.value.code == "invalid_encrypted_content"


def test_reasoning_that_takes_all_tokens_leaves_no_message(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": {"text": "42", "reasoning": "one two three four five six seven eight " * 4}})
    found = chat.responses.create(model="m", input="x", max_output_tokens=16)
    assert ([item.type for item in found.output], found.status) == (["reasoning"], "incomplete")
    assert kinds(streamed(chat, max_output_tokens=16))[-1] == "response.incomplete"
