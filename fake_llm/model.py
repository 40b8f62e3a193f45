"""The neutral model: what every dialect parses a request into, and renders a reply from. Values only, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from operator import attrgetter
from typing import Any, Literal, TypeVar, cast, dataclass_transform

Json = Any
"""A JSON value as :mod:`json` decodes it."""

Input = str | tuple[int, ...]
"""A text outside of any conversation, or the tokens of one."""

Role = Literal["system", "user", "assistant", "tool"]
Thinking = Literal["off", "hidden", "shown", "always"]
FaultKind = Literal[
    "status",
    "hang",
    "cut",
    "malformed",
    "empty",
    "stream_error",
    "stall",
    "slow",
    "truncated",
    "invalid_utf8",
    "wrong_type",
    "duplicate_events",
    "missing_events",
    "invalid_arguments",
    "context_overflow",
    "content_filter",
    "slow_headers",
    "disconnect",
]


T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(*, slots: bool = True) -> Callable[[type[T]], type[T]]:
    """A dataclass that is frozen for the type checker alone: at run time that would treble what one costs to make."""
    return dataclass(slots=slots, unsafe_hash=True)


@value()
class ToolCall:
    """A model's wish to call a tool. ``arguments`` is JSON text, as on the wire; "" id: the dialect makes one."""

    name: str
    arguments: str = "{}"
    id: str = ""
    custom: bool = False


@value()
class ToolResult:
    """What a tool answered, as the client sent it back."""

    call_id: str
    text: str


@value()
class Message:
    """One message of the conversation; ``attachments`` counts its images, sounds and files."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    attachments: int = 0


@value()
class Tool:
    """A tool offered to the model; ``schema`` is the JSON schema of its arguments."""

    name: str
    description: str = ""
    schema: Json = field(default_factory=dict)
    custom: bool = False


@value()
class ToolChoice:
    """Whether the model may, must or must not call a tool; ``names`` narrows the tools it may choose from.

    ``named`` is set where the client demanded one tool by name, which some dialects answer differently.
    """

    mode: Literal["auto", "required", "none"] = "auto"
    names: tuple[str, ...] = ()
    named: bool = False


@value()
class OutputFormat:
    """The form that the client asked the text to have."""

    kind: Literal["text", "json_object", "json_schema"] = "text"
    schema: Json = field(default_factory=dict)


FREE_CHOICE = ToolChoice()
PLAIN_TEXT = OutputFormat()


@value()
class Breakpoint:
    """A place in the request up to which the client wants it cached, and its tokens up to there.

    ``prefixes`` are the places that a hit is looked for at, this one first: keys of all that stands before, and tokens.
    """

    tokens: int
    ttl_s: int
    prefixes: tuple[tuple[bytes, int], ...]


@value(slots=False)
class Turn:
    """One request to a model, free of its dialect.

    ``raw`` is the request body as it was decoded, with what the path says beside it where a dialect has the model
    there. ``sse`` False: a stream is sent as one JSON array and not as events. ``thinking``: whether the model thinks
    at all, and whether the client is to see what; ``always``: it does so before scripted words too. ``inputs``: the
    prompts of a completion, or what is to be embedded or judged; ``messages`` then has them as one user message.
    ``computed``: the answer has no words, so that only a scenario that names the dialect is meant. ``input_tokens``:
    the dialect's own count, where blocks that the messages do not hold cost tokens.
    """

    dialect: str
    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    sse: bool = True
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice = FREE_CHOICE
    parallel_tool_calls: bool = True
    output: OutputFormat = PLAIN_TEXT
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    choices: int = 1
    seed: int | None = None
    top_logprobs: int | None = None
    include_usage: bool = False
    thinking: Thinking = "hidden"
    inputs: tuple[Input, ...] = ()
    computed: bool = False
    input_tokens: int | None = None
    breakpoints: tuple[Breakpoint, ...] = ()
    raw: Mapping[str, Json] = field(default_factory=dict)

    @cached_property
    def system(self) -> str:
        """All system and developer text, in order, joined by line ends."""
        return "\n".join(message.text for message in self.messages if message.role == "system")

    @cached_property
    def user(self) -> str:
        """The text of the last user message that has any, or ""."""
        return next((m.text for m in reversed(self.messages) if m.role == "user" and m.text), "")

    @cached_property
    def conversation(self) -> str:
        """All that was said, by whomever, and all tool results, in order, joined by line ends."""
        said = (text for m in self.messages for text in (m.text, *(result.text for result in m.tool_results)))
        return "\n".join(filter(None, said))

    @property
    def attachments(self) -> int:
        """How many images, sounds and files the conversation has."""
        return sum(message.attachments for message in self.messages)

    @cached_property
    def number(self) -> int:
        """1 for the first request of a conversation, and 1 more for every assistant message in it."""
        return 1 + sum(1 for message in self.messages if message.role == "assistant")

    @cached_property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The results sent since the model last spoke, in order."""
        results: list[ToolResult] = []
        for message in self.messages:
            if message.role == "assistant":
                results.clear()
            results.extend(message.tool_results)
        return tuple(results)

    @cached_property
    def callable_tools(self) -> tuple[Tool, ...]:
        """The tools that the client's choice leaves to the model."""
        if self.tool_choice.mode == "none":
            return ()
        names = self.tool_choice.names
        return tuple(tool for tool in self.tools if not names or tool.name in names)


