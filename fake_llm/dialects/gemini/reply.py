"""A reply as a GenerateContentResponse, whole or as the chunks of a stream, each of which is one too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from fake_llm.dialects.gemini.fields import get, message
from fake_llm.dialects.gemini.request import ENUM_TYPE, media_type, parse
from fake_llm.dialects.wire import data, quoted, to_bytes, to_json
from fake_llm.envelopes import gemini as envelope
from fake_llm.finish import count_output, stream_pieces
from fake_llm.model import Json, ProtocolError, Reply, Stamp, ToolCall, Turn, Usage
from fake_llm.tokens import TOKENS_PER_ATTACHMENT, count, count_input

_FINISH = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "end_turn": "STOP",
    "tool_calls": "STOP",
    "tool_use": "STOP",
    "function_call": "STOP",
    "length": "MAX_TOKENS",
    "max_tokens": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
}
_MALFORMED = "MALFORMED_FUNCTION_CALL"
_BLOCK_REASONS = frozenset(
    {"SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "JAILBREAK", "MODEL_ARMOR"}
)
_HARMS = ("HATE_SPEECH", "HARASSMENT", "SEXUALLY_EXPLICIT")

_Delta = tuple[str, int]
"""The parts of one chunk as JSON, and how many tokens they are."""


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The response; a refusal is a prompt that was blocked, to which there are no candidates."""
    usage = _total(replies)
    if replies[0].refusal is not None:
        return to_bytes(_blocked(turn, replies[0], usage, stamp))
    candidates = [_candidate(_worded(turn, reply), index) for index, reply in enumerate(replies)]
    counted = _usage(usage, _details(turn, usage.input_tokens))
    return to_bytes({"candidates": candidates, "usageMetadata": counted, **_origin(turn, stamp)})


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """The chunks, those of several candidates interleaved, the tokens so far in each.

    What ends a candidate lies in its last chunk of content: the SDK's chats forget a turn that has an empty chunk.
    """
    total = _total(replies)
    if replies[0].refusal is not None:
        return [data(to_json(_blocked(turn, replies[0], total, stamp)))]
    tail, details = to_json(_origin(turn, stamp))[1:], _details(turn, total.input_tokens)
    by_candidate = [_chunks(_worded(turn, reply), index) for index, reply in enumerate(replies)]
    chunks = [chunk for step in zip_longest(*by_candidate) for chunk in step if chunk is not None]
    events: list[bytes] = []
    said = 0
    for place, (candidate, tokens) in enumerate(chunks, 1):
        said = total.output_tokens if place == len(chunks) else min(said + tokens, total.output_tokens)
        usage = to_json(_usage(replace(total, output_tokens=said), details))
        events.append(data(f'{{"candidates":[{candidate}],"usageMetadata":{usage},{tail}'))
    return events


def stream_error(error: ProtocolError, stamp: Stamp) -> bytes:
    """A chunk that is the error envelope, which the SDK raises."""
    return data(to_json(envelope.error_object(error, stamp)))


def count_tokens(body: Mapping[str, Json], headers: Mapping[str, str]) -> bytes:
    """The answer of the counting endpoint: the prompt's tokens that the same request's usage would show.

    :raises ProtocolError: Gemini refuses the request.
    """
    asked = message(body, "generateContentRequest", "generate_content_request", "GenerateContentRequest")
    if asked and get(body, "contents") is not None:
        raise ProtocolError("Only one of contents and generate_content_request may be set.")
    turn = parse(asked or body, headers)
    tokens = count_input(turn)
    return to_bytes({"totalTokens": tokens, **_details(turn, tokens)})


def _worded(turn: Turn, reply: Reply) -> Reply:
    """The reply with its word bare, where the client asked for a word of a list instead of JSON."""
    if media_type(turn.raw) != ENUM_TYPE or not reply.text.startswith('"'):
        return reply
    try:
        return replace(reply, text=str(json.loads(reply.text)), chunks=())
    except ValueError:
        return reply


def _candidate(reply: Reply, index: int) -> dict[str, Json]:
    calls, ending = _ending(reply)
    parts: list[Json] = [{"text": reply.text}] if reply.text else []
    parts.extend(calls)
    # a model that said nothing has a content without parts; one that was stopped for safety has none
    content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    silenced = not parts and "safetyRatings" in ending
    return {**({} if silenced else {"content": content}), **ending, "index": index}


