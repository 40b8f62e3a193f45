"""What of a request can be cited, and where in it something stands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fake_llm.dialects.wire import to_json
from fake_llm.model import Citation, Json

FIRST_WORDS = re.compile(r"\s*\S.{0,198}?(?:[.!?](?=\s|$)|$)|\s*\S.{0,198}", re.DOTALL)
"""What is cited of a source where the citation does not say: its first sentence."""

Block = Mapping[str, Json]


def documents(body: Mapping[str, Json]) -> list[Block]:
    """The documents, in the order in which citations number them."""
    return [block for block in _blocks(body) if block.get("type") == "document"]


def cites(body: Mapping[str, Json]) -> bool:
    """Whether the client asks for citations."""
    return any(_enabled(block) for block in _blocks(body))


def locate(citation: Citation, body: Mapping[str, Json]) -> dict[str, Json] | None:
    """The citation as the API has it; None for a source that the client did not ask to have cited."""
    if citation.document is None:
        return _found_result(citation, body) or (_page(citation) if citation.url else None)
    found = documents(body)
    if citation.document >= len(found) or not _enabled(found[citation.document]):
        return None
    document = found[citation.document]
    source = document["source"]
    common: dict[str, Json] = {
        "document_index": citation.document,
        "document_title": document.get("title") or citation.title or None,
        "file_id": source.get("file_id"),
    }
    if source["type"] == "text":
        start, end = _place(citation.quote, source["data"])
        quote = source["data"][start:end] or citation.quote
        return {"type": "char_location", "cited_text": quote, **common,
                "start_char_index": start, "end_char_index": end}  # fmt: skip
    if source["type"] == "content":
        content = source["content"]
        texts = [content] if isinstance(content, str) else [str(part.get("text") or "") for part in content]
        block = _block_with(citation.quote, texts)
        return {"type": "content_block_location", "cited_text": texts[block] if texts else citation.quote, **common,
                "start_block_index": block, "end_block_index": block + 1}  # fmt: skip
    return {"type": "page_location", "cited_text": citation.quote, **common,
            "start_page_number": 1, "end_page_number": 2}  # fmt: skip


def _found_result(citation: Citation, body: Mapping[str, Json]) -> dict[str, Json] | None:
    """The citation of a ``search_result`` block of the request whose source is the cited URL."""
    results = [block for block in _blocks(body) if block.get("type") == "search_result"]
    for index, result in enumerate(results):
        if result["source"] != citation.url or not _enabled(result):
            continue
        texts = [str(part.get("text") or "") for part in result["content"]]
        block = _block_with(citation.quote, texts)
        return {
            "type": "search_result_location",
            "cited_text": texts[block] if texts else citation.quote,
            "search_result_index": index,
            "source": result["source"],
            "title": result.get("title"),
            "start_block_index": block,
            "end_block_index": block + 1,
        }
    return None


def _page(citation: Citation) -> dict[str, Json]:
    return {
        "type": "web_search_result_location",
        "cited_text": citation.quote or citation.words,
        "encrypted_index": to_json([citation.url, citation.quote]).encode().hex()[:120],
        "title": citation.title or None,
        "url": citation.url,
    }


def _blocks(body: Mapping[str, Json]) -> Iterator[Block]:
    """The blocks of all messages, those inside of tool results among them."""
    for message in body["messages"]:
        content = message["content"]
        for block in content if isinstance(content, list) else ():
            yield block
            if block.get("type") == "tool_result" and isinstance(block.get("content"), list):
                yield from block["content"]


def _enabled(block: Block) -> bool:
    wanted = block.get("citations")
    return isinstance(wanted, Mapping) and bool(wanted.get("enabled"))


def _place(quote: str, text: str) -> tuple[int, int]:
    """Where the quote stands; a source without it is cited by as many characters from its start."""
    if quote:
        at = max(text.find(quote), 0)
        return at, min(at + len(quote), len(text))
    first = FIRST_WORDS.match(text)
    return (0, first.end()) if first else (0, len(text))


def _block_with(quote: str, texts: list[str]) -> int:
    return next((number for number, text in enumerate(texts) if quote and quote in text), 0)
