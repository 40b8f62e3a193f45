"""Citations and the tools that Google's own servers ran, as a candidate shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from fake_llm.dialects.google.sources import (
    CODE,
    FILES,
    PAGES,
    SEARCH,
    code_of,
    output_text,
    page_status,
    queries_of,
    search_suggestions,
    segment,
    urls_of,
)
from fake_llm.model import Citation, Json, Reply, ServerTool, Turn

_SEARCHING = frozenset({"googleSearch", "googleSearchRetrieval", "enterpriseWebSearch", "fileSearch"})


def code_parts(tools: Sequence[ServerTool]) -> list[Json]:
    """The code that was run and what came of it, two parts each."""
    return [part for tool in tools if tool.name == CODE for part in _code(tool)]


def shown_with(turn: Turn, reply: Reply) -> dict[str, Json]:
    """The members of a candidate that tell where its words come from: grounding, citations, pages that were read."""
    if not (reply.citations or reply.server_tools):
        return {}
    found: dict[str, Json] = {}
    grounding = _grounding(turn, reply)
    if grounding:
        found["groundingMetadata"] = grounding
    elif reply.citations:
        found["citationMetadata"] = {"citationSources": [_source(reply.text, one) for one in reply.citations]}
    pages = [page for tool in reply.server_tools if tool.name in PAGES for page in _pages(tool)]
    if pages:
        found["urlContextMetadata"] = {"urlMetadata": pages}
    return found


def _code(tool: ServerTool) -> Iterator[Json]:
    own_id = {"id": tool.id} if tool.id else {}
    yield {"executableCode": {**own_id, "language": "PYTHON", "code": code_of(tool)}}
    outcome = "OUTCOME_OK"
    if tool.error:
        outcome = "OUTCOME_DEADLINE_EXCEEDED" if "deadline" in tool.error.lower() else "OUTCOME_FAILED"
    yield {"codeExecutionResult": {**own_id, "outcome": outcome, "output": tool.error or output_text(tool.output)}}


def _grounding(turn: Turn, reply: Reply) -> dict[str, Json]:
    """The metadata of a search, or nothing where none was made and none could have been."""
    searches = [tool for tool in reply.server_tools if tool.name in (SEARCH, FILES)]
    offered = any(tool.name in _SEARCHING for tool in turn.tools)
    if not searches and not (offered and reply.citations):
        return {}
    found: dict[str, Json] = {}
    web = [query for tool in searches if tool.name == SEARCH for query in queries_of(tool)]
    files = [query for tool in searches if tool.name == FILES for query in queries_of(tool)]
    if web:
        found["searchEntryPoint"] = {"renderedContent": search_suggestions(web)}
    if reply.citations:
        found["groundingChunks"] = [_chunk(citation) for citation in reply.citations]
        found["groundingSupports"] = _supports(reply)
    if web:
        found["webSearchQueries"] = web
    if files:
        found["retrievalQueries"] = files
    return found


def _chunk(citation: Citation) -> Json:
    if citation.url:
        host = urlsplit(citation.url).hostname or ""
        return {"web": {"uri": citation.url, "title": citation.title or host}}
    return {"retrievedContext": {"title": citation.title, "text": citation.quote}}


def _supports(reply: Reply) -> list[Json]:
    """What of the text rests on which chunk; several sources of the same words are one support."""
    chunks: dict[tuple[int, int], list[int]] = {}
    for place, citation in enumerate(reply.citations):
        if (found := segment(reply.text, citation.words)) is not None:
            chunks.setdefault(found, []).append(place)
    encoded = reply.text.encode("utf-8", "surrogatepass")
    return [
        {
            "segment": {
                "startIndex": start,
                "endIndex": end,
                "text": encoded[start:end].decode("utf-8", "surrogatepass"),
            },
            "groundingChunkIndices": places,
        }
        for (start, end), places in chunks.items()
    ]


def _source(text: str, citation: Citation) -> Json:
    found = segment(text, citation.words)
    where = {"startIndex": found[0], "endIndex": found[1]} if found else {}
    return {**where, **({"uri": citation.url} if citation.url else {})}


def _pages(tool: ServerTool) -> list[Json]:
    status = f"URL_RETRIEVAL_STATUS_{page_status(tool.error).upper()}"
    return [{"retrievedUrl": url, "urlRetrievalStatus": status} for url in urls_of(tool)]
