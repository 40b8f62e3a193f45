"""The content of one message, block by block: checked as Anthropic checks it, read, and counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fake_llm.dialects.anthropic import thinking
from fake_llm.dialects.anthropic.checks import SAMPLING_REMOVED_IN, mapping, refuse, string, tag, text
from fake_llm.dialects.anthropic.media import document_tokens, image_tokens
from fake_llm.dialects.wire import to_json
from fake_llm.model import Json, ToolCall, ToolResult
from fake_llm.tokens import TOKENS_PER_MESSAGE, count, count_json

Block = Mapping[str, Json]

RESULTS = (
    "web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result", "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result", "tool_search_tool_result", "mcp_tool_result", "advisor_tool_result",
)  # fmt: skip
"""What the provider's own tools answered, as it is sent back."""
ONLY_BETA = ("compaction", "fallback", "mcp_tool_listing", "tool_addition", "tool_removal")
IN_RESULTS = frozenset({"browser_state", "document", "image", "search_result", "text", "tool_reference"})


@dataclass(slots=True)
class Reading:
    """What has been read of a message. ``led``: the calls that are answered before anything else is said."""

    role: str
    version: str
    texts: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)
    attachments: int = 0
    led: set[str] = field(default_factory=set)
    leading: bool = True


def read_block(block: Block, at: str, reading: Reading) -> int:
    """Read one block into ``reading``; returns its tokens.

    :raises ProtocolError: Anthropic refuses it.
    """
    kind = tag(block, READERS, at)
    owner = _OWNERS.get(kind)
    if owner is not None and owner != reading.role:
        where = at[: at.index(".content.")]
        refuse(f"{where}: `{kind}` blocks can only be in `{owner}` messages")
    if kind != "tool_result":
        reading.leading = False
    return READERS[kind](block, at, reading)


def non_empty(block: Block, at: str) -> str:
    """The words of a text block of a message or the system prompt."""
    said = string(block, "text", at=f"{at}.text")
    if not said:
        if block.get("cache_control"):
            refuse(f"{at}.text: cache_control cannot be set for empty text blocks")
        refuse(f"{at.partition('.')[0]}: text content blocks must be non-empty")
    if said.isspace():
        refuse(f"{at.partition('.')[0]}: text content blocks must contain non-whitespace text")
    return said


def _text(block: Block, at: str, reading: Reading) -> int:
    said = non_empty(block, at)
    if reading.role == "user" and block.get("citations") and reading.version >= SAMPLING_REMOVED_IN:
        refuse(f"{at}.citations: text blocks with citations are not supported in user messages")
    reading.texts.append(said)
    return count(said)


def _image(block: Block, at: str, reading: Reading) -> int:
    reading.attachments += 1
    return image_tokens(block, f"{at}.image")


def _document(block: Block, at: str, reading: Reading) -> int:
    if reading.role == "assistant" and reading.version >= SAMPLING_REMOVED_IN:
        refuse(f"{at}: document blocks are not supported in assistant messages")
    reading.attachments += 1
    return document_tokens(block, f"{at}.document")


def _search_result(block: Block, at: str, _: Reading | None = None) -> int:
    here = f"{at}.search_result"
    total = count(string(block, "source", at=f"{here}.source")) + count(string(block, "title", at=f"{here}.title"))
    content = block.get("content")
    if not isinstance(content, list):
        refuse(f"{here}.content: " + ("Field required" if content is None else "Input should be a valid list"))
    for place, part in enumerate(content):
        total += count(string(mapping(part, f"{here}.content.{place}"), "text", at=f"{here}.content.{place}.text"))
    return total


def _upload(block: Block, at: str, reading: Reading) -> int:
    text(block, "file_id", at=f"{at}.container_upload.file_id")
    reading.attachments += 1
    return count_json(block)


def _tool_use(block: Block, at: str, reading: Reading) -> int:
    call_id = text(block, "id", at=f"{at}.tool_use.id")
    name = text(block, "name", at=f"{at}.tool_use.name")
    arguments = to_json(mapping(block.get("input"), f"{at}.tool_use.input"))
    reading.calls.append(ToolCall(name, arguments, call_id))
    return TOKENS_PER_MESSAGE + count(name) + count(arguments)


def _tool_result(block: Block, at: str, reading: Reading) -> int:
    here = f"{at}.tool_result"
    call_id = string(block, "tool_use_id", at=f"{here}.tool_use_id")
    content = block.get("content")
    total = 0
    if isinstance(content, list):
        said: list[str] = []
        for place, part in enumerate(content):
            total += _part_of_result(part, f"{here}.content.{place}", said)
        answer = "\n".join(said)
    elif content is None or isinstance(content, str):
        answer = content or ""
        total = count(answer)
    else:
        refuse(f"{here}.content: Input should be a valid string or list")
    reading.results.append(ToolResult(call_id, answer))
    if reading.leading:
        reading.led.add(call_id)
    return total


def _part_of_result(part: Json, at: str, said: list[str]) -> int:
    kind = tag(mapping(part, at), IN_RESULTS, at)
    if kind == "text":
        words = string(part, "text", at=f"{at}.text")
        if words:
            said.append(words)
        return count(words)
    if kind == "image":
        return image_tokens(part, f"{at}.image")
    if kind == "document":
        return document_tokens(part, f"{at}.document")
    return _search_result(part, at) if kind == "search_result" else count_json(part)


def _thinking(block: Block, at: str, _: Reading) -> int:
    thought = string(block, "thinking", at=f"{at}.thinking.thinking")
    if not thinking.fits(thought, string(block, "signature", at=f"{at}.thinking.signature")):
        refuse(f"{at}: Invalid `signature` in `thinking` block")
    return count(thought)


def _redacted(block: Block, at: str, _: Reading) -> int:
    return count(text(block, "data", at=f"{at}.redacted_thinking.data"))


def _server_tool(block: Block, at: str, _: Reading) -> int:
    for name in ("id", "name"):
        text(block, name, at=f"{at}.{block['type']}.{name}")
    mapping(block.get("input"), f"{at}.{block['type']}.input")
    return count_json({"name": block["name"], "input": block["input"]})


def _server_result(block: Block, at: str, _: Reading) -> int:
    here = f"{at}.{block['type']}"
    text(block, "tool_use_id", at=f"{here}.tool_use_id")
    if block.get("content") is None and block["type"] != "mcp_tool_result":
        refuse(f"{here}.content: Field required")
    return count_json(block.get("content"))


def _as_it_is(block: Block, _: str, __: Reading) -> int:
    return count_json(block)


READERS: dict[str, Callable[[Block, str, Reading], int]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "container_upload": _upload,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "server_tool_use": _server_tool,
    "mcp_tool_use": _server_tool,
    **dict.fromkeys(RESULTS, _server_result),
    **dict.fromkeys(ONLY_BETA, _as_it_is),
}
_OWNERS = {
    "tool_result": "user",
    **dict.fromkeys(("tool_use", "thinking", "redacted_thinking", "server_tool_use", "mcp_tool_use"), "assistant"),
}
