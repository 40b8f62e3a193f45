"""Tools that Anthropic's server ran before the model answered: the block of each call, and the block of its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from fake_llm.dialects.anthropic.tools import family
from fake_llm.dialects.wire import to_json
from fake_llm.model import Json, ServerTool, Stamp, Turn

CONTAINER_LIVES_S = 3_600
_CODE = frozenset({"code_execution", "bash_code_execution", "text_editor_code_execution"})


class Ran(NamedTuple):
    """A call and its result; a result is missing where the turn was paused before it."""

    call: dict[str, Json]
    result: dict[str, Json] | None


def blocks(turn: Turn, tools: tuple[ServerTool, ...], stamp: Stamp, *, paused: bool) -> list[Ran]:
    """The blocks of all tools that this API has; ``paused``: the last one is still to be run if nothing came of it."""
    found: list[Ran] = []
    for place, tool in enumerate(tools):
        waits = paused and place == len(tools) - 1 and tool.output is None and not tool.error
        if tool.name == "mcp":
            call = _mcp_call(tool, f"{stamp.id[:22]}{place:02x}")
            found.append(Ran(call, None if waits else _mcp_result(tool, call["id"])))
        elif name := _name(tool.name, turn):
            call_id = tool.id or f"srvtoolu_{stamp.id[:22]}{place:02x}"
            call = {"type": "server_tool_use", "id": call_id, "name": name, "input": dict(tool.input)}
            found.append(Ran(call, None if waits else _result(tool, name, call_id, turn, stamp)))
    return found


def usage(tools: tuple[ServerTool, ...]) -> dict[str, int] | None:
    """How often what is counted was asked for, or None where no tool ran."""
    if not tools:
        return None
    names = [tool.name for tool in tools]
    return {"web_search_requests": names.count("web_search"), "web_fetch_requests": names.count("web_fetch")}


def container(turn: Turn, tools: tuple[ServerTool, ...], stamp: Stamp) -> dict[str, Json] | None:
    """The container that code was run in: the one that the client named, else a new one. None where none was."""
    if not any(tool.name in _CODE for tool in tools):
        return None
    asked = turn.raw.get("container")
    named = asked.get("id") if isinstance(asked, Mapping) else asked
    return {"id": named or f"container_{stamp.id}", "expires_at": _instant(stamp.created + CONTAINER_LIVES_S)}


def _name(name: str, turn: Turn) -> str | None:
    """The name in this API, or None for a tool that it has not."""
    if name == "tool_search":
        offered = (family(str(tool.get("type") or "")) for tool in turn.raw.get("tools") or ())
        return next((one for one in offered if one.startswith("tool_search_tool_")), "tool_search_tool_bm25")
    return name if name in _RESULTS else None


def _result(tool: ServerTool, name: str, call_id: str, turn: Turn, stamp: Stamp) -> dict[str, Json]:
    kind = "tool_search_tool_result" if name.startswith("tool_search_tool_") else f"{name}_tool_result"
    content: Json = {"type": f"{kind}_error", "error_code": tool.error}
    if not tool.error:
        content = _RESULTS[name](tool, turn, stamp)
    return {"type": kind, "tool_use_id": call_id, "content": content}


def _search(tool: ServerTool, _: Turn, __: Stamp) -> Json:
    """Each result a URL, or an object with ``url`` and what else there is of ``title``, ``text`` and ``page_age``."""
    found = tool.output if isinstance(tool.output, list) else [tool.output] if tool.output else []
    pages = [page if isinstance(page, Mapping) else {"url": str(page)} for page in found]
    return [
        {
            "type": "web_search_result",
            "url": page.get("url", ""),
            "title": page.get("title") or page.get("url", ""),
            "encrypted_content": page.get("encrypted_content") or to_json(page).encode().hex()[:400],
            "page_age": page.get("page_age"),
        }
        for page in pages
    ]


def _fetch(tool: ServerTool, _: Turn, stamp: Stamp) -> Json:
    """What was fetched: its text, or an object with ``text`` and what else there is of ``title`` and ``url``."""
    page = _object(tool.output, "text")
    source = {"type": "text", "media_type": "text/plain", "data": str(page.get("text") or "")}
    document = {"type": "document", "source": source, "title": page.get("title"), "citations": None}
    url = page.get("url") or tool.input.get("url") or ""
    return {"type": "web_fetch_result", "url": url, "content": document, "retrieved_at": _instant(stamp.created)}


def _code(tool: ServerTool, _: Turn, __: Stamp) -> Json:
    """What the code wrote: its output, or an object with ``stdout``, ``stderr``, ``return_code``, ``files``."""
    bash = "bash_" if tool.name.startswith("bash") else ""
    ran = _object(tool.output, "stdout")
    files = [{"type": f"{bash}code_execution_output", "file_id": str(one)} for one in ran.get("files") or ()]
    return {
        "type": f"{bash}code_execution_result",
        "stdout": str(ran.get("stdout") or ""),
        "stderr": str(ran.get("stderr") or ""),
        "return_code": ran.get("return_code") or 0,
        "content": files,
    }


def _editor(tool: ServerTool, _: Turn, __: Stamp) -> Json:
    """What was done with a file, by the input's ``command``: its text, or an object with the result's own fields."""
    command = tool.input.get("command")
    done = _object(tool.output, "content")
    if command in ("create", "insert"):
        fields: dict[str, Json] = {"is_file_update": False}
        command = "create"
    elif command == "str_replace":
        fields = dict.fromkeys(("lines", "new_lines", "new_start", "old_lines", "old_start"))
    else:
        lines = str(done.get("content") or "").count("\n") + 1
        fields = {"content": "", "file_type": "text", "num_lines": lines, "start_line": 1, "total_lines": lines}
        command = "view"
    fields.update((name, value) for name, value in done.items() if name in fields)
    return {"type": f"text_editor_code_execution_{command}_result", **fields}


def _tools_found(tool: ServerTool, turn: Turn, _: Stamp) -> Json:
    """The names of what was found; without any all tools whose loading was deferred."""
    names = tool.output
    if not isinstance(names, list):
        names = [one["name"] for one in turn.raw.get("tools") or () if one.get("defer_loading") and "name" in one]
    references = [{"type": "tool_reference", "tool_name": str(name)} for name in names]
    return {"type": "tool_search_tool_search_result", "tool_references": references}


def _mcp_call(tool: ServerTool, number: str) -> dict[str, Json]:
    """A call of an MCP server's tool, whose input names the ``server`` and the ``tool`` and has its ``arguments``."""
    return {
        "type": "mcp_tool_use",
        "id": tool.id or f"mcptoolu_{number}",
        "name": tool.input.get("tool") or "tool",
        "server_name": tool.input.get("server") or "server",
        "input": tool.input.get("arguments") or {},
    }


def _mcp_result(tool: ServerTool, call_id: Json) -> dict[str, Json]:
    said = tool.error or (tool.output if isinstance(tool.output, str) else to_json(tool.output))
    content = [{"type": "text", "text": said, "citations": None}]
    return {"type": "mcp_tool_result", "tool_use_id": call_id, "is_error": bool(tool.error), "content": content}


def _object(output: Json, name: str) -> Mapping[str, Json]:
    """An output that is written as an object, or as what stands at ``name`` in it."""
    return output if isinstance(output, Mapping) else {name: output}


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_RESULTS: dict[str, Callable[[ServerTool, Turn, Stamp], Json]] = {
    "web_search": _search,
    "web_fetch": _fetch,
    "code_execution": _code,
    "bash_code_execution": _code,
    "text_editor_code_execution": _editor,
    "tool_search_tool_regex": _tools_found,
    "tool_search_tool_bm25": _tools_found,
}
