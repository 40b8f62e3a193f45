"""The tools that a request offers, and what it says about calling them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fake_llm.dialects.gemini.schema import json_schema
from fake_llm.dialects.google.fields import as_message, camel, get, invalid, message, repeated, text, wrong
from fake_llm.model import Json, ProtocolError, Tool, ToolChoice

NO_ARGUMENTS: Mapping[str, Json] = {"type": "object", "properties": {}}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_MODES = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")


def tools_of(body: Mapping[str, Json]) -> tuple[tuple[Tool, ...], tuple[str, ...]]:
    """The tools offered, Google's own (``googleSearch``) among them, and the names of those that are functions."""
    functions: list[Tool] = []
    others: list[Tool] = []
    for place, written in enumerate(repeated(body, "tools")):
        tool = as_message(written, f"tools[{place}]", "Tool")
        functions.extend(_functions(tool, f"tools[{place}]"))
        kinds = [camel(key) for key, value in tool.items() if value is not None]
        others.extend(Tool(kind) for kind in kinds if kind != "functionDeclarations")
    names = tuple(function.name for function in functions)
    for name in names:
        if names.count(name) > 1:
            raise ProtocolError(f"Duplicate function declaration found: {name}")
    return (*functions, *others), names


def tool_choice_of(body: Mapping[str, Json], functions: tuple[str, ...]) -> ToolChoice:
    """Whether one of ``functions`` may, must or must not be called, and which of them."""
    outer = message(body, "toolConfig", "tool_config", "ToolConfig")
    at = "tool_config.function_calling_config"
    config = message(outer, "functionCallingConfig", at, "FunctionCallingConfig")
    mode = get(config, "mode")
    if mode is None:
        return ToolChoice()
    if not isinstance(mode, str) or mode.upper() not in _MODES:
        wrong(f"{at}.mode", "FunctionCallingConfig.Mode", mode)
    if not functions:
        raise ProtocolError("Function calling config is set without function_declarations.")
    allowed = repeated(config, "allowedFunctionNames")
    for place, name in enumerate(allowed):
        if name not in functions:
            invalid(f"{at}.allowed_function_names[{place}]", f"no function is declared with the name {name!r}.")
    if allowed and mode.upper() not in ("ANY", "VALIDATED"):
        invalid(
            f"{at}.allowed_function_names", "allowed_function_names is only allowed for the modes ANY and VALIDATED."
        )
    if mode.upper() == "ANY":
        return ToolChoice("required", tuple(allowed) or functions, named=len(allowed) == 1)
    return ToolChoice("none" if mode.upper() == "NONE" else "auto", tuple(allowed))


def _functions(tool: Mapping[str, Json], at: str) -> Iterator[Tool]:
    for place, written in enumerate(repeated(tool, "functionDeclarations")):
        where = f"{at}.function_declarations[{place}]"
        function = as_message(written, where, "FunctionDeclaration")
        name = text(function, "name", where) or ""
        if not _NAME.fullmatch(name):
            invalid(
                f"{where}.name",
                "Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, "
                "0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 64.",
            )
        yield Tool(name, text(function, "description", where) or "", _arguments(function, where))


def _arguments(function: Mapping[str, Json], at: str) -> Json:
    if (plain := get(function, "parametersJsonSchema")) is not None:
        return as_message(plain, f"{at}.parameters_json_schema", "Schema")
    written = get(function, "parameters")
    return NO_ARGUMENTS if written is None else json_schema(written, f"{at}.parameters")
