"""Ollama's completion of a prompt: ``POST /api/generate``. Streamed, unless the request says otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.dialects.ollama.fields import (
    Options,
    check_keep_alive,
    images_of,
    items,
    model_of,
    output_of,
    text,
    thinks,
    top_logprobs_of,
    truth,
    wrong,
)
from fake_llm.dialects.ollama.lines import (
    LINES,
    LOADING,
    head,
    line,
    load_reason,
    logprobs,
    said,
    stream_error,
    tail,
)
from fake_llm.dialects.ollama.memory import decode, encode
from fake_llm.dialects.wire import quoted, to_json
from fake_llm.finish import cut_text
from fake_llm.model import Json, Message, ProtocolError, Reply, Stamp, Turn

PROVIDER = "ollama"
STREAM_TYPE = LINES

__all__ = ["PROVIDER", "STREAM_TYPE", "parse", "render", "stream", "stream_error"]

_STRUCT = "GenerateRequest"


def parse(body: Mapping[str, Json], headers: Mapping[str, str]) -> Turn:
    """The turn that ``body`` asks for; one without a prompt only loads the model.

    :raises ProtocolError: Ollama refuses the request.
    """
    model = model_of(body, _STRUCT, required=False)
    check_keep_alive(body)
    prompt, system = text(body, "prompt", _STRUCT), text(body, "system", _STRUCT)
    template = text(body, "template", _STRUCT)
    text(body, "suffix", _STRUCT)
    context, attachments = _context(body), images_of(body, _STRUCT)
    if truth(body, "raw", _STRUCT) and (template or system or context):
        raise ProtocolError("raw mode does not support template, system, or context")
    stream = truth(body, "stream", _STRUCT, default=True)
    top_logprobs = top_logprobs_of(body, _STRUCT)
    options = Options(body, _STRUCT)
    thinks(body)
    output = output_of(body)
    if not prompt:
        return Turn(LOADING, model, (), computed=True, raw=body)
    instructions = (Message("system", system),) if system else ()
    return Turn(
        "ollama_generate",
        model,
        (*decode(context), *instructions, Message("user", prompt, attachments=attachments)),
        stream=stream,
        output=output,
        max_tokens=options.max_tokens,
        stop=options.stop,
        seed=options.seed,
        top_logprobs=top_logprobs,
        raw=body,
    )


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The one object of a request that does not stream."""
    begin, (reply, *_) = head(turn, stamp), replies
    if turn.computed:
        return f'{begin},"response":"","done":true,"done_reason":"{load_reason(turn)}"}}'.encode("ascii")
    shown = said(turn, reply, stamp)
    thinking = f',"thinking":{quoted("".join(shown.thoughts))}' if shown.thoughts else ""
    return (
        f'{begin},"response":{quoted(shown.text)}{thinking},{tail(reply)}{_ending(turn, shown.text, shown.calls)}'
        f"{logprobs(turn, cut_text(shown.text, None))}}}"
    ).encode("ascii")


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """The lines: thoughts, words, and the end."""
    begin, (reply, *_) = f'{head(turn, stamp)},"response":', replies
    shown = said(turn, reply, stamp)
    events = [line(f'{begin}"","thinking":{quoted(piece)},"done":false}}') for piece in shown.thoughts]
    events += [line(f'{begin}{quoted(piece)},"done":false{logprobs(turn, [piece])}}}') for piece in shown.words]
    events.append(line(f'{begin}"",{tail(reply)}{_ending(turn, shown.text, shown.calls)}}}'))
    return events


def _ending(turn: Turn, said_text: str, calls: Sequence[Json]) -> str:
    """Members of the last line alone: calls, and the conversation so far, which a raw prompt has not."""
    shown = f',"tool_calls":{to_json(calls)}' if calls else ""
    if turn.raw.get("raw"):
        return shown
    return f'{shown},"context":{to_json(encode((*turn.messages, Message("assistant", said_text))))}'


def _context(body: Mapping[str, Json]) -> Sequence[int]:
    context = items(body, "context", _STRUCT, "int")
    for number in context:
        if not isinstance(number, int) or isinstance(number, bool):
            wrong(f"{_STRUCT}.context", number, "int")
    return context
