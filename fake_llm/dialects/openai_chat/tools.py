"""The tools that a chat completion request offers, and what it says about choosing from them."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.openai.parts import below, required_text
from fake_llm.dialects.openai.refusals import function_name, invalid, missing, wrong_type, wrong_value
from fake_llm.dialects.openai.strict import problem
from fake_llm.model import FREE_CHOICE, Json, Tool, ToolChoice


def tools_of(body: Mapping[str, Json]) -> tuple[Tool, ...]:
    """The tools offered, the legacy ``functions`` among them."""
    offered, functions = body.get("tools"), body.get("functions")
    if not offered and not functions:
        return ()
    tools = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(offered or ())]
    tools += [_function(function, f"functions[{place}]") for place, function in enumerate(functions or ())]
    return tuple(tools)


def _tool(written: Json, param: str) -> Tool:
    if not isinstance(written, Mapping):
        wrong_type(param, "object", written)
    kind = written.get("type")
    if kind is None:
        missing(f"{param}.type")
    if kind == "custom":
        custom = written.get("custom")
        if not isinstance(custom, Mapping):
            missing(f"{param}.custom")
        _check_format(custom.get("format"), f"{param}.custom.format")
        return Tool(function_name(custom, f"{param}.custom"), str(custom.get("description") or ""), custom=True)
    if kind != "function":
        wrong_value(f"{param}.type", kind, ("function", "custom"))
    if not isinstance(written.get("function"), Mapping):
        missing(f"{param}.function")
    return _function(written["function"], f"{param}.function")


def _check_format(written: Json, param: str) -> None:
    """A custom tool takes any text, or one that follows a grammar; the grammar itself is not followed."""
    if written is None:
        return
    if not isinstance(written, Mapping):
        wrong_type(param, "object", written)
    kind = written.get("type")
    if kind not in ("text", "grammar"):
        wrong_value(f"{param}.type", kind, ("text", "grammar"))
    if kind == "grammar":
        grammar = below(written, "grammar", param)
        required_text(grammar, "definition", f"{param}.grammar")
        if required_text(grammar, "syntax", f"{param}.grammar") not in ("lark", "regex"):
            wrong_value(f"{param}.grammar.syntax", grammar["syntax"], ("lark", "regex"))


def _function(written: Json, param: str) -> Tool:
    if not isinstance(written, Mapping):
        wrong_type(param, "object", written)
    name = function_name(written, param)
    schema = written.get("parameters")
    if schema is not None and not isinstance(schema, Mapping):
        wrong_type(f"{param}.parameters", "object", schema)
    if schema and schema.get("type", "object") != "object":
        invalid(
            f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \"object\"', got "
            f"'type: \"{schema.get('type')}\"'.",
            f"{param}.parameters",
            "invalid_function_parameters",
        )
    if written.get("strict") and (why := problem(schema)):
        invalid(f"Invalid schema for function '{name}': {why}", f"{param}.parameters", "invalid_function_parameters")
    return Tool(name, str(written.get("description") or ""), schema or {"type": "object", "properties": {}})


def tool_choice_of(body: Mapping[str, Json], tools: tuple[Tool, ...]) -> ToolChoice:
    """Which of ``tools`` the model may, must or must not call."""
    choice = body.get("tool_choice")
    if choice is None:
        choice = body.get("function_call")
        if isinstance(choice, Mapping):
            choice = {"type": "function", "function": choice}
    if choice is None:
        return FREE_CHOICE
    if not tools:
        invalid("'tool_choice' is only allowed when 'tools' are specified.", "tool_choice")
    if choice in ("auto", "none", "required"):
        return ToolChoice(choice)
    if not isinstance(choice, Mapping):
        wrong_value("tool_choice", choice, ("none", "auto", "required"))
    return _chosen(choice, tools)


def _chosen(choice: Mapping[str, Json], tools: tuple[Tool, ...]) -> ToolChoice:
    kind = choice.get("type")
    if kind == "allowed_tools":
        allowed = choice.get("allowed_tools")
        if not isinstance(allowed, Mapping):
            missing("tool_choice.allowed_tools")
        result = _allowed(allowed)
    elif kind in ("function", "custom"):
        result = ToolChoice("required", (_named(choice),), named=True)
    else:
        wrong_value("tool_choice.type", kind, ("function", "allowed_tools", "custom"))
    known = {tool.name for tool in tools}
    for name in result.names:
        if name not in known:
            invalid(f"Tool choice '{name}' not found in 'tools' parameter.", "tool_choice")
    return result


def _allowed(allowed: Mapping[str, Json]) -> ToolChoice:
    mode, tools = allowed.get("mode"), allowed.get("tools")
    if mode is None:
        missing("tool_choice.allowed_tools.mode")
    if mode not in ("auto", "required"):
        wrong_value("tool_choice.allowed_tools.mode", mode, ("auto", "required"))
    if not isinstance(tools, list) or not tools:
        missing("tool_choice.allowed_tools.tools")
    return ToolChoice(mode, tuple(_named(one) for one in tools))


def _named(choice: Json) -> str:
    if not isinstance(choice, Mapping):
        wrong_type("tool_choice", "object", choice)
    below = choice.get(str(choice.get("type")))
    name = below.get("name") if isinstance(below, Mapping) else None
    if not isinstance(name, str):
        missing(f"tool_choice.{choice.get('type')}.name")
    return name
