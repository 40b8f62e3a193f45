"""The tools that a request offers: the client's own, those that Anthropic defines, and those that its server runs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fake_llm.dialects.anthropic import toolsets
from fake_llm.dialects.anthropic.checks import mapping, number, one_of, refuse, text
from fake_llm.dialects.anthropic.strict import problem
from fake_llm.model import Json, Tool, ToolChoice

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_DATED = re.compile(r"([a-z0-9_]*[a-z0-9])_\d{8}")
_CHOICES = ("auto", "any", "tool", "none")

RUN_BY_THE_SERVER = {
    "web_search": "web_search",
    "web_fetch": "web_fetch",
    "code_execution": "code_execution",
    "tool_search_tool_regex": "tool_search_tool_regex",
    "tool_search_tool_bm25": "tool_search_tool_bm25",
    "advisor": "advisor",
}
"""Families of tools that Anthropic runs itself, and the names that they must have. The fake model never calls one."""
TOOLSET = "mcp_toolset"


def family(kind: str) -> str:
    """The type of a tool without its date."""
    dated = _DATED.fullmatch(kind)
    return dated[1] if dated else kind


def is_run_by_the_server(written: Mapping[str, Json]) -> bool:
    """Whether the client never sees a call to it."""
    found = family(str(written.get("type") or ""))
    return found in RUN_BY_THE_SERVER or found == TOOLSET


def read(body: Mapping[str, Json]) -> list[tuple[Tool, ...]]:
    """The neutral tools of each entry of ``tools``; a toolset is several, one of MCP is none that has a name here.

    :raises ProtocolError: Anthropic refuses one.
    """
    found = [_tools(tool, f"tools.{place}") for place, tool in enumerate(body.get("tools") or ())]
    names = [tool.name for tools in found for tool in tools if tool.description not in toolsets.MEMBERS]
    if len(names) != len(set(names)):
        refuse("tools: Tool names must be unique.")
    return found


def read_choice(body: Mapping[str, Json], tools: tuple[Tool, ...]) -> ToolChoice:
    """How the model is to choose. It is never left a tool of the server to call.

    :raises ProtocolError: Anthropic refuses the choice.
    """
    choice = body.get("tool_choice")
    kind = "auto" if choice is None else choice.get("type")
    if kind not in _CHOICES:
        refuse(
            "tool_choice: Input tag found using 'type' does not match any of the expected tags: "
            "'auto', 'any', 'tool', 'none'"
        )
    written = body.get("tools") or ()
    if kind in ("any", "tool") and not written:
        refuse("tool_choice: tool_choice may only be specified while providing tools")
    if kind == "none":
        return ToolChoice("none")
    hosted = {str(tool["name"]) for tool in written if is_run_by_the_server(tool) and tool.get("name")}
    if kind == "tool":
        name = choice.get("name") if choice else None
        if not isinstance(name, str):
            refuse("tool_choice.tool.name: Field required")
        if name not in {tool.name for tool in tools}:
            refuse(f"tool_choice.tool.name: Tool '{name}' not found in provided tools")
        return ToolChoice() if name in hosted else ToolChoice("required", (name,), named=True)
    own = tuple(tool.name for tool in tools if tool.name not in hosted)
    return ToolChoice("required" if kind == "any" and own else "auto", own if hosted else ())


def _tools(written: Json, at: str) -> tuple[Tool, ...]:
    kind = mapping(written, at).get("type")
    if kind in (None, "custom"):
        return (_custom(written, f"{at}.custom"),)
    found = family(str(kind))
    at = f"{at}.{kind}"
    if found == TOOLSET:
        text(written, "mcp_server_name", at=f"{at}.mcp_server_name")
        return ()
    if found in toolsets.MEMBERS:
        return toolsets.members(found, written)
    name = RUN_BY_THE_SERVER.get(found)
    if name is None and found in toolsets.SCHEMAS:
        name = toolsets.name_of(str(kind))
        if found == "computer":
            for side in ("display_width_px", "display_height_px"):
                number(written, side, required=True, low=1, at=f"{at}.{side}")
    if name is None:
        known = ("custom", TOOLSET, *RUN_BY_THE_SERVER, *toolsets.SCHEMAS, *toolsets.MEMBERS)
        refuse(
            f"{at.rpartition('.')[0]}: Input tag '{kind}' found using 'type' does not match any of the expected tags: "
            + ", ".join(f"'{one}'" for one in sorted(known))
        )
    one_of(text(written, "name", at=f"{at}.name"), (name,), f"{at}.name")
    return (Tool(name, str(kind), toolsets.SCHEMAS.get(found, {})),)


def _custom(written: Mapping[str, Json], at: str) -> Tool:
    name = written.get("name")
    if not isinstance(name, str):
        refuse(f"{at}.name: Field required")
    if not _NAME.fullmatch(name):
        refuse(f"{at}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    schema = written.get("input_schema")
    if not isinstance(schema, Mapping):
        refuse(f"{at}.input_schema: Field required")
    if schema.get("type") is None:
        refuse(f"{at}.input_schema.type: Field required")
    if schema["type"] != "object":
        refuse(f"{at}.input_schema.type: Input should be 'object'")
    if written.get("strict") and (why := problem(schema)):
        refuse(f"{at}: {why}")
    return Tool(name, str(written.get("description") or ""), schema)
