"""The tools of an interaction, and what it says about calling them."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.google.fields import as_message, get, repeated, text
from fake_llm.model import Json, ProtocolError, Tool, ToolChoice

HOSTED = frozenset({
    "code_execution", "computer_use", "file_search", "google_maps", "google_search", "mcp_server", "retrieval",
    "tool_search", "url_context",
})  # fmt: skip
MODES = ("auto", "any", "none", "validated")


def tools_of(body: Mapping[str, Json]) -> tuple[Tool, ...]:
    """The functions, and Google's own tools by their type.

    :raises ProtocolError: one of them is not as it must be.
    """
    found: list[Tool] = []
    for place, written in enumerate(repeated(body, "tools")):
        at = f"tools[{place}]"
        tool = as_message(written, at, "Tool")
        kind = text(tool, "type", at)
        if kind == "function":
            found.append(_function(tool, at))
        elif kind in HOSTED:
            found.append(Tool(kind or ""))
        else:
            raise ProtocolError(f"Unknown type '{kind}' of {at}.", param=f"{at}.type")
    names = [tool.name for tool in found]
    for name in names:
        if names.count(name) > 1:
            raise ProtocolError(f"Duplicate function declaration found: {name}")
    return tuple(found)


def tool_choice_of(config: Mapping[str, Json], tools: tuple[Tool, ...]) -> ToolChoice:
    """Whether a function may, must or must not be called: a mode, or ``allowed_tools`` with a mode and names.

    :raises ProtocolError: it is neither, or names a function that there is none of.
    """
    written = get(config, "toolChoice")
    if written is None:
        return ToolChoice()
    at = "generation_config.tool_choice"
    mode: Json = written
    allowed: tuple[Json, ...] = ()
    if not isinstance(written, str):
        allowing = as_message(get(as_message(written, at, "ToolChoice"), "allowedTools"), at, "AllowedTools")
        mode, allowed = allowing.get("mode") or "auto", tuple(repeated(allowing, "tools"))
    if mode not in MODES:
        raise ProtocolError(f"Unknown mode {mode!r} of {at}.", param=at)
    functions = tuple(tool.name for tool in tools if tool.name not in HOSTED)
    for name in allowed:
        if name not in functions:
            raise ProtocolError(f"No function is declared with the name {name!r}.", param=at)
    if mode == "any":
        if not functions:
            raise ProtocolError("A tool choice of 'any' needs functions.", param=at)
        return ToolChoice("required", allowed or functions, named=len(allowed) == 1)
    return ToolChoice("none" if mode == "none" else "auto", allowed)


def _function(tool: Mapping[str, Json], at: str) -> Tool:
    name = text(tool, "name", at)
    if not name:
        raise ProtocolError(f"{at}.name is required.", param=f"{at}.name")
    parameters = tool.get("parameters")
    schema = {"type": "object", "properties": {}} if parameters is None else parameters
    return Tool(name, text(tool, "description", at) or "", as_message(schema, f"{at}.parameters", "Schema"))
