"""The steps of tools that Google's own servers ran: a call and a result for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
    urls_of,
)
from fake_llm.model import Json, ServerTool, Stamp

Step = dict[str, Json]


def hosted_steps(tools: Sequence[ServerTool], stamp: Stamp) -> Iterator[Step]:
    """The steps in order."""
    for place, tool in enumerate(tools):
        yield from _steps(tool, tool.id or f"tool_{stamp.id}{place:02}")


def _steps(tool: ServerTool, own: str) -> tuple[Step, Step]:
    failed = {"is_error": True} if tool.error else {}
    if tool.name == CODE:
        arguments = {"language": "python", "code": code_of(tool)}
        result = tool.error or output_text(tool.output)
        return _call("code_execution", own, arguments), _result("code_execution", own, result, failed)
    if tool.name == SEARCH:
        queries = queries_of(tool)
        found = [] if tool.error else [{"search_suggestions": search_suggestions(queries)}]
        return _call("google_search", own, {"queries": queries}), _result("google_search", own, found, failed)
    if tool.name in PAGES:
        urls = urls_of(tool)
        read = [{"url": url, "status": page_status(tool.error)} for url in urls]
        return _call("url_context", own, {"urls": urls}), _result("url_context", own, read, failed)
    if tool.name == FILES:
        return {"type": "file_search_call", "id": own}, {"type": "file_search_result", "call_id": own}
    return _mcp(tool, own)


def _call(kind: str, own: str, arguments: Mapping[str, Json]) -> Step:
    return {"type": f"{kind}_call", "id": own, "arguments": dict(arguments)}


def _result(kind: str, own: str, result: Json, failed: Mapping[str, Json]) -> Step:
    return {"type": f"{kind}_result", "call_id": own, "result": result, **failed}


def _mcp(tool: ServerTool, own: str) -> tuple[Step, Step]:
    """A tool of an MCP server; which one it is lies in the input, where the scenario tells."""
    asked = tool.input
    names = {
        "name": str(asked.get("name") or asked.get("tool") or tool.name),
        "server_name": str(asked.get("server_name") or asked.get("server_label") or asked.get("server") or "mcp"),
    }
    arguments = asked.get("arguments")
    arguments = dict(arguments if isinstance(arguments, Mapping) else asked)
    call: Step = {"type": "mcp_server_tool_call", "id": own, **names, "arguments": arguments}
    result = tool.error or output_text(tool.output)
    return call, {"type": "mcp_server_tool_result", "call_id": own, **names, "result": result}
