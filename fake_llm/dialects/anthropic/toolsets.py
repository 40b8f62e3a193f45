"""Tools that Anthropic defines and the client runs: what their input looks like, as far as a call that makes sense."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.model import Json, Tool

_CALLS = {
    "bash": {"command": "ls"},
    "text_editor": {"command": "view", "path": "/"},
    "computer": {"action": "screenshot"},
    "memory": {"command": "view", "path": "/memories"},
}
SCHEMAS: dict[str, Json] = {
    family: {
        "type": "object",
        "properties": {name: {"type": "string", "enum": [word]} for name, word in call.items()},
        "required": [*call],
    }
    for family, call in _CALLS.items()
}
"""By the family of the type: what an input must have, with the one value that changes nothing wherever it is run."""

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