@value()
class Usage:
    """Tokens of one exchange."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@value()
class Fault:
    """A way to misbehave. What each kind does stands at its written form; :mod:`fake_llm.faults` says how.

    ``after_chunks`` counts a stream's events, ``after_tokens`` pieces of its text, ``after_bytes`` bytes. ``rate``:
    the part of the calls that it strikes.
    """

    kind: FaultKind
    status: int = 500
    message: str = ""
    type: str = ""
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    retry_after_ms: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang_s: float | None = None
    after_chunks: int | None = None
    after_bytes: int | None = None
    reset: bool = False
    after_tokens: int | None = None
    nth: int | None = None
    content_type: str = ""
    delay_s: float | None = None
    chunk_delay_s: float | None = None
    limit: int | None = None
    prompt: bool = False
    rate: float = 1.0


@value()
class Spread:
    """Seconds that vary; ``p95_s`` None: they do not."""

    median_s: float
    p95_s: float | None = None


@value()
class Latency:
    """How long a model takes to its first token, and from one token to the next. None: no time."""

    ttft: Spread | None = None
    inter_token: Spread | None = None


@value()
class Citation:
    """A source of what the reply says. ``words``: the part of the text that it stands for, "" for all of it.

    ``quote``: what the source itself says there. ``document``: which of the request's documents it is, from 0; a source
    that is none of them has a ``url``.
    """

    words: str = ""
    quote: str = ""
    title: str = ""
    url: str = ""
    document: int | None = None


@value()
class ServerTool:
    """A tool that the provider's own server ran before it answered: a search, code, a call to an MCP server.

    ``name`` is neutral: ``web_search``, ``file_search``, ``code_execution``, ``mcp``, …. ``input`` is what the model
    asked of it, ``output`` what came of it, ``error`` the provider's word for why nothing did.
    """

    name: str
    input: Mapping[str, Json] = field(default_factory=dict)
    output: Json = None
    error: str = ""
    id: str = ""


@value()
class Reply:
    """What the model answers. ``finish`` is neutral or the dialect's own word; ``chunks`` joined are ``text``.

    ``reasoning`` is what the model thought before; with ``reasoning_redacted`` the client is shown that there is some,
    and cannot read it. ``chunk_delay_s`` None lets chunks that are due at once leave in one write; 0 writes each by
    itself.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    refusal: str | None = None
    finish: str = "stop"
    stop_sequence: str | None = None
    usage: Usage | None = None
    chunks: tuple[str, ...] = ()
    chunk_size: int | None = None
    delay_s: float = 0.0
    chunk_delay_s: float | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    reasoning: str = ""
    reasoning_redacted: bool = False
    server_tools: tuple[ServerTool, ...] = ()
    citations: tuple[Citation, ...] = ()
    latency: Latency | None = None

    def with_usage(self, usage: Usage) -> Reply:
        """As :func:`dataclasses.replace`, for what every reply gets."""
        return _reply(*_before_usage(self), usage, *_after_usage(self))


_reply = cast("Callable[..., Reply]", Reply)
_reply_fields = [one.name for one in fields(Reply)]
_usage_place = _reply_fields.index("usage")
_before_usage = attrgetter(*_reply_fields[:_usage_place])
_after_usage = attrgetter(*_reply_fields[_usage_place + 1 :])


@value()
class Stamp:
    """What makes one answer unlike any other: its id (24 hex digits), its time, what it took."""

    id: str
    created: int
    processing_ms: int = 0


class ProtocolError(Exception):
    """A request that the real API refuses. The dialect renders it in its own envelope."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        type: str = "invalid_request_error",  # noqa: A002 - the envelope's own word
    ) -> None:
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.type = type
        super().__init__(message)


Headers = Sequence[tuple[bytes, bytes]]
