"""What a Messages request may have, and how it is refused, through the unchanged ``anthropic`` SDK."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any, get_args, get_type_hints

import anthropic
import httpx
import pytest
from anthropic.types import ContentBlockParam, ToolUnionParam
from anthropic.types.beta import BetaContentBlockParam, BetaToolUnionParam
from anthropic.types.browser_member_name import BROWSER_MEMBER_NAME_VALUES
from anthropic.types.computer_member_name import COMPUTER_MEMBER_NAME_VALUES

from fake_llm.dialects.anthropic.blocks import READERS
from fake_llm.dialects.anthropic.toolsets import MEMBERS

from .anthropic_calls import ASK, HELLO, LONG, asked, fully_typed, said, whole_and_streamed
from .conftest import Session


def png(width: int, height: int) -> str:
    """A black image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    rows = zlib.compress(b"\x00" * (width + 1) * height)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def image(data: str, media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def document(source: dict[str, Any]) -> dict[str, Any]:
    return {"type": "document", "source": source}


def literals(union: Any, key: str) -> dict[str, set[str]]:
    """For each member of a union of the SDK's types: its ``type``, and what its ``key`` may be."""
    found = {}
    for member in (one for one in get_args(union) if isinstance(one, type)):
        hints = get_type_hints(member)
        for kind in _words(hints["type"]):
            found[kind] = set(_words(hints[key])) if key in hints else set()
    return found


def _words(hint: Any) -> list[str]:
    return [one for arg in get_args(hint) for one in ([arg] if isinstance(arg, str) else _words(arg))]


TOOLS = {**literals(BetaToolUnionParam, "name"), **literals(ToolUnionParam, "name")}
QUESTION = {"type": "text", "text": "What is it?"}


def test_every_block_and_every_member_of_a_toolset_that_the_sdk_knows_is_known() -> None:
    blocks = {**literals(ContentBlockParam, "type"), **literals(BetaContentBlockParam, "type")}
    assert blocks.keys() - READERS.keys() == set()
    assert set(MEMBERS["computer_toolset"]) == set(COMPUTER_MEMBER_NAME_VALUES)
    assert set(MEMBERS["browser_toolset"]) == set(BROWSER_MEMBER_NAME_VALUES)


@pytest.mark.parametrize("kind", sorted(TOOLS.keys() - {"custom"}))
def test_a_tool_that_anthropic_defines_is_taken_and_only_the_clients_are_called(
    claude: anthropic.Anthropic, kind: str
) -> None:
    tool: dict[str, Any] = {"type": kind, "display_width_px": 800, "display_height_px": 600, "mcp_server_name": "s"}
    for name in TOOLS[kind]:
        tool["name"] = name
    request: dict[str, Any] = {**ASK, "tools": [tool], "tool_choice": {"type": "any"}}
    found = claude.beta.messages.create(**request)
    assert fully_typed(found)
    run_by_the_server = kind.startswith(("web_", "code_", "tool_search_", "mcp_", "advisor_"))
    assert (found.stop_reason == "tool_use") is not run_by_the_server
    if not run_by_the_server:
        call = said(found.content)[0]
        assert json.dumps(call["input"]) in {
            '{"command": "ls"}', '{"action": "screenshot"}', '{"command": "view", "path": "/"}',
            '{"command": "view", "path": "/memories"}', "{}",
        }  # fmt: skip
        assert call.get("toolset_name") == (kind.partition("_")[0] if "toolset" in kind else None)


@pytest.mark.parametrize(
    "block",
    [
        image(png(30, 50)),
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        document({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0xLjQK"}),
        document({"type": "url", "url": "https://papers.example/a.pdf"}),
        document({"type": "file", "file_id": "file_1"}),
        document({"type": "text", "media_type": "text/plain", "data": LONG}),
        document({"type": "content", "content": [{"type": "text", "text": LONG}, image(png(750, 100))]}),
        {"type": "search_result", "source": "a", "title": "A", "content": [{"type": "text", "text": "a"}]},
        {"type": "container_upload", "file_id": "file_1"},
    ],
)  # fmt: skip
def test_what_is_attached_is_taken_and_costs_the_same_when_counted(
    claude: anthropic.Anthropic, block: dict[str, Any]
) -> None:
    without = claude.messages.create(**asked(QUESTION)).usage.input_tokens
    for request in (asked(block, QUESTION), _as_result(block) if block["type"] != "container_upload" else asked(block)):
        found = claude.messages.create(**request)
        assert fully_typed(found)
        del request["max_tokens"]
        assert claude.messages.count_tokens(**request).input_tokens == found.usage.input_tokens
    assert claude.messages.create(**asked(block, QUESTION)).usage.input_tokens > without
    assert said(claude.messages.create(**asked(block, QUESTION)).content)[0]["text"] == "You said: What is it?"


def _as_result(block: dict[str, Any]) -> dict[str, Any]:
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [block]}
    return {
        **ASK,
        "messages": [*HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}],
    }


def test_an_image_costs_by_its_size(claude: anthropic.Anthropic) -> None:
    sizes = [(30, 50), (750, 100), (750, 1_000), (2_000, 2_000)]
    used = [claude.messages.create(**asked(image(png(*size)))).usage.input_tokens for size in sizes]
    assert [one - used[0] for one in used] == [0, 98, 998, 1_598]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (image(png(1, 1), "image/bmp"),
         "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', "
         "'image/gif' or 'image/webp'"),
        (image("not base64!"), "messages.0.content.0.image.source.base64: invalid base64 data"),
        (image(png(1, 1), "image/jpeg"),
         "messages.0.content.0.image.source.base64.data: Image does not match the provided media type image/jpeg"),
        (image("aGVsbG8="), "Could not process image"),
        (image(png(8_001, 1)),
         "messages.0.content.0.image.source.base64.data: At least one of the image dimensions exceed max allowed size: "
         "8000 pixels"),
        ({"type": "image"}, "messages.0.content.0.image.source: Field required"),
        ({"type": "image", "source": {"type": "url", "url": "http://a.example"}},
         "messages.0.content.0.image.source.url.url: Only HTTPS URLs are supported."),
        (document({"type": "base64", "media_type": "text/plain", "data": "aGVsbG8="}),
         "messages.0.content.0.document.source.base64.media_type: Input should be 'application/pdf'"),
        (document({"type": "base64", "media_type": "application/pdf", "data": "aGVsbG8="}),
         "messages.0.content.0.document.source.base64.data: The PDF specified was not valid."),
        (document({"type": "text", "media_type": "text/plain"}),
         "messages.0.content.0.document.source.text.data: Field required"),
        ({"type": "text", "text": ""}, "messages: text content blocks must be non-empty"),
        ({"type": "text", "text": " "}, "messages: text content blocks must contain non-whitespace text"),
        ({"type": "tool_use", "id": "t", "name": "f", "input": {}},
         "messages.0: `tool_use` blocks can only be in `assistant` messages"),
    ],
)  # fmt: skip
def test_a_block_that_cannot_be_is_refused(claude: anthropic.Anthropic, block: Any, message: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(**asked(block))
    assert caught.value.body["error"]["message"] == message  # type: ignore[index]


def test_a_block_of_another_api_is_refused_by_its_tag(claude: anthropic.Anthropic) -> None:
    with pytest.raises(
        anthropic.BadRequestError, match=r"content\.0: Input tag 'image_url' found using 'type' does not"
    ):
        claude.messages.create(**asked({"type": "image_url", "image_url": {"url": "https://a.example"}}))


def test_an_image_that_is_too_large_has_its_own_exception(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(**asked(image(png(8_001, 1))))
    assert caught.value.body["error"]["details"] == {"error_code": "image_dimensions_too_large"}  # type: ignore[index]


CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"], "additionalProperties": False}  # fmt: skip


@pytest.mark.parametrize(
    "asking", [{"output_config": {"format": {"type": "json_schema", "schema": CITY}}},
               {"extra_body": {"output_format": {"type": "json_schema", "schema": CITY}}}]
)  # fmt: skip
def test_an_output_with_a_schema_fits_it(claude: anthropic.Anthropic, asking: dict[str, Any]) -> None:
    found = claude.messages.create(**ASK, **asking)
    assert json.loads(said(found.content)[0]["text"]).keys() == {"city", "days"}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({**CITY, "additionalProperties": True}, "'additionalProperties' must be explicitly set to false"),
        ({"type": "integer", "minimum": 1}, "For 'integer' type, properties minimum are not supported"),
        ({"type": "array", "items": {"type": "string", "maxLength": 3}}, "For 'string' type, properties maxLength"),
    ],
)
def test_a_schema_that_cannot_be_kept_to_is_refused(claude: anthropic.Anthropic, schema: Any, why: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=f"output_config.format.schema: .*{why}"):
        claude.messages.create(**ASK, output_config={"format": {"type": "json_schema", "schema": schema}})
    within = {**CITY, "properties": {"x": schema}, "required": ["x"]}
    tool: Any = {"name": "f", "strict": True, "input_schema": within}
    with pytest.raises(anthropic.BadRequestError, match=f"tools.0.custom: .*{why}"):
        claude.messages.create(**ASK, tools=[tool])
    tool["strict"] = False
    assert claude.messages.create(**ASK, tools=[tool]).content


