"""Citations as annotations of the message's text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fake_llm.dialects.openai.citations import cited, url_citation
from fake_llm.model import Citation, Json, Reply, Turn


def annotations_of(turn: Turn, reply: Reply) -> list[dict[str, Json]]:
    """A source with an address is a page, any other one a file: of the search, or among those that were sent."""
    if not reply.citations:
        return []
    return [
        {"type": "url_citation", **url_citation(citation, start, end)}
        if citation.url
        else _file(turn, reply, citation, end)
        for citation, start, end in cited(reply)
    ]


def _file(turn: Turn, reply: Reply, citation: Citation, end: int) -> dict[str, Json]:
    found = _source(turn, reply, citation)
    name = citation.title or str(found.get("filename") or "")
    file_id = found.get("file_id") or f"file-{citation.document or 0}"
    return {"type": "file_citation", "index": end, "file_id": str(file_id), "filename": name}


def _source(turn: Turn, reply: Reply, citation: Citation) -> Mapping[str, Json]:
    sent = list(_sent_files(turn))
    if citation.document is not None and citation.document < len(sent):
        return sent[citation.document]
    found = [
        one
        for tool in reply.server_tools
        if tool.name == "file_search" and isinstance(tool.output, list)
        for one in tool.output
        if isinstance(one, Mapping)
    ]
    if citation.document is not None and citation.document < len(found):
        return found[citation.document]
    return next((one for one in found if citation.title and one.get("filename") == citation.title), {})


def _sent_files(turn: Turn) -> Iterator[Mapping[str, Json]]:
    sent = turn.raw.get("input")
    for item in sent if isinstance(sent, list) else ():
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, Mapping) and part.get("type") == "input_file":
                yield part
