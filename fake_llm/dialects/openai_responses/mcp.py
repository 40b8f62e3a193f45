"""Calls to MCP servers: the list of a server's tools, calls, and requests for approval.

The neutral call's ``input`` has ``server``, ``tool`` and ``arguments``; without ``arguments`` all else of it is these.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from fake_llm.dialects.openai_responses.steps import Hosted, Step
from fake_llm.finish import cut_text
from fake_llm.model import Json, ServerTool

_SERVER, _TOOL = ("server", "server_label", "server_name"), ("tool", "name")


def mcp_items(
    tool: ServerTool, unique: str, raw: Mapping[str, Json], listed: Collection[str], chunk_size: int | None
) -> list[Hosted]:
    """The items of one call: before a server's first one the list of its tools, then the call, or the question for it.

    ``raw`` is the request, ``listed`` the servers whose tools this response has listed.
    """
    offered = [one for one in raw.get("tools") or () if isinstance(one, Mapping) and one.get("type") == "mcp"]
    label = _named(tool.input, _SERVER) or (str(offered[0].get("server_label")) if offered else "mcp")
    server = next((one for one in offered if one.get("server_label") == label), None)
    name = _named(tool.input, _TOOL) or "tool"
    rest = {key: value for key, value in tool.input.items() if key not in (*_SERVER, *_TOOL)}
    arguments = json.dumps(tool.input.get("arguments", rest), ensure_ascii=False)
    sent = raw.get("input")
    before = [one for one in sent if isinstance(one, Mapping)] if isinstance(sent, list) else []
    items: list[Hosted] = []
    if label not in listed and not any(
        one.get("type") == "mcp_list_tools" and one.get("server_label") == label for one in before
    ):
        items.append(_list_of_tools(label, name, unique))
    answer = next((one for one in reversed(before) if one.get("type") == "mcp_approval_response"), None)
    said = {"arguments": arguments, "name": name, "server_label": label}
    if tool.output is None and not tool.error and answer is None and server and _needs_approval(server, name):
        asked = {"id": tool.id or f"mcpr_{unique}", "type": "mcp_approval_request", **said}
        return [*items, Hosted(asked, asked, waits=True)]
    approved = answer.get("approval_request_id") if answer is not None else None
    return [*items, _call(tool, tool.id or f"mcp_{unique}", said, approved, chunk_size)]


def _call(tool: ServerTool, item_id: str, said: dict[str, Json], approved: Json, chunk_size: int | None) -> Hosted:
    error, output = None, tool.output
    if tool.error:
        error = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": tool.error}]}
        output = None
    elif output is not None and not isinstance(output, str):
        output = json.dumps(output, ensure_ascii=False)
    status = "failed" if tool.error else "completed"
    item = {"id": item_id, "type": "mcp_call", **said, "approval_request_id": approved}
    between: list[Step] = [("response.mcp_call.in_progress", {})]
    pieces = cut_text(said["arguments"], chunk_size)
    between += [("response.mcp_call_arguments.delta", {"delta": piece}) for piece in pieces]
    between += [("response.mcp_call_arguments.done", {"arguments": said["arguments"]})]
    between += [(f"response.mcp_call.{status}", {})]
    return Hosted(
        {**item, "status": status, "error": error, "output": output},
        {**item, "status": "in_progress", "arguments": "", "error": None, "output": None},
        between,
    )


def _list_of_tools(label: str, name: str, unique: str) -> Hosted:
    schema = {"type": "object", "properties": {}, "additionalProperties": True}
    tools = [{"name": name, "description": None, "input_schema": schema, "annotations": None}]
    item: dict[str, Json] = {"id": f"mcpl_{unique}", "type": "mcp_list_tools", "server_label": label}
    stages: list[Step] = [(f"response.mcp_list_tools.{stage}", {}) for stage in ("in_progress", "completed")]
    return Hosted({**item, "tools": tools}, {**item, "tools": []}, stages, label=label)


def _needs_approval(server: Mapping[str, Json], name: str) -> bool:
    """Whether the client is asked first, which it is unless it said never."""
    rule = server.get("require_approval")
    if isinstance(rule, Mapping):
        never = rule.get("never")
        return not (isinstance(never, Mapping) and name in (never.get("tool_names") or ()))
    return bool(rule != "never")


def _named(given: Mapping[str, Json], keys: tuple[str, ...]) -> str:
    return next((value for key in keys if isinstance(value := given.get(key), str)), "")
