"""The reasoning item: what a response shows of the thinking before it. It is the first item where there is one."""

from __future__ import annotations

from collections.abc import Iterator

from fake_llm.dialects.openai_responses.sealed import sealed
from fake_llm.dialects.wire import quoted
from fake_llm.finish import cut_text
from fake_llm.model import Reply, Stamp, Turn

SUMMARY = "**Thinking it over**\n\nThe request is clear, so the answer follows from it."
"""The summary of a thinking that no scenario tells: the fake model thinks nothing."""


def is_shown(turn: Turn, reply: Reply) -> bool:
    """Whether the response has the item: a scenario tells it, a summary is asked for, or tokens were spent on it."""
    if reply.finish == "failed" and not reply.text:
        return False
    spent = reply.usage is not None and reply.usage.reasoning_tokens > 0
    return bool(reply.reasoning) or spent or _has_summary(turn)


def item(turn: Turn, reply: Reply, stamp: Stamp) -> str:
    """The whole item as JSON."""
    text = _summary(turn, reply)
    return _item(turn, reply, stamp, f'{{"type":"summary_text","text":{quoted(text)}}}' if text else "")


def parts(turn: Turn, reply: Reply, stamp: Stamp, done: str) -> Iterator[tuple[str, str]]:
    """The item's events, as the names and the members that :mod:`.stream` numbers; ``done``: the whole item."""
    text = _summary(turn, reply)
    where = f'"item_id":"{_item_id(stamp)}","output_index":0,"summary_index":0'
    yield "response.output_item.added", f'"output_index":0,"item":{_item(turn, reply, stamp, "")}'
    if text:
        yield "response.reasoning_summary_part.added", f'{where},"part":{{"type":"summary_text","text":""}}'
        for piece in cut_text(text, reply.chunk_size):
            yield "response.reasoning_summary_text.delta", f'{where},"delta":{quoted(piece)}'
        yield "response.reasoning_summary_text.done", f'{where},"text":{quoted(text)}'
        whole = f'{{"type":"summary_text","text":{quoted(text)}}}'
        yield "response.reasoning_summary_part.done", f'{where},"part":{whole}'
    yield "response.output_item.done", f'"output_index":0,"item":{done}'


def _item_id(stamp: Stamp) -> str:
    return f"rs_{stamp.id}00"


def _item(turn: Turn, reply: Reply, stamp: Stamp, summary: str) -> str:
    wanted = "reasoning.encrypted_content" in (turn.raw.get("include") or ())
    content = sealed({"of": stamp.id, "reasoning": reply.reasoning}) if wanted else ""
    encrypted = f',"encrypted_content":"{content}"' if wanted else ""
    return f'{{"id":"{_item_id(stamp)}","type":"reasoning","summary":[{summary}]{encrypted}}}'


def _has_summary(turn: Turn) -> bool:
    return bool((turn.raw.get("reasoning") or {}).get("summary"))


def _summary(turn: Turn, reply: Reply) -> str:
    return (reply.reasoning or SUMMARY) if _has_summary(turn) else ""
