"""A reply as a GenerateContentResponse, whole or as the chunks of a stream, each of which is one too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fake_llm.dialects.gemini.candidate import Candidate
from fake_llm.dialects.gemini.request import parse
from fake_llm.dialects.gemini.safety import BLOCK_REASONS, ratings, wants_ratings
from fake_llm.dialects.gemini.usage import Counts, details
from fake_llm.dialects.google.fields import get, message
from fake_llm.dialects.wire import data, interleaved, to_bytes, to_json
from fake_llm.envelopes import gemini as envelope
from fake_llm.model import Json, ProtocolError, Reply, Stamp, Turn
from fake_llm.tokens import count_input


def render(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> bytes:
    """The response; a refusal is a prompt that was blocked, to which there are no candidates."""
    counts = Counts(turn, replies)
    if replies[0].refusal is not None:
        return to_bytes(_blocked(turn, replies[0], counts, stamp))
    candidates = [Candidate(turn, reply, index).whole() for index, reply in enumerate(replies)]
    shown = {"candidates": candidates, **_feedback(turn), "usageMetadata": counts.whole()}
    return to_bytes({**shown, **_origin(turn, stamp)})


def stream(turn: Turn, replies: Sequence[Reply], stamp: Stamp) -> list[bytes]:
    """The chunks, those of several candidates interleaved, the tokens so far in each.

    What ends a candidate lies in its last chunk of content: the SDK's chats forget a turn that has an empty chunk.
    """
    counts = Counts(turn, replies)
    if replies[0].refusal is not None:
        return [data(to_json(_blocked(turn, replies[0], counts, stamp)))]
    tail = to_json(_origin(turn, stamp))[1:]
    chunks = interleaved([list(Candidate(turn, reply, index).chunks()) for index, reply in enumerate(replies)])
    shown_thoughts = any(chunk.thought for chunk in chunks)
    said, thoughts = 0, 0 if shown_thoughts else counts.thoughts
    events: list[bytes] = []
    for place, chunk in enumerate(chunks, 1):
        if chunk.thought:
            thoughts = min(thoughts + chunk.tokens, counts.thoughts)
        else:
            said = min(said + chunk.tokens, counts.said)
        usage = to_json(counts.whole() if place == len(chunks) else counts.so_far(said, thoughts))
        feedback = to_json(_feedback(turn))[1:-1] if place == 1 else ""
        events.append(
            data(f'{{"candidates":[{chunk.candidate}],{feedback}{"," * bool(feedback)}"usageMetadata":{usage},{tail}')
        )
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
    return to_bytes({"totalTokens": tokens, **details(turn, tokens)})


def _blocked(turn: Turn, reply: Reply, counts: Counts, stamp: Stamp) -> dict[str, Json]:
    reason = reply.finish if reply.finish in BLOCK_REASONS else "SAFETY"
    feedback: dict[str, Json] = {"blockReason": reason}
    if reason == "SAFETY":
        feedback["safetyRatings"] = ratings(blocked=True)
    return {"promptFeedback": feedback, "usageMetadata": counts.of_blocked(), **_origin(turn, stamp)}


def _feedback(turn: Turn) -> dict[str, Json]:
    """What was found in a prompt that was not blocked."""
    return {"promptFeedback": {"safetyRatings": ratings(blocked=False)}} if wants_ratings(turn.raw) else {}


def _origin(turn: Turn, stamp: Stamp) -> dict[str, Json]:
    return {"modelVersion": turn.model, "responseId": stamp.id}
