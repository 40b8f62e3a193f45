"""Tools that Anthropic defines and the client runs: what their input looks like, as far as a call that makes sense."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.model import Json, Tool

_TEXT: Json = {"type": "string"}


def _object(required: Mapping[str, Json], **optional: Json) -> Json:
    return {"type": "object", "properties": {**required, **optional}, "required": [*required]}


SCHEMAS: dict[str, Json] = {
    "bash": _object({"command": {"type": "string", "examples": ["ls"]}}, restart={"type": "boolean"}),
    "text_editor": _object(
        {
            "command": {"enum": ["view", "create", "str_replace", "insert"]},
            "path": {"type": "string", "examples": ["/"]},
        },
        file_text=_TEXT,
        old_str=_TEXT,
        new_str=_TEXT,
    ),
    "computer": _object(
        {"action": {"enum": ["screenshot", "left_click", "type", "key", "mouse_move", "scroll", "wait"]}},
        coordinate={"type": "array", "items": {"type": "integer"}},
        text=_TEXT,
    ),
    "memory": _object(
        {
            "command": {"enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
            "path": {"type": "string", "examples": ["/memories"]},
        }
    ),
}
"""By the family of the type. The first word of every enumeration can be done with what is required."""

_POINTING = (
    "screenshot", "zoom", "left_click", "right_click", "middle_click", "double_click", "triple_click",
    "left_click_drag", "left_mouse_down", "left_mouse_up", "mouse_move", "scroll", "type", "key", "hold_key", "wait",
)  # fmt: skip
MEMBERS = {
    "computer_toolset": (*_POINTING, "cursor_position"),
    "browser_toolset": (
        *_POINTING, "navigate", "list_tabs", "new_tab", "switch_tab", "close_tab", "read_page", "get_page_text",
        "read_console", "read_network", "find", "form_input", "file_upload", "scroll_to", "hover", "javascript_exec",
    ),
}  # fmt: skip
"""The tools of each toolset, one first that needs no input."""


def name_of(kind: str) -> str | None:
    """The name that a tool of this dated type must have."""
    if kind.startswith("text_editor"):
        return "str_replace_editor" if kind[-8:] < "20250429" else "str_replace_based_edit_tool"
    return kind.rpartition("_")[0] or kind


def members(family: str, written: Mapping[str, Json]) -> tuple[Tool, ...]:
    """The tools of a toolset that are not switched off."""
    configs = written.get("configs")
    off = {
        name
        for name, config in (configs.items() if isinstance(configs, Mapping) else ())
        if isinstance(config, Mapping) and config.get("enabled") is False
    }
    return tuple(Tool(name, family, {"type": "object"}) for name in MEMBERS[family] if name not in off)


def toolset_of(name: str, body: Mapping[str, Json]) -> str | None:
    """The toolset that a call of this name belongs to, as the call says it, or None."""
    for tool in body.get("tools") or ():
        found = str(tool.get("type") or "").rpartition("_")[0]
        if tool.get("name") == name:
            return None
        if name in MEMBERS.get(found, ()):
            return found.partition("_")[0]
    return None