def test_system_messages_stand_between_others(claude: anthropic.Anthropic, session: Session) -> None:
    session.add({"match": {"system": {"equals": "Be kind.\nBe brief."}, "user": "hello"}, "reply": "Hi."})
    messages: Any = [*HELLO, {"role": "system", "content": "Be brief."}]
    found = claude.messages.create(**{**ASK, "messages": messages}, system="Be kind.")
    assert said(found.content) == [{"type": "text", "text": "Hi."}]


def test_a_choice_of_none_and_of_one_tool_only_is_passed_on(claude: anthropic.Anthropic) -> None:
    tools: Any = [{"name": "f", "input_schema": {"type": "object"}}, {"name": "g", "input_schema": {"type": "object"}}]
    assert claude.messages.create(**ASK, tools=tools, tool_choice={"type": "none"}).stop_reason == "end_turn"
    choice: Any = {"type": "tool", "name": "g", "disable_parallel_tool_use": True}
    assert said(claude.messages.create(**ASK, tools=tools, tool_choice=choice).content)[0]["name"] == "g"


CALL = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "1"}


@pytest.mark.parametrize(
    "messages",
    [
        [*HELLO, {"role": "assistant", "content": [CALL]}],
        [*HELLO, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [QUESTION, RESULT]}],
    ],
    ids=["at the end", "after text"],
)
def test_calls_are_answered_right_after(claude: anthropic.Anthropic, messages: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match=r"messages\.1: `tool_use` ids were found without"):
        claude.messages.create(**{**ASK, "messages": messages})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools.0: Input tag 'function' found"),
        ({"tools": [{"type": "bash_20250124", "name": "shell"}]}, "tools.0.bash_20250124.name: Input should be 'bash'"),
        ({"tools": [{"name": "f", "input_schema": {"type": "object"}}] * 2}, "tools: Tool names must be unique."),
        ({"output_config": {"effort": "extreme"}}, "output_config.effort: Input should be 'low', 'medium', 'high'"),
        ({"messages": [*HELLO, {"role": "assistant", "content": "Well, "}]}, "cannot end with trailing whitespace"),
    ],
)  # fmt: skip
def test_parameters_that_cannot_be_are_refused(claude: anthropic.Anthropic, change: Any, message: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(**{**ASK, **change})
    assert message in caught.value.body["error"]["message"]  # type: ignore[index]


def test_fields_and_betas_of_tomorrow_are_let_through(claude: anthropic.Anthropic) -> None:
    found = claude.beta.messages.create(
        **ASK,
        betas=["of-next-year-2027-01-01"],
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
        extra_body={"a_field_of_next_year": {"x": 1}},
        extra_headers={"x-of-next-year": "1"},
    )
    assert fully_typed(found)


def test_a_refusal_has_details(claude: anthropic.Anthropic, session: Session) -> None:
    session.add({"reply": {"refusal": "I cannot."}})
    for found in whole_and_streamed(claude, **ASK):
        assert (found.stop_reason, found.stop_details.type) == ("refusal", "refusal")


@pytest.mark.parametrize(
    ("status", "exception", "kind", "again"),
    [
        (400, "BadRequestError", "invalid_request_error", "false"),
        (401, "AuthenticationError", "authentication_error", "false"),
        (403, "PermissionDeniedError", "permission_error", "false"),
        (404, "NotFoundError", "not_found_error", "false"),
        (413, "RequestTooLargeError", "request_too_large", "false"),
        (429, "RateLimitError", "rate_limit_error", "true"),
        (500, "InternalServerError", "api_error", "true"),
        (503, "ServiceUnavailableError", "api_error", "true"),
        (504, "GatewayTimeoutError", "timeout_error", "true"),
        (529, "OverloadedError", "overloaded_error", "true"),
    ],
)
def test_an_error_has_its_class_its_type_and_its_headers(
    claude: anthropic.Anthropic, session: Session, status: int, exception: str, kind: str, again: str
) -> None:
    session.add({"reply": {"fault": {"kind": "status", "status": status}}})
    with pytest.raises(getattr(anthropic, exception)) as caught:
        claude.messages.create(**ASK)
    body, headers = caught.value.body, caught.value.response.headers
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["request_id"] == caught.value.request_id == headers["request-id"]
    assert headers["x-should-retry"] == again
    for family in ("requests", "tokens", "input-tokens", "output-tokens"):
        assert {f"anthropic-ratelimit-{family}-{part}" for part in ("limit", "remaining", "reset")} <= headers.keys()
    assert headers["anthropic-organization-id"]


@pytest.mark.parametrize(
    ("version", "message"),
    [(None, "anthropic-version: header is required"),
     ("2023-10-01", 'anthropic-version: "2023-10-01" is not a valid version'),
     ("2023-06-01, 2023-06-01", 'anthropic-version: "2023-06-01, 2023-06-01" is not a valid version')],
)  # fmt: skip
def test_a_version_that_never_was_is_refused(session: Session, version: str | None, message: str) -> None:
    headers = {"x-api-key": session.api_key, **({"anthropic-version": version} if version else {})}
    found = httpx.post(f"{session.url}/v1/messages", json=ASK, headers=headers, timeout=30)
    assert (found.status_code, found.json()["error"]["message"]) == (400, message)


def test_models_come_in_pages_both_ways(claude: anthropic.Anthropic) -> None:
    everything = claude.models.list()
    ids = [model.id for model in everything.data]
    assert (everything.has_more, everything.first_id, everything.last_id) == (False, ids[0], ids[-1])
    assert all(map(fully_typed, everything.data))
    assert [model.id for model in claude.models.list(limit=2)] == ids
    page = claude.models.list(limit=2, before_id=ids[3])
    assert ([model.id for model in page.data], page.has_more) == (ids[1:3], True)
    assert {model.id for model in page} == set(ids[:3])
    assert fully_typed(claude.models.retrieve(ids[0]))
    for wrong in ({"limit": 0}, {"limit": 1_001}, {"after_id": "no-such-model"}):
        with pytest.raises(anthropic.BadRequestError):
            claude.models.list(**wrong)
