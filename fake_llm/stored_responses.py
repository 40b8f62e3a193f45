"""What OpenAI answers about the responses that a session keeps: everything below ``/v1/responses`` but making one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from fake_llm.dialects.openai.refusals import Range, check_number, invalid, wrong_type, wrong_value
from fake_llm.dialects.openai_responses.request import turn_of
from fake_llm.dialects.openai_responses.response import begun, output_items, rendered, settings, status_of
from fake_llm.dialects.openai_responses.stream import stream
from fake_llm.dialects.wire import EVENT_STREAM, to_bytes
from fake_llm.envelopes.openai import headers as common_headers
from fake_llm.exchange import JSON_TYPE, Outcome, decode
from fake_llm.faults import Pause, Write
from fake_llm.kept import Kept, KeptTurn
from fake_llm.model import Json, ProtocolError, Stamp
from fake_llm.tokens import count_input

PAGE = Range("integer", 1, 100)


def answer(kept: Kept, method: str, rest: str, query: Mapping[str, str], *, body: bytes, stamp: Stamp) -> Outcome:
    """The answer to ``method`` at ``rest``, which is the path below ``/v1/responses/``.

    :raises ProtocolError: OpenAI refuses the request.
    """
    if rest == "input_tokens" and method == "POST":
        return _json(_input_tokens(kept, body), stamp)
    response_id, _, aspect = rest.partition("/")
    found = _found(kept, response_id)
    if aspect == "cancel":
        _cancel(found)
    if aspect == "input_items":
        return _json(to_bytes(input_items(found, query)), stamp)
    if method == "DELETE":
        kept.drop(response_id)
        return _json(to_bytes({"id": response_id, "object": "response", "deleted": True}), stamp)
    if _truth(query, "stream"):
        return _replayed(found, query, stamp)
    return _json(shown(found), stamp)


def shown(found: KeptTurn) -> bytes:
    """The response as it is now."""
    status = "cancelled" if found.cancelled else "in_progress" if found.ready_at > time.time() else None
    if status is None:
        return rendered(found.turn, found.reply, found.stamp).encode("ascii")
    return begun(found.stamp, settings(found.turn), status).encode("ascii")


def input_items(found: KeptTurn, query: Mapping[str, str]) -> Json:
    """A page of what the response was made from: its own input, before it the turns that it went on from.

    :raises ProtocolError: the query asks for no page.
    """
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        wrong_value("order", order, ("asc", "desc"))
    limit = _number(query, "limit", 20)
    check_number("limit", limit, PAGE)
    items = _all_items(found)
    if order == "desc":
        items.reverse()
    after = query.get("after")
    if after is not None:
        places = [place for place, item in enumerate(items) if item["id"] == after]
        if not places:
            raise ProtocolError(f"Item with id '{after}' not found.", status=404, param="after")
        items = items[places[0] + 1 :]
    page = items[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": len(page) < len(items),
    }


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


def _replayed(found: KeptTurn, query: Mapping[str, str], stamp: Stamp) -> Outcome:
    """The stream's events after the one of the number ``starting_after``.

    The live service replays only what was made in the background and as a stream; here all that is kept can be.
    """
    events = stream(found.turn, [found.reply], found.stamp)
    raw = b"".join(events[max(_number(query, "starting_after", -1) + 1, 0) :])
    headers = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-cache"), *common_headers(stamp)]
    left_s = found.ready_at - time.time()
    return Outcome(200, headers, [*([Pause(left_s)] if left_s > 0 else []), Write(raw)], raw=raw)


def _input_tokens(kept: Kept, body: bytes) -> bytes:
    asked = decode(body or b"{}")
    turn = turn_of({**asked, "input": asked.get("input") or ""}, kept)
    return to_bytes({"object": "response.input_tokens", "input_tokens": count_input(turn)})


def _all_items(found: KeptTurn) -> list[dict[str, Json]]:
    turns = [found]
    while turns[-1].earlier is not None:
        turns.append(turns[-1].earlier)
    items: list[dict[str, Json]] = []
    for turn in reversed(turns):
        items.extend(turn.items)
        if turn is not found:
            items.extend(json.loads(item) for item in output_items(turn.turn, turn.reply, turn.stamp))
    return items


def _json(raw: bytes, stamp: Stamp) -> Outcome:
    headers = [JSON_TYPE, (b"content-length", b"%d" % len(raw)), *common_headers(stamp)]
    return Outcome(200, headers, [Write(raw)], raw=raw)


def _truth(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false")
    if value not in ("true", "false"):
        wrong_type(name, "boolean", value)
    return value == "true"


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name)
    if value is None:
        return default
    try:
        return int(value)
    except ValueError:
        wrong_type(name, "integer", value)
