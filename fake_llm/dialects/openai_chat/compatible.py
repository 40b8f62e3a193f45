"""What servers that are compatible with OpenAI's, vLLM foremost, take beyond its chat completions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from fake_llm.dialects.openai.refusals import invalid, wrong_type
from fake_llm.model import PLAIN_TEXT, Json, OutputFormat, Usage


def guided_output(body: Mapping[str, Json]) -> OutputFormat:
    """The form of the text that ``structured_outputs`` or the older ``guided_json`` demand.

    Grammars, regular expressions and choices are let through, and are not kept to.

    :raises ProtocolError: the schema is none.
    """
    structured = body.get("structured_outputs")
    if structured is not None:
        if not isinstance(structured, Mapping):
            wrong_type("structured_outputs", "object", structured)
        if structured.get("json_object") is True:
            return OutputFormat("json_object")
        if structured.get("json") is not None:
            return _of_schema(structured["json"], "structured_outputs.json")
    if body.get("guided_json") is not None:
        return _of_schema(body["guided_json"], "guided_json")
    return PLAIN_TEXT


def wants_running_usage(body: Mapping[str, Json]) -> bool:
    """Whether every chunk is to have the usage so far."""
    options = body.get("stream_options")
    return isinstance(options, Mapping) and options.get("continuous_usage_stats") is True


def running_usage(total: Usage, chunks: int) -> Iterator[Usage]:
    """The usage at each of so many chunks: nothing said in the first, which has the role, and all in the last."""
    for place in range(chunks):
        said = total.output_tokens * place // max(chunks - 1, 1)
        yield replace(total, output_tokens=said, reasoning_tokens=min(total.reasoning_tokens, said))


def _of_schema(written: Json, param: str) -> OutputFormat:
    """A schema, which may be JSON text."""
    schema = written
    if isinstance(written, str):
        try:
            schema = json.loads(written)
        except (ValueError, RecursionError):
            invalid(f"Invalid '{param}': not valid JSON.", param)
    if not isinstance(schema, Mapping):
        wrong_type(param, "object", schema)
    return OutputFormat("json_schema", schema)
