"""What the answers of ``/api/chat`` and ``/api/generate`` share: lines of JSON, and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from fake_llm.dialects.ollama.fields import thinks
from fake_llm.dialects.openai.logprobs import token_logprobs
from fake_llm.dialects.wire import arguments_of, quoted, to_json
from fake_llm.envelopes import ollama as envelope
from fake_llm.finish import cut_text, stream_pieces
from fake_llm.local_models import keep_alive_s
from fake_llm.model import Json, ProtocolError, Reply, Stamp, Turn, Usage

LINES = b"application/x-ndjson"
LOADING = "ollama_load"
"""The dialect by which scenarios know a request that only loads or unloads a model."""

LOAD_NS = 20_000_000
PROMPT_TOKEN_NS = 1_000_000
TOKEN_NS = 10_000_000
"""What loading, a token of the prompt and a token of the answer are said to take, as no model runs here."""

_LENGTH = frozenset({"length", "max_tokens"})
_STOP = frozenset(
    {"stop", "stop_sequence", "end_turn", "tool_calls", "tool_use", "function_call", "refusal", "content_filter"}
)


class Said(NamedTuple):
    """What of a reply is shown: thoughts and words, whole and in the pieces of a stream, and the calls."""

    thoughts: Sequence[str]
    words: Sequence[str]
    text: str
    calls: Sequence[Json]


def said(turn: Turn, reply: Reply, stamp: Stamp) -> Said:
    """What ``reply`` shows to this request. There are no refusals here: they are words.

    Arguments that are no JSON object were never parsed by the server: such a call stays in the text as the model wrote
    it, or is left out where the token limit cut it.
    """
    text = reply.refusal if reply.refusal is not None else reply.text
    words = [*stream_pieces(reply)]
    calls: list[Json] = []
    cut = reply.finish == "length"
    for place, call in enumerate(reply.tool_calls):
        arguments = None if cut and not call.arguments else arguments_of(call)
        if arguments is not None:
            function = {"index": place, "name": call.name, "arguments": arguments}
            calls.append({"id": call.id or f"call_{stamp.id[:6]}{place:02x}", "function": function})
        elif not cut:
            raw = f'{{"name": {quoted(call.name)}, "arguments": {call.arguments}}}'
            text += raw
            words += cut_text(raw, reply.chunk_size)
    thoughts = cut_text(reply.reasoning, reply.chunk_size) if reply.reasoning and thinks(turn.raw) else ()
    return Said(thoughts, words, text, calls)


def head(turn: Turn, stamp: Stamp) -> str:
    """How every line begins."""
    return f'{{"model":{quoted(turn.model)},"created_at":"{instant(stamp)}"'


def instant(stamp: Stamp) -> str:
    """The time of the answer; the part of the second below a whole one is made of the stamp's id."""
    micros = int(stamp.id[:5], 16) % 1_000_000
    return f"{datetime.fromtimestamp(stamp.created, UTC):%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def tail(reply: Reply) -> str:
    """How the last line ends, durations in ns; a scripted delay is time that loading took."""
    usage = reply.usage or Usage()
    load = LOAD_NS + round(reply.delay_s * 1e9)
    prompt, answer = usage.input_tokens * PROMPT_TOKEN_NS, usage.output_tokens * TOKEN_NS
    return (
        f'"done":true,"done_reason":{quoted(done_reason(reply))},"total_duration":{load + prompt + answer},'
        f'"load_duration":{load},"prompt_eval_count":{usage.input_tokens},"prompt_eval_duration":{prompt},'
        f'"eval_count":{usage.output_tokens},"eval_duration":{answer}'
    )


def done_reason(reply: Reply) -> str:
    """Ollama's word for the finish; a word of its own stands."""
    if reply.finish in _LENGTH:
        return "length"
    return "stop" if reply.finish in _STOP else reply.finish


def load_reason(turn: Turn) -> str:
    """The word for a request that has nothing to answer: it loads the model, or unloads it."""
    return "load" if keep_alive_s(turn.raw.get("keep_alive")) else "unload"


def logprobs(turn: Turn, pieces: Sequence[str]) -> str:
    """The member of a line with the log probabilities of its tokens, or ""."""
    if turn.top_logprobs is None or not pieces:
        return ""
    return f',"logprobs":{to_json(token_logprobs(pieces, turn.top_logprobs, turn.seed or 0))}'


def line(written: str) -> bytes:
    """One event of a stream."""
    return written.encode("ascii") + b"\n"


def stream_error(error: ProtocolError, stamp: Stamp) -> bytes:
    """The line that ends a stream that failed."""
    return line(to_json(envelope.error_object(error, stamp)))