def _chunks(reply: Reply, index: int) -> Iterator[_Delta]:
    """The candidates of one reply's chunks as JSON: words in pieces, each call whole, the last one with the end."""
    calls, ending = _ending(reply)
    deltas = [(f'{{"text":{quoted(piece)}}}', max(count(piece), 1)) for piece in stream_pieces(reply) if piece]
    for call, shown in zip(reply.tool_calls, calls, strict=False):
        deltas.append((to_json(shown), count_output(Reply(tool_calls=(call,)))))
    if not deltas:
        yield to_json(_candidate(reply, index)), 1
    for place, (part, tokens) in enumerate(deltas, 1):
        end = to_json(ending)[1:-1] + "," if place == len(deltas) else ""
        yield f'{{"content":{{"parts":[{part}],"role":"model"}},{end}"index":{index}}}', tokens


def _ending(reply: Reply) -> tuple[list[Json], dict[str, Json]]:
    """The parts of the calls, and the members of the candidate that tell why it ended."""
    calls: list[Json] = []
    for call in reply.tool_calls:
        arguments = _arguments(call)
        if arguments is not None:
            own_id = {"id": call.id} if call.id else {}  # this API calls without an id, and goes by name and order
            calls.append({"functionCall": {**own_id, "name": call.name, "args": arguments}})
        elif reply.finish == "length":
            break
        else:
            said = f"Malformed function call: {call.name}({call.arguments})"
            return [], {"finishReason": _MALFORMED, "finishMessage": said}
    reason = _FINISH.get(reply.finish, reply.finish)
    ending: dict[str, Json] = {"finishReason": reason}
    if reason == "SAFETY":
        ending["safetyRatings"] = _ratings()
    return calls, ending


def _arguments(call: ToolCall) -> dict[str, Json] | None:
    """The arguments as an object; None for text that is none, which this API cannot carry."""
    try:
        found = json.loads(call.arguments or "{}", parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _no_constant(word: str) -> Json:
    raise ValueError(f"{word} is no JSON")


def _blocked(turn: Turn, reply: Reply, usage: Usage, stamp: Stamp) -> dict[str, Json]:
    reason = reply.finish if reply.finish in _BLOCK_REASONS else "SAFETY"
    feedback: dict[str, Json] = {"blockReason": reason}
    if reason == "SAFETY":
        feedback["safetyRatings"] = _ratings()
    counted = {"promptTokenCount": usage.input_tokens, "totalTokenCount": usage.input_tokens}
    details = _details(turn, usage.input_tokens)
    return {"promptFeedback": feedback, "usageMetadata": {**counted, **details}, **_origin(turn, stamp)}


def _ratings() -> list[Json]:
    blocked = {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": True}
    return [blocked, *({"category": f"HARM_CATEGORY_{harm}", "probability": "NEGLIGIBLE"} for harm in _HARMS)]


def _origin(turn: Turn, stamp: Stamp) -> dict[str, Json]:
    return {"modelVersion": turn.model, "responseId": stamp.id}


def _total(replies: Sequence[Reply]) -> Usage:
    """Several candidates share one prompt."""
    used = [reply.usage or Usage() for reply in replies]
    return replace(
        used[0],
        output_tokens=sum(usage.output_tokens for usage in used),
        reasoning_tokens=sum(usage.reasoning_tokens for usage in used),
    )


def _usage(usage: Usage, details: Mapping[str, Json]) -> dict[str, Json]:
    """The candidates' tokens are those that were said; thoughts are counted beside them."""
    thoughts = min(usage.reasoning_tokens, usage.output_tokens)
    counted: dict[str, Json] = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - thoughts,
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
        **details,
    }
    if thoughts:
        counted["thoughtsTokenCount"] = thoughts
    if usage.cached_tokens:
        counted["cachedContentTokenCount"] = usage.cached_tokens
    return counted


def _details(turn: Turn, tokens: int) -> dict[str, Json]:
    """The prompt's tokens by kind; what is attached is all counted as images."""
    attached = min(TOKENS_PER_ATTACHMENT * sum(one.attachments for one in turn.messages), tokens)
    details = [{"modality": "TEXT", "tokenCount": tokens - attached}]
    if attached:
        details.append({"modality": "IMAGE", "tokenCount": attached})
    return {"promptTokensDetails": details}
