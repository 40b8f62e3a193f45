"""What a fault does to the words of a reply, and the answers that stand in a reply's place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus

from fake_llm import tokens
from fake_llm.envelopes import Envelope
from fake_llm.finish import stream_pieces
from fake_llm.model import Fault, Json, ProtocolError, Reply, ToolCall, Turn

NOT_JSON = '{"unfinished": '

_OVERFLOWS: dict[str, tuple[int, str]] = {
    "openai": (
        128_000,
        "This model's maximum context length is {limit} tokens. However, your messages resulted in {count} tokens. "
        "Please reduce the length of the messages.",
    ),
    "anthropic": (200_000, "prompt is too long: {count} tokens > {limit} maximum"),
    "gemini": (
        1_048_576,
        "The input token count ({count}) exceeds the maximum number of tokens allowed ({limit}).",
    ),
}
_FILTERED: dict[str, tuple[str, str | None]] = {
    "openai": (
        "The response was filtered due to the prompt triggering the content management policy. "
        "Please modify your prompt and retry.",
        "content_filter",
    ),
    "anthropic": ("Output blocked by content filtering policy", None),
}


def with_slowness(reply: Reply) -> Reply:
    """``reply`` with the delays of its fault, where that is to be slow."""
    fault = reply.fault
    if fault is None or fault.kind != "slow":
        return reply
    return replace(
        reply,
        delay_s=reply.delay_s if fault.delay_s is None else fault.delay_s,
        chunk_delay_s=reply.chunk_delay_s if fault.chunk_delay_s is None else fault.chunk_delay_s,
    )


def struck(reply: Reply, turn: Turn, fault: Fault | None) -> Reply:
    """``reply`` with the words that it has under ``fault``."""
    if fault is None or turn.computed:
        return reply
    if fault.kind == "invalid_arguments":
        calls = reply.tool_calls or tuple(ToolCall(tool.name, custom=tool.custom) for tool in turn.callable_tools[:1])
        return replace(reply, tool_calls=tuple(replace(call, arguments=_spoiled(call.arguments)) for call in calls))
    if fault.kind == "content_filter":
        if fault.prompt:
            return replace(reply, refusal="The prompt was blocked.", text="", chunks=(), tool_calls=())
        text = "".join(tokens.pieces(reply.text)[: fault.after_tokens or 0])
        return replace(reply, text=text, chunks=(), tool_calls=(), refusal=None, citations=(), finish="content_filter")
    return reply


def otherwise_after(replies: Sequence[Reply], count: int) -> tuple[list[Reply], int]:
    """``replies`` that say something else in the token after so many, or 1 and in the last one where there are no more.

    The first event in which a stream of them differs has that token, or is the last to be kept.
    """
    changed: list[Reply] = []
    more = 0
    for reply in replies:
        said = [*stream_pieces(reply)]
        at = min(count, len(said) - 1)
        more = max(more, int(at < count))
        if said:
            said[at] = "".join("y" if char == "x" else "x" for char in said[at])
        changed.append(replace(reply, chunks=tuple(said)))
    return changed, more


def instead(fault: Fault, turn: Turn, provider: str, envelopes: Envelope, count: Callable[[], int]) -> ProtocolError:
    """The error that stands in a reply's place; ``count`` counts the request's tokens."""
    if fault.kind == "context_overflow":
        return overflow(fault, turn, provider, envelopes, count())
    if fault.kind == "content_filter":
        words, code = _FILTERED.get(provider, _FILTERED["openai"])
        error = envelopes.from_fault(Fault("status", 400, words), turn.model)
        error.code, error.param = code, "prompt" if code else None
        return error
    return envelopes.from_fault(fault, turn.model)


def overflow(fault: Fault, turn: Turn, provider: str, envelopes: Envelope, count: int) -> ProtocolError:
    """The provider's error for a prompt of ``count`` tokens; or of one that is just too long."""
    usual, words = _OVERFLOWS.get(provider, _OVERFLOWS["openai"])
    limit = usual if fault.limit is None else fault.limit
    said = words.format(count=max(count, limit + 1), limit=limit)
    if provider != "openai":
        return envelopes.from_fault(Fault("status", 400, said), turn.model)
    if turn.dialect == "openai_responses":
        said = "Your input exceeds the context window of this model. Please adjust your input and try again."
    error = envelopes.from_fault(Fault("status", 400, said, code="context_length_exceeded"), turn.model)
    error.param = "input" if turn.dialect == "openai_responses" else "messages"
    return error


def page(fault: Fault) -> bytes:
    """A page as a proxy sends it; of a type that is no HTML the bare words."""
    reason = {status.value: status.phrase for status in HTTPStatus}.get(fault.status, "")
    heading = fault.message or (f"{fault.status} {reason}".strip() if fault.status >= 400 else "Sign in to continue")
    if "html" not in fault.content_type:
        return heading.encode()
    from html import escape  # noqa: PLC0415 - with its table of entities, and seldom needed

    words = escape(heading)
    return (
        f"<html>\r\n<head><title>{words}</title></head>\r\n<body>\r\n<center><h1>{words}</h1></center>\r\n"
        "<hr><center>proxy</center>\r\n</body>\r\n</html>\r\n"
    ).encode()


def common_start(one: Sequence[Json], other: Sequence[Json]) -> int:
    """How many first elements are the same in both."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _spoiled(arguments: str) -> str:
    """Arguments that stop in the middle of their JSON."""
    return arguments[: len(arguments) // 2] if len(arguments) > 2 else NOT_JSON
