"""A reply as content blocks: what was thought, what the server's tools did, the text with its citations, the calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from fake_llm.dialects.anthropic import server_tools, thinking
from fake_llm.dialects.anthropic.sources import locate
from fake_llm.dialects.anthropic.toolsets import toolset_of
from fake_llm.dialects.wire import to_json
from fake_llm.finish import cut_text, stream_pieces
from fake_llm.model import Json, Reply, Stamp, ToolCall, Turn


class Block(NamedTuple):
    """A content block, and in which pieces a stream sends what is written in it piece by piece."""

    whole: dict[str, Json]
    pieces: Sequence[str] = ()


def words(reply: Reply) -> str:
    """What the reply says, be it an answer or a refusal."""
    return reply.text if reply.refusal is None else reply.refusal


def blocks(turn: Turn, reply: Reply, stamp: Stamp) -> Iterator[Block]:
    """The blocks in their order; none for a request that only fills the cache."""
    if turn.max_tokens == 0:
        return
    if thought := thinking.block(turn, reply):
        yield Block(thought, cut_text(str(thought.get("thinking", "")), reply.chunk_size))
    if reply.server_tools:
        for ran in server_tools.blocks(turn, reply.server_tools, stamp, paused=reply.finish == "pause_turn"):
            yield Block(ran.call, _input_pieces(to_json(ran.call["input"]), reply.chunk_size))
            if ran.result is not None:
                yield Block(ran.result)
    yield from _texts(turn, reply)
    for place, call in enumerate(reply.tool_calls):
        yield Block(_tool_use(turn, call, place, stamp), _input_pieces(call.arguments, reply.chunk_size))


def _texts(turn: Turn, reply: Reply) -> Iterator[Block]:
    """The text in one block, or cut where what is cited begins and ends."""
    said = words(reply)
    if not said:
        return
    pieces = stream_pieces(reply)
    spans = _cited(turn, reply) if reply.citations and reply.refusal is None else []
    if not spans:
        yield Block({"type": "text", "text": said, "citations": None}, pieces)
        return
    for start, end, citations in _segments(said, spans):
        yield Block({"type": "text", "text": said[start:end], "citations": citations}, _between(pieces, start, end))


def _cited(turn: Turn, reply: Reply) -> list[tuple[int, int, dict[str, Json]]]:
    """Where in the text each citation stands; those of words that were cut off are left out."""
    found: list[tuple[int, int, dict[str, Json]]] = []
    for citation in reply.citations:
        start = reply.text.find(citation.words)
        if start >= 0 and (location := locate(citation, turn.raw)) is not None:
            found.append((start, start + len(citation.words) if citation.words else len(reply.text), location))
    return found


def _segments(said: str, spans: Sequence[tuple[int, int, Json]]) -> list[tuple[int, int, Json]]:
    """The text cut where what is cited begins and ends.

    White space alone, which no block may be, joins what it follows.
    """
    cuts = sorted({0, len(said), *(place for start, end, _ in spans for place in (start, end))})
    found: list[tuple[int, int, Json]] = []
    for start, end in pairwise(cuts):
        if found and said[start:end].isspace():
            found[-1] = (found[-1][0], end, found[-1][2])
        else:
            cited = [citation for first, last, citation in spans if first <= start and end <= last]
            found.append((start, end, cited or None))
    if len(found) > 1 and said[: found[0][1]].isspace():
        found[:2] = [(0, found[1][1], found[1][2])]
    return found


def _between(pieces: Sequence[str], start: int, end: int) -> list[str]:
    """Those of the pieces of a text, or parts of them, that lie from ``start`` to ``end``."""
    found: list[str] = []
    at = 0
    for piece in pieces:
        if part := piece[max(start - at, 0) : max(end - at, 0)]:
            found.append(part)
        at += len(piece)
    return found


def _tool_use(turn: Turn, call: ToolCall, place: int, stamp: Stamp) -> dict[str, Json]:
    block: dict[str, Json] = {
        "type": "tool_use",
        "id": call.id or f"toolu_{stamp.id[:22]}{place:02x}",
        "name": call.name,
        "input": _input(call.arguments),
    }
    if (toolset := toolset_of(call.name, turn.raw)) is not None:
        block.update(toolset_name=toolset, caller={"type": "direct"})
    return block


def _input(arguments: str) -> Json:
    """The arguments as an object: this dialect cannot carry text that is no JSON, except in a stream."""
    try:
        found = json.loads(arguments or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {"value": found}


def _input_pieces(arguments: str, chunk_size: int | None) -> Sequence[str]:
    """The pieces of an input, an empty one first, as the API begins; no input at all has no others."""
    return ["", *cut_text(arguments, chunk_size)] if arguments != "{}" else [""]
