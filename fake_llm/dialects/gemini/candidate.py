"""One reply as a candidate: its parts in order, and what is told at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from fake_llm.dialects.gemini import likelihood
from fake_llm.dialects.gemini.grounding import code_parts, shown_with
from fake_llm.dialects.gemini.request import ENUM_TYPE, media_type
from fake_llm.dialects.gemini.safety import SILENCING, ratings, wants_ratings
from fake_llm.dialects.google.signatures import needs_signatures, of_call, of_text
from fake_llm.dialects.wire import arguments_of, quoted, to_json
from fake_llm.finish import count_output, cut_text, stream_pieces
from fake_llm.model import Json, Reply, Turn
from fake_llm.tokens import count

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


class Chunk(NamedTuple):
    """A candidate as one chunk of a stream has it, and how many tokens it says; ``thought``: thinks."""

    candidate: str
    tokens: int
    thought: bool = False


@dataclass(slots=True)
class Candidate:
    """A reply as the parts of one candidate; ``ending`` are its members beside content and index."""

    turn: Turn
    reply: Reply
    index: int
    calls: list[Json] = field(default_factory=list)
    ending: dict[str, Json] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reply = _worded(self.turn, self.reply)
        self._end()

    def whole(self) -> dict[str, Json]:
        """The candidate at its end, from nothing."""
        reply = self.reply
        parts: list[Json] = [{"text": self._thought, "thought": True}] if self._thought else []
        parts.extend(code_parts(reply.server_tools))
        if reply.text:
            parts.append({"text": reply.text, **self._signature_of_text()})
        parts.extend(self.calls)
        # a model that said nothing has a content without parts; one that was stopped has none
        content = {"parts": parts, "role": "model"} if parts else {"role": "model"}
        silenced = not parts and self.ending["finishReason"] in SILENCING
        said = likelihood.result(self.turn, [reply.text] if reply.text else [])
        return {**({} if silenced else {"content": content}), **self.ending, **said, "index": self.index}

    def chunks(self) -> Iterator[Chunk]:
        """The candidate of each chunk: words in pieces, every other part whole, the last one with the ending."""
        shown = list(self._pieces())
        if not shown:
            yield Chunk(to_json(self.whole()), 1)
        for place, (part, said, tokens, thought) in enumerate(shown, 1):
            members = likelihood.result(self.turn, [said]) if said else {}
            if place == len(shown):
                members = {**self.ending, **members}
            rest = to_json(members)[1:-1] + "," if members else ""
            content = f'{{"parts":[{part}],"role":"model"}}'
            yield Chunk(f'{{"content":{content},{rest}"index":{self.index}}}', tokens, thought)

    @property
    def _thought(self) -> str:
        return self.reply.reasoning if self.turn.thinking == "shown" else ""

    @property
    def _signs(self) -> bool:
        """Whether signatures are handed out: by models that want them back, and by others where they thought."""
        return bool(self.reply.reasoning) or needs_signatures(self.turn.model)

    def _signature_of_text(self) -> dict[str, Json]:
        return {"thoughtSignature": of_text(self.reply.text)} if self._signs and not self.calls else {}

    def _pieces(self) -> Iterator[tuple[str, str, int, bool]]:
        """Each part of the stream as JSON, what of the text it says, its tokens, and whether it is a thought."""
        reply = self.reply
        for piece in cut_text(self._thought, reply.chunk_size) if self._thought else ():
            yield f'{{"text":{quoted(piece)},"thought":true}}', "", max(count(piece), 1), True
        for part in code_parts(reply.server_tools):
            yield to_json(part), "", 0, False
        pieces = [piece for piece in stream_pieces(reply) if piece]
        for place, piece in enumerate(pieces, 1):
            signature = to_json(self._signature_of_text())[1:-1] if place == len(pieces) else ""
            signed = f",{signature}" if signature else ""
            yield f'{{"text":{quoted(piece)}{signed}}}', piece, max(count(piece), 1), False
        for call, shown in zip(reply.tool_calls, self.calls, strict=False):
            yield to_json(shown), "", count_output(Reply(tool_calls=(call,))), False

    def _end(self) -> None:
        """Make the parts of the calls, and the members that tell why and on what the candidate ended."""
        reply = self.reply
        reason = _FINISH.get(reply.finish, reply.finish)
        for call in reply.tool_calls:
            arguments = arguments_of(call)
            if arguments is not None:
                # this API calls without an id, and goes by name and order
                own_id = {"id": call.id} if call.id else {}
                shown: dict[str, Json] = {"functionCall": {**own_id, "name": call.name, "args": arguments}}
                if self._signs and not self.calls:
                    shown["thoughtSignature"] = of_call(call.name, arguments)
                self.calls.append(shown)
            elif reply.finish == "length":
                break
            else:
                said = f"Malformed function call: {call.name}({call.arguments})"
                self.calls = []
                self.ending = {"finishReason": _MALFORMED, "finishMessage": said}
                return
        self.ending = {"finishReason": reason}
        if reason == "SAFETY" or wants_ratings(self.turn.raw):
            self.ending["safetyRatings"] = ratings(blocked=reason == "SAFETY")
        self.ending.update(shown_with(self.turn, reply))
        self.ending.update(likelihood.average(self.turn, reply.text))


def _worded(turn: Turn, reply: Reply) -> Reply:
    """The reply with its word bare, where the client asked for a word of a list instead of JSON."""
    if media_type(turn.raw) != ENUM_TYPE or not reply.text.startswith('"'):
        return reply
    try:
        return replace(reply, text=str(json.loads(reply.text)), chunks=())
    except ValueError:
        return reply
