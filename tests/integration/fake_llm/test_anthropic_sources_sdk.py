"""Citations, and tools that the provider's server ran, through the unchanged ``anthropic`` SDK."""

from __future__ import annotations

from typing import Any

import anthropic
import pytest

from .anthropic_calls import ASK, HELLO, asked, said, whole_and_streamed
from .conftest import Session

TEXT = "Grass is green. The sky is blue. Snow is white."
CITED: dict[str, Any] = {"citations": {"enabled": True}}
PDF = "JVBERi0xLjQK"  # "%PDF-1.4"


def document(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A document of the request that is to be cited."""
    return {"type": "document", "source": source, **CITED, **more}


PLAIN = document({"type": "text", "media_type": "text/plain", "data": TEXT}, title="Colours")
IN_BLOCKS = document({"type": "content", "content": [{"type": "text", "text": one} for one in TEXT.split(". ")]})
PAGES = document({"type": "base64", "media_type": "application/pdf", "data": PDF})
FILE = document({"type": "file", "file_id": "file_1"})
RESULT = {
    "type": "search_result", "source": "https://colours.example/sky", "title": "Sky",
    "content": [{"type": "text", "text": "The sky."}, {"type": "text", "text": "The sky is blue."}], **CITED,
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "citation", "expected"),
    [
        (PLAIN, {"document": 0, "quote": "The sky is blue."},
         {"type": "char_location", "cited_text": "The sky is blue.", "document_index": 0, "document_title": "Colours",
          "start_char_index": 16, "end_char_index": 32}),
        (PLAIN, {"document": 0},
         {"type": "char_location", "cited_text": "Grass is green.", "document_index": 0, "document_title": "Colours",
          "start_char_index": 0, "end_char_index": 15}),
        (IN_BLOCKS, {"document": 0, "quote": "sky"},
         {"type": "content_block_location", "cited_text": "The sky is blue", "document_index": 0,
          "start_block_index": 1, "end_block_index": 2}),
        (PAGES, {"document": 0, "quote": "blue"},
         {"type": "page_location", "cited_text": "blue", "document_index": 0, "start_page_number": 1,
          "end_page_number": 2}),
        (FILE, {"document": 0, "quote": "blue", "title": "Notes"},
         {"type": "page_location", "cited_text": "blue", "document_index": 0, "document_title": "Notes",
          "file_id": "file_1", "start_page_number": 1, "end_page_number": 2}),
        (RESULT, {"url": "https://colours.example/sky", "quote": "blue"},
         {"type": "search_result_location", "cited_text": "The sky is blue.", "search_result_index": 0,
          "source": "https://colours.example/sky", "title": "Sky", "start_block_index": 1, "end_block_index": 2}),
    ],
)  # fmt: skip
def test_what_is_cited_is_found_in_its_source(
    claude: anthropic.Anthropic, session: Session, source: Any, citation: dict[str, Any], expected: dict[str, Any]
) -> None:
    session.add({"reply": {"text": "I read that it is blue, and more.", "citations": [{"words": "blue", **citation}]}})
    question = {"type": "text", "text": "What colour is the sky?"}
    for found in whole_and_streamed(claude, **asked(source, question)):
        assert said(found.content) == [
            {"type": "text", "text": "I read that it is "},
            {"type": "text", "text": "blue", "citations": [expected]},
            {"type": "text", "text": ", and more."},
        ]
        assert found.content[0].citations is None


def test_a_document_that_is_not_to_be_cited_is_not(claude: anthropic.Anthropic, session: Session) -> None:
    session.add({"reply": {"text": "Blue.", "citations": [{"document": 0}, {"document": 7}]}})
    found = claude.messages.create(**asked({**PLAIN, "citations": {"enabled": False}}))
    assert said(found.content) == [{"type": "text", "text": "Blue."}]


def test_pages_are_cited_in_turn_and_streamed_in_the_scripts_pieces(
    claude: anthropic.Anthropic, session: Session
) -> None:
    citations = [{"words": word, "url": f"https://{word}.example", "title": word} for word in ("Red.", "Blue.")]
    session.add({"reply": {"chunks": ["Red.", " Bl", "ue."], "citations": citations}})
    for found in whole_and_streamed(claude, **ASK):
        first, second = found.content
        assert (first.text, second.text) == ("Red. ", "Blue.")
        assert [block.citations[0].url for block in found.content] == ["https://Red..example", "https://Blue..example"]
        assert {block.citations[0].type for block in found.content} == {"web_search_result_location"}
        again = [*HELLO, {"role": "assistant", "content": found.content}, *HELLO]
        assert claude.messages.create(**{**ASK, "messages": again}).stop_reason == "end_turn"
    pieces = [
        event.delta.text
        for event in claude.messages.create(**ASK, stream=True)
        if event.type == "content_block_delta" and event.delta.type == "text_delta"
    ]
    assert pieces == ["Red.", " ", "Bl", "ue."]


SEARCH = {"name": "web_search", "input": {"query": "sky"}}
PAGE = {"url": "https://sky.example", "title": "Sky", "page_age": "2 days", "encrypted_content": "abc"}


@pytest.mark.parametrize(
    ("tool", "name", "kind", "content"),
    [
        ({**SEARCH, "output": [PAGE]}, "web_search", "web_search_tool_result",
         [{"type": "web_search_result", **PAGE}]),
        ({**SEARCH, "error": "max_uses_exceeded"}, "web_search", "web_search_tool_result",
         {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"}),
        ({"name": "web_fetch", "input": {"url": "https://a.example"}, "output": "Words."}, "web_fetch",
         "web_fetch_tool_result",
         {"type": "web_fetch_result", "url": "https://a.example", "content": {
             "type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Words."}}}),
        ({"name": "web_fetch", "error": "url_not_accessible"}, "web_fetch", "web_fetch_tool_result",
         {"type": "web_fetch_tool_result_error", "error_code": "url_not_accessible"}),
        ({"name": "code_execution", "input": {"code": "print(1)"}, "output": "1\n"}, "code_execution",
         "code_execution_tool_result",
         {"type": "code_execution_result", "stdout": "1\n", "stderr": "", "return_code": 0, "content": []}),
        ({"name": "code_execution", "error": "unavailable"}, "code_execution", "code_execution_tool_result",
         {"type": "code_execution_tool_result_error", "error_code": "unavailable"}),
        ({"name": "bash_code_execution", "output": {"stderr": "no", "return_code": 2, "files": ["file_1"]}},
         "bash_code_execution", "bash_code_execution_tool_result",
         {"type": "bash_code_execution_result", "stdout": "", "stderr": "no", "return_code": 2,
          "content": [{"type": "bash_code_execution_output", "file_id": "file_1"}]}),
        ({"name": "text_editor_code_execution", "input": {"command": "view", "path": "/a"}, "output": "a\nb"},
         "text_editor_code_execution", "text_editor_code_execution_tool_result",
         {"type": "text_editor_code_execution_view_result", "content": "a\nb", "file_type": "text", "num_lines": 2,
          "start_line": 1, "total_lines": 2}),
        ({"name": "text_editor_code_execution", "input": {"command": "create"}}, "text_editor_code_execution",
         "text_editor_code_execution_tool_result",
         {"type": "text_editor_code_execution_create_result", "is_file_update": False}),
        ({"name": "tool_search", "input": {"query": "weather"}}, "tool_search_tool_regex", "tool_search_tool_result",
         {"type": "tool_search_tool_search_result",
          "tool_references": [{"type": "tool_reference", "tool_name": "get_weather"}]}),
    ],
)  # fmt: skip
def test_a_tool_of_the_server_shows_its_call_and_its_result_before_the_text(
    claude: anthropic.Anthropic, session: Session, tool: dict[str, Any], name: str, kind: str, content: Any
) -> None:
    session.add({"match": {"turn": 1}, "reply": {"server_tools": [tool], "text": "Done."}})
    offered = [
        {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
        {"name": "get_weather", "input_schema": {"type": "object"}, "defer_loading": True},
    ]
    for found in whole_and_streamed(claude, **ASK, tools=offered):
        call, result, text = found.content
        assert said([call]) == [{"type": "server_tool_use", "name": name, "input": tool.get("input", {})}]
        assert call.id.startswith("srvtoolu_")
        assert result.tool_use_id == call.id
        assert said([result]) == [{"type": kind, "content": content}]
        assert (text.text, found.stop_reason) == ("Done.", "end_turn")
        counts = (found.usage.server_tool_use.web_search_requests, found.usage.server_tool_use.web_fetch_requests)
        assert counts == (int(name == "web_search"), int(name == "web_fetch"))
        assert (found.container is not None) == ("code_execution" in name)
        again = [*HELLO, {"role": "assistant", "content": found.content}, *HELLO]
        assert claude.messages.create(**{**ASK, "messages": again}).content


@pytest.mark.parametrize(("outcome", "is_error"), [({"output": "17"}, False), ({"error": "No such city"}, True)])
def test_a_tool_of_an_mcp_server_is_shown_in_the_beta(
    claude: anthropic.Anthropic, session: Session, outcome: dict[str, str], is_error: bool
) -> None:
    asked_of = {"server": "weather", "tool": "get", "arguments": {"city": "Paris"}}
    session.add(
        {
            "match": {"turn": 1},
            "reply": {"server_tools": [{"name": "mcp", "input": asked_of, **outcome}], "text": "Done."},
        }
    )
    beta: dict[str, Any] = {
        "mcp_servers": [{"type": "url", "name": "weather", "url": "https://mcp.example"}],
        "tools": [{"type": "mcp_toolset", "mcp_server_name": "weather"}],
        "betas": ["mcp-client-2025-11-20"],
    }
    for found in whole_and_streamed(claude, beta=True, **ASK, **beta):
        call, result, _ = found.content
        assert (call.type, call.name, call.server_name, call.input) == (
            "mcp_tool_use",
            "get",
            "weather",
            {"city": "Paris"},
        )
        assert (result.tool_use_id, result.is_error) == (call.id, is_error)
        assert result.content[0].text == next(iter(outcome.values()))
        again = [*HELLO, {"role": "assistant", "content": found.content}, *HELLO]
        assert claude.beta.messages.create(**{**ASK, "messages": again}, **beta).content


def test_a_long_turn_may_pause_and_goes_on(claude: anthropic.Anthropic, session: Session) -> None:
    paused = {"text": "Searching.", "finish_reason": "pause_turn", "server_tools": [SEARCH]}
    session.add({"match": {"turn": 1}, "reply": paused}, {"match": {"turn": 2}, "reply": "Found it."})
    for found in whole_and_streamed(claude, **ASK):
        assert found.stop_reason == "pause_turn"
        assert [block.type for block in found.content] == ["server_tool_use", "text"]
        messages = [*HELLO, {"role": "assistant", "content": found.content}]
        assert said(claude.messages.create(**{**ASK, "messages": messages}).content) == [
            {"type": "text", "text": "Found it."}
        ]


def test_tools_that_this_api_has_not_are_left_out(claude: anthropic.Anthropic, session: Session) -> None:
    session.add({"reply": {"text": "Done.", "server_tools": [{"name": "file_search", "output": ["a"]}]}})
    assert said(claude.messages.create(**ASK).content) == [{"type": "text", "text": "Done."}]
