"""The reasoning item: what a response shows of the thinking before it. It is the first item where there is one."""

from __future__ import annotations

from collections.abc import Iterator

from fake_llm.dialects.wire import quoted
from fake_llm.finish import cut_text
from fake_llm.model import Reply, Stamp, Turn

SUMMARY = "**Thinking it over**\n\nThe request is clear, so the answer follows from it."
"""What every summary says: the fake model thinks nothing."""


def is_shown(turn: Turn, reply: Reply) -> bool:
    """Whether the response has the item: the client asked for a summary, or tokens were spent on reasoning."""
    if reply.finish == "failed" and not reply.text:
        return False
    return bool(_summary(turn)) or (reply.usage is not None and reply.usage.reasoning_tokens > 0)


def item(turn: Turn, stamp: Stamp) -> str:
    """The whole item as JSON."""
    text = _summary(turn)
    return _item(turn, stamp, f'{{"type":"summary_text","text":{quoted(text)}}}' if text else "")


def parts(turn: Turn, reply: Reply, stamp: Stamp) -> Iterator[tuple[str, str]]:
    """The item's events, as the names and the members that :mod:`.stream` numbers."""
    text = _summary(turn)
    where = f'"item_id":"{_item_id(stamp)}","output_index":0,"summary_index":0'
    yield "response.output_item.added", f'"output_index":0,"item":{_item(turn, stamp, "")}'
    if text:
        yield "response.reasoning_summary_part.added", f'{where},"part":{{"type":"summary_text","text":""}}'
        for piece in cut_text(text, reply.chunk_size):
            yield "response.reasoning_summary_text.delta", f'{where},"delta":{quoted(piece)}'
        yield "response.reasoning_summary_text.done", f'{where},"text":{quoted(text)}'
        done = f'{{"type":"summary_text","text":{quoted(text)}}}'
        yield "response.reasoning_summary_part.done", f'{where},"part":{done}'
    yield "response.output_item.done", f'"output_index":0,"item":{item(turn, stamp)}'


def _item_id(stamp: Stamp) -> str:
    return f"rs_{stamp.id}00"


def _item(turn: Turn, stamp: Stamp, summary: str) -> str:
    wanted = "reasoning.encrypted_content" in (turn.raw.get("include") or ())
    encrypted = f',"encrypted_content":"gAAAAA{stamp.id}=="' if wanted else ""
    return f'{{"id":"{_item_id(stamp)}","type":"reasoning","summary":[{summary}]{encrypted}}}'


def _summary(turn: Turn) -> str:
    return SUMMARY if (turn.raw.get("reasoning") or {}).get("summary") else ""
