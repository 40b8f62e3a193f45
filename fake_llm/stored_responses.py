"""What OpenAI answers about the responses that a session keeps: everything below ``/v1/responses`` but making one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from fake_llm.dialects.openai.pages import number, page, truth
from fake_llm.dialects.openai.refusals import invalid
from fake_llm.dialects.openai_responses.compaction import compaction_item, shortened
from fake_llm.dialects.openai_responses.items import listed, resolved
from fake_llm.dialects.openai_responses.output import find_item, output_items, status_of
from fake_llm.dialects.openai_responses.request import check_model, earlier_of, items_of, turn_of
from fake_llm.dialects.openai_responses.response import begun, rendered, settings, shown_usage
from fake_llm.dialects.openai_responses.stream import stream
from fake_llm.dialects.wire import EVENT_STREAM
from fake_llm.faults import Pause, Write
from fake_llm.kept import Kept, KeptTurn
from fake_llm.model import Json, ProtocolError, Stamp, Usage
from fake_llm.outcome import Outcome, decode, sent, whole
from fake_llm.tokens import count_input, count_messages


def answer(kept: Kept, method: str, rest: str, query: Mapping[str, str], *, body: bytes, stamp: Stamp) -> Outcome:
    """As :meth:`fake_llm.stored.Area.answer`."""
    if method == "POST" and rest in ("input_tokens", "compact"):
        asked = decode(body or b"{}")
        return whole(_input_tokens(kept, asked) if rest == "input_tokens" else compacted(kept, asked, stamp))
    response_id, _, aspect = rest.partition("/")
    found = _found(kept, response_id)
    if aspect == "cancel":
        _cancel(found)
    if aspect == "input_items":
        return whole(page(_all_items(found), query, order="desc"))
    if method == "DELETE":
        kept.drop(response_id)
        return whole({"id": response_id, "object": "response", "deleted": True})
    return _replayed(found, query) if truth(query, "stream") else sent(shown(found))


def compacted(kept: Kept, asked: Mapping[str, Json], stamp: Stamp) -> Json:
    """What the user said, and an item that stands for the whole conversation.

    :raises ProtocolError: OpenAI refuses the request.
    """
    check_model(asked)
    turn = turn_of({**asked, "input": asked.get("input") or ""}, kept)
    own = resolved(items_of({"input": asked.get("input") or ""}), lambda item_id: find_item(kept, item_id))
    earlier = earlier_of(asked, kept)
    items = [*(_with_output(earlier) if earlier is not None else ()), *listed(own, stamp.id)]
    said = [shortened(message) for message in turn.messages[1 if asked.get("instructions") else 0 :]]
    usage = Usage(count_input(turn), count_messages(said))
    return {
        "id": f"resp_{stamp.id}",
        "object": "response.compaction",
        "created_at": stamp.created,
        "output": [*(item for item in items if item.get("role") == "user"), compaction_item(said, stamp)],
        "usage": json.loads(shown_usage(usage)),
    }


def shown(found: KeptTurn) -> bytes:
    """The response as it is now."""
    status = "cancelled" if found.cancelled else "in_progress" if found.ready_at > time.time() else None
    if status is None:
        return rendered(found.turn, found.reply, found.stamp).encode("ascii")
    return begun(found.stamp, settings(found.turn), status).encode("ascii")


def _found(kept: Kept, response_id: str) -> KeptTurn:
    if not response_id.startswith("resp"):
        invalid(
            f"Invalid 'response_id': '{response_id}'. Expected an ID that begins with 'resp'.",
            "response_id",
            "invalid_value",
        )
    found = kept.find(response_id)
    if found is None:
        raise ProtocolError(f"Response with id '{response_id}' not found.", status=404)
    return found


def _cancel(found: KeptTurn) -> None:
    """Mark work in the background as cancelled; twice is as once."""
    if not found.turn.raw.get("background"):
        raise ProtocolError("Cannot cancel a synchronous response.")
    if not found.cancelled and found.ready_at <= time.time():
        status = status_of(found.reply)
        raise ProtocolError(f"Cannot cancel {'an' if status == 'incomplete' else 'a'} {status} response.")
    found.cancelled = True


def _replayed(found: KeptTurn, query: Mapping[str, str]) -> Outcome:
    """The stream's events after the one of the number ``starting_after``.

    The live service replays only what was made in the background and as a stream; here all that is kept can be.
    """
    events = stream(found.turn, [found.reply], found.stamp)
    raw = b"".join(events[max(number(query, "starting_after", -1) + 1, 0) :])
    headers = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-cache")]
    left_s = found.ready_at - time.time()
    return Outcome(200, headers, [*([Pause(left_s)] if left_s > 0 else []), Write(raw)], raw=raw)


def _input_tokens(kept: Kept, asked: Mapping[str, Json]) -> Json:
    turn = turn_of({**asked, "input": asked.get("input") or ""}, kept)
    return {"object": "response.input_tokens", "input_tokens": count_input(turn)}


def _all_items(found: KeptTurn) -> list[dict[str, Json]]:
    """What the response was made from: its own input, before it the turns that it went on from."""
    return [*(_with_output(found.earlier) if found.earlier is not None else ()), *found.items]


def _with_output(newest: KeptTurn) -> list[dict[str, Json]]:
    """The items of a turn and of those before it, each with what was answered."""
    turns = [newest]
    while turns[-1].earlier is not None:
        turns.append(turns[-1].earlier)
    items: list[dict[str, Json]] = []
    for turn in reversed(turns):
        items.extend(turn.items)
        items.extend(json.loads(item) for item in output_items(turn.turn, turn.reply, turn.stamp))
    return items
