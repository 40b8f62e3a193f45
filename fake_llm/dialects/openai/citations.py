"""Where in a reply's text its citations stand."""

from __future__ import annotations

from collections.abc import Iterator

from fake_llm.model import Citation, Json, Reply


def cited(reply: Reply) -> Iterator[tuple[Citation, int, int]]:
    """Each citation with the first character that it stands for and the one after the last.

    Words that occur several times are cited where they first occur after the citation before; words that were cut off
    are not cited.
    """
    if reply.refusal is not None or not reply.text:
        return
    behind = 0
    for citation in reply.citations:
        if not citation.words:
            yield citation, 0, len(reply.text)
            continue
        start = reply.text.find(citation.words, behind)
        if start < 0:
            start = reply.text.find(citation.words)
        if start >= 0:
            behind = start + len(citation.words)
            yield citation, start, behind


def url_citation(citation: Citation, start: int, end: int) -> dict[str, Json]:
    """The members by which both dialects cite a page."""
    return {"start_index": start, "end_index": end, "title": citation.title, "url": citation.url}
