"""The tools that a Responses request offers, and what it says about choosing from them."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.openai.refusals import function_name, invalid, missing, wrong_type, wrong_value
from fake_llm.dialects.openai.strict import problem
from fake_llm.model import Json, Tool, ToolChoice

HOSTED = (
    "apply_patch", "code_interpreter", "computer", "computer_use_preview", "file_search", "image_generation",
    "local_shell", "mcp", "namespace", "programmatic_tool_calling", "shell", "tool_search", "web_search",
    "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11",
)  # fmt: skip
"""Tools that OpenAI runs itself. They are taken, and the fake model never calls one."""


def tools_of(body: Mapping[str, Json]) -> tuple[Tool, ...]:
    """The tools that the client runs itself."""
    found = (_tool(tool, f"tools[{place}]") for place, tool in enumerate(body.get("tools") or ()))
    return tuple(tool for tool in found if tool is not None)


def _tool(written: Json, param: str) -> Tool | None:
    if not isinstance(written, Mapping):
        wrong_type(param, "object", written)
    kind = written.get("type")
    if kind is None:
        missing(f"{param}.type")
    if kind in HOSTED:
        return None
    if kind not in ("function", "custom"):
        wrong_value(f"{param}.type", kind, ("function", "custom", *HOSTED))
    name = function_name(written, param)
    description = str(written.get("description") or "")
    if kind == "custom":
        return Tool(name, description, custom=True)
    schema = written.get("parameters")
    if schema is not None and not isinstance(schema, Mapping):
        wrong_type(f"{param}.parameters", "object", schema)
    why = problem(schema) if written.get("strict") else None
    if schema and schema.get("type", "object") != "object":
        why = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    if why:
        invalid(f"Invalid schema for function '{name}': {why}", f"{param}.parameters", "invalid_function_parameters")
    return Tool(name, description, schema or {"type": "object", "properties": {}})


def shown_tools(body: Mapping[str, Json]) -> list[Json]:
    """The tools as the response repeats them. A function is strict if it is not said, where its schema can be."""
    return [_shown(tool) for tool in body.get("tools") or ()]


def _shown(tool: Mapping[str, Json]) -> Json:
    if tool["type"] != "function":
        return tool
    strict = tool.get("strict")
    return {
        "type": "function",
        "description": tool.get("description"),
        "name": tool["name"],
        "parameters": tool.get("parameters"),
        "strict": problem(tool.get("parameters")) is None if strict is None else strict,
    }


def tool_choice_of(body: Mapping[str, Json], tools: tuple[Tool, ...]) -> ToolChoice:
    """Which of ``tools`` the model may, must or must not call."""
    choice = body.get("tool_choice")
    if choice is None:
        return ToolChoice()
    if isinstance(choice, str):
        if choice not in ("none", "auto", "required"):
            wrong_value("tool_choice", choice, ("none", "auto", "required"))
        if choice == "required" and not body.get("tools"):
            invalid("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
        return ToolChoice("none" if choice == "none" else "required" if choice == "required" else "auto")
    if not isinstance(choice, Mapping):
        wrong_type("tool_choice", "one of an object or 'none', 'auto', or 'required'", choice)
    kind = choice.get("type")
    if kind is None:
        missing("tool_choice.type")
    if kind == "allowed_tools":
        return _allowed(choice, body, tools)
    name = _offered(choice, "tool_choice", body, tools)
    return ToolChoice() if name is None else ToolChoice("required", (name,), named=True)


def _allowed(choice: Mapping[str, Json], body: Mapping[str, Json], tools: tuple[Tool, ...]) -> ToolChoice:
    mode, allowed = choice.get("mode"), choice.get("tools")
    if mode is None:
        missing("tool_choice.mode")
    if mode not in ("auto", "required"):
        wrong_value("tool_choice.mode", mode, ("auto", "required"))
    if not isinstance(allowed, list):
        missing("tool_choice.tools")
    found = [_offered(one, f"tool_choice.tools[{place}]", body, tools) for place, one in enumerate(allowed)]
    names = tuple(name for name in found if name is not None)
    if not names:
        return ToolChoice("none")
    return ToolChoice("required" if mode == "required" else "auto", names)


def _offered(choice: Json, param: str, body: Mapping[str, Json], tools: tuple[Tool, ...]) -> str | None:
    """The name of the chosen tool, None for one that OpenAI runs; refused where it was not offered."""
    if not isinstance(choice, Mapping):
        wrong_type(param, "object", choice)
    kind = choice.get("type")
    if kind in ("function", "custom"):
        name = function_name(choice, param)
        if any(tool.name == name for tool in tools):
            return name
        invalid(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")
    if kind not in HOSTED:
        wrong_value(f"{param}.type", kind, ("function", "custom", "allowed_tools", *HOSTED))
    if not any(tool.get("type") == kind for tool in body.get("tools") or ()):
        invalid(f"Tool choice '{kind}' not found in 'tools' parameter.", "tool_choice")
    return None
