"""The tools that OpenAI runs itself: the items of the calls that a scenario tells, and what a stream says between them.

Each kind of tool is a function from the neutral call to its item; names that are none of these are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fake_llm.dialects.openai_responses.mcp import mcp_items
from fake_llm.dialects.openai_responses.steps import Hosted, Step
from fake_llm.finish import cut_text
from fake_llm.model import Json, Reply, ServerTool, Stamp, Turn

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
"""The image of an image generation that was given none: one pixel, as PNG."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, and what of the request bears on how it is shown. ``id`` is without its prefix."""

    tool: ServerTool
    id: str
    include: tuple[str, ...]
    offered: tuple[Mapping[str, Json], ...]
    chunk_size: int | None

    def item_id(self, prefix: str) -> str:
        """The id of the call's item."""
        return self.tool.id or f"{prefix}_{self.id}"

    @property
    def status(self) -> str:
        """How the call ended."""
        return "failed" if self.tool.error else "completed"


def hosted_items(turn: Turn, reply: Reply, stamp: Stamp) -> list[Hosted]:
    """The items of the calls in order, as many as ``max_tool_calls`` lets through."""
    items: list[Hosted] = []
    raw = turn.raw
    offered = tuple(raw.get("tools") or ())
    include = tuple(raw.get("include") or ())
    for place, tool in enumerate(reply.server_tools[: raw.get("max_tool_calls")]):
        unique = f"{stamp.id}{place:02x}"
        if tool.name == "mcp":
            items.extend(mcp_items(tool, unique, raw, {item.label for item in items}, reply.chunk_size))
        elif tool.name in _SHOWN:
            items.append(_SHOWN[tool.name](Asked(tool, unique, include, offered, reply.chunk_size)))
        if items and items[-1].waits:
            break
    return items


def waits(items: Sequence[Hosted]) -> bool:
    """Whether the response ends with a question to the client, so that nothing is said after it."""
    return bool(items) and items[-1].waits


def _web_search(asked: Asked) -> Hosted:
    given = asked.tool.input
    url, pattern = given.get("url"), given.get("pattern")
    action: dict[str, Json]
    if url is not None and pattern is not None:
        action = {"type": "find_in_page", "url": str(url), "pattern": str(pattern)}
    elif url is not None:
        action = {"type": "open_page", "url": str(url)}
    else:
        queries = _queries(given)
        action = {"type": "search", "queries": queries, "query": queries[0] if queries else ""}
        if "web_search_call.action.sources" in asked.include:
            action["sources"] = [{"type": "url", "url": one["url"]} for one in _found(asked.tool) if one.get("url")]
    done = {"id": asked.item_id("ws"), "type": "web_search_call", "status": asked.status, "action": action}
    return Hosted(done, {**done, "status": "in_progress"}, _stages("web_search_call", asked, "searching"))


def _file_search(asked: Asked) -> Hosted:
    results = None
    if "file_search_call.results" in asked.include:
        results = [_result(one, place) for place, one in enumerate(_found(asked.tool))]
    done = {
        "id": asked.item_id("fs"),
        "type": "file_search_call",
        "status": asked.status,
        "queries": _queries(asked.tool.input),
        "results": results,
    }
    added = {**done, "status": "in_progress", "results": None}
    return Hosted(done, added, _stages("file_search_call", asked, "searching"))


def _code(asked: Asked) -> Hosted:
    code = str(asked.tool.input.get("code") or "")
    outputs = _outputs(asked.tool) if "code_interpreter_call.outputs" in asked.include else None
    done = {
        "id": asked.item_id("ci"),
        "type": "code_interpreter_call",
        "status": asked.status,
        "code": code,
        "container_id": str(asked.tool.input.get("container_id") or f"cntr_{asked.id}"),
        "outputs": outputs,
    }
    name = "response.code_interpreter_call"
    between: list[Step] = [(f"{name}.in_progress", {})]
    between += [(f"{name}_code.delta", {"delta": piece}) for piece in cut_text(code, asked.chunk_size)]
    between += [(f"{name}_code.done", {"code": code}), (f"{name}.interpreting", {}), (f"{name}.completed", {})]
    return Hosted(done, {**done, "status": "in_progress", "code": "", "outputs": None}, between)


def _image(asked: Asked) -> Hosted:
    tool = next((one for one in asked.offered if one.get("type") == "image_generation"), {})
    image = asked.tool.output if isinstance(asked.tool.output, str) else PIXEL
    shown = {
        "output_format": tool.get("output_format") or "png",
        "quality": "high" if tool.get("quality") in (None, "auto") else tool["quality"],
        "size": "1024x1024" if tool.get("size") in (None, "auto") else tool["size"],
        "background": "opaque" if tool.get("background") in (None, "auto") else tool["background"],
    }
    prompt = asked.tool.input.get("prompt")
    item = {"id": asked.item_id("ig"), "type": "image_generation_call"}
    done = {
        **item,
        "status": asked.status,
        **shown,
        "revised_prompt": prompt if isinstance(prompt, str) else None,
        "result": None if asked.tool.error else image,
    }
    wanted = tool.get("partial_images")
    partial: list[Step] = [
        (
            "response.image_generation_call.partial_image",
            {"partial_image_index": n, "partial_image_b64": image, **shown},
        )
        for n in range(wanted if isinstance(wanted, int) and 0 <= wanted <= 3 else 0)
    ]
    stages = _stages("image_generation_call", asked, "generating")
    added = {**item, "status": "in_progress", "result": None}
    return Hosted(done, added, [*stages[:2], *partial, *stages[2:]])


_SHOWN: dict[str, Callable[[Asked], Hosted]] = {
    "web_search": _web_search,
    "web_fetch": _web_search,
    "file_search": _file_search,
    "code_execution": _code,
    "code_interpreter": _code,
    "image_generation": _image,
}


def _stages(kind: str, asked: Asked, doing: str) -> list[Step]:
    """The events of a call that is begun, at work and, unless it failed, completed: a failure has no event."""
    names = ["in_progress", doing, *([] if asked.tool.error else ["completed"])]
    return [(f"response.{kind}.{name}", {}) for name in names]


def _queries(given: Mapping[str, Json]) -> list[str]:
    many = given.get("queries")
    if isinstance(many, list):
        return [str(one) for one in many]
    return [str(given["query"])] if given.get("query") is not None else []


def _found(tool: ServerTool) -> list[Mapping[str, Json]]:
    """What a search found: objects; a text by itself is the text of one."""
    output = tool.output if isinstance(tool.output, list) else [] if tool.output is None else [tool.output]
    return [one if isinstance(one, Mapping) else {"text": str(one)} for one in output]


def _result(found: Mapping[str, Json], place: int) -> dict[str, Json]:
    return {
        "attributes": found.get("attributes") or {},
        "file_id": found.get("file_id") or f"file-{place}",
        "filename": found.get("filename") or found.get("title") or "",
        "score": found.get("score", 0.9),
        "text": found.get("text") or "",
    }


def _outputs(tool: ServerTool) -> list[dict[str, Json]]:
    """What code printed and drew. An object has it as ``stdout`` and ``stderr``, a list as the API lists it."""
    output = tool.error or tool.output
    if output is None:
        return []
    if isinstance(output, list) and all(isinstance(one, Mapping) and "type" in one for one in output):
        return [dict(one) for one in output]
    if isinstance(output, Mapping) and {"stdout", "stderr"} & output.keys():
        output = "".join(str(output.get(name) or "") for name in ("stdout", "stderr"))
    return [{"type": "logs", "logs": output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)}]
