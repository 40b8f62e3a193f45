"""Citations and the tools that Google's own servers ran, as a candidate shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from fake_llm.dialects.wire import to_json
from fake_llm.model import Citation, Json, Reply, ServerTool, Turn
from fake_llm.tokens import count

SEARCH = "web_search"
FILES = "file_search"
CODE = "code_execution"
PAGES = ("url_context", "web_fetch")

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


def tool_tokens(reply: Reply) -> int:
    """Tokens of what the tools gave back to the model."""
    return sum(count(_text(tool.output)) for tool in reply.server_tools)


def segment(text: str, words: str) -> tuple[int, int] | None:
    """Where ``words`` are in ``text``, in bytes; None where they are not, as after a cut."""
    at = text.find(words)
    if at < 0:
        return None
    start = len(text[:at].encode())
    return start, start + len((words or text).encode())


def queries_of(tool: ServerTool) -> list[str]:
    """What a search was asked for."""
    asked = tool.input.get("queries") or tool.input.get("query") or []
    return [str(one) for one in asked] if isinstance(asked, list) else [str(asked)]


def _code(tool: ServerTool) -> Iterator[Json]:
    own_id = {"id": tool.id} if tool.id else {}
    code = tool.input.get("code")
    yield {"executableCode": {**own_id, "language": "PYTHON", "code": code if isinstance(code, str) else ""}}
    outcome = "OUTCOME_OK"
    if tool.error:
        outcome = "OUTCOME_DEADLINE_EXCEEDED" if "deadline" in tool.error.lower() else "OUTCOME_FAILED"
    yield {"codeExecutionResult": {**own_id, "outcome": outcome, "output": tool.error or _text(tool.output)}}


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
        links = "".join(f'<a class="chip">{_escaped(query)}</a>' for query in web)
        found["searchEntryPoint"] = {"renderedContent": f'<div class="container">{links}</div>'}
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
    encoded = reply.text.encode()
    return [
        {
            "segment": {"startIndex": start, "endIndex": end, "text": encoded[start:end].decode()},
            "groundingChunkIndices": places,
        }
        for (start, end), places in chunks.items()
    ]


def _source(text: str, citation: Citation) -> Json:
    found = segment(text, citation.words)
    where = {"startIndex": found[0], "endIndex": found[1]} if found else {}
    return {**where, **({"uri": citation.url} if citation.url else {})}


def _pages(tool: ServerTool) -> list[Json]:
    asked = tool.input.get("urls") or tool.input.get("url") or []
    status = "URL_RETRIEVAL_STATUS_" + (_status(tool.error) if tool.error else "SUCCESS")
    urls = asked if isinstance(asked, list) else [asked]
    return [{"retrievedUrl": str(url), "urlRetrievalStatus": status} for url in urls]


def _status(error: str) -> str:
    return error.upper() if error.lower() in ("paywall", "unsafe") else "ERROR"


def _text(output: Json) -> str:
    if output is None:
        return ""
    return output if isinstance(output, str) else to_json(output)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
