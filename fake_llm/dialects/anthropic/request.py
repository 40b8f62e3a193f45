"""A Messages request as a neutral turn."""

from __future__ import annotations

from collections.abc import Mapping

from fake_llm.dialects.anthropic import conversation, strict, thinking, tools
from fake_llm.dialects.anthropic.caching import breakpoints
from fake_llm.dialects.anthropic.checks import check_parameters, check_version, refuse
from fake_llm.dialects.anthropic.conversation import Part
from fake_llm.dialects.anthropic.sources import cites
from fake_llm.model import Json, OutputFormat, Turn
from fake_llm.tokens import TOKENS_PER_REPLY, count_json, count_tool


def parse(body: Mapping[str, Json], headers: Mapping[str, str], *, counting: bool = False) -> Turn:
    """The turn that ``body`` asks for; ``counting``: only its tokens are asked for.

    :raises ProtocolError: Anthropic refuses the request.
    """
    version = check_version(headers)
    check_parameters(body, version, counting=counting)
    written = tools.read(body)
    offered = tuple(tool for several in written for tool in several)
    choice = tools.read_choice(body, offered)
    thinks = thinking.check(body, headers, choice, counting=counting)
    said = conversation.read(body, version)
    thinking.check_history(body)
    output = _output(body)
    before = [
        Part(f"tools.{place}", "tool", body["tools"][place], sum(map(count_tool, several)))
        for place, several in enumerate(written)
    ]
    before.extend(said.system)
    total = TOKENS_PER_REPLY + sum(part.tokens for part in before) + sum(part.tokens for part in said.parts)
    if output.kind == "json_schema":
        total += count_json(output.schema)
    return Turn(
        dialect="anthropic",
        model=body["model"],
        messages=tuple(said.messages),
        stream=bool(body.get("stream")),
        tools=offered,
        tool_choice=choice,
        parallel_tool_calls=not (body.get("tool_choice") or {}).get("disable_parallel_tool_use"),
        output=output,
        max_tokens=body.get("max_tokens"),
        stop=tuple(body.get("stop_sequences") or ()),
        include_usage=True,
        input_tokens=total,
        breakpoints=breakpoints(body, before, said.parts),
        thinking=thinks,
        raw=body,
    )


def _output(body: Mapping[str, Json]) -> OutputFormat:
    """The format of ``output_config``, or of the beta field that came before it."""
    at = "output_config.format"
    written = (body.get("output_config") or {}).get("format")
    if written is None:
        at, written = "output_format", body.get("output_format")
    if not isinstance(written, Mapping):
        return OutputFormat()
    if written.get("type") != "json_schema":
        refuse(f"{at}.type: Input should be 'json_schema'")
    schema = written.get("schema")
    if not isinstance(schema, Mapping):
        refuse(f"{at}.schema: Field required")
    if why := strict.problem(schema):
        refuse(f"{at}.schema: {why}")
    if cites(body):
        refuse(f"{at}: citations cannot be enabled where the output has a format")
    return OutputFormat("json_schema", schema)
