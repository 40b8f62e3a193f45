"""The automatic reply: what is answered where no scenario says anything. Deterministic in the request."""

from __future__ import annotations

import json
from dataclasses import replace

from fake_llm.model import Message, Reply, Tool, ToolCall, Turn

ECHO_LIMIT = 400
"""Characters of the user's message that are echoed."""

THOUGHT_LIMIT = 80
"""Characters of it that a thought repeats."""


def automatic_reply(turn: Turn, choice: int = 0) -> Reply:
    """A reply that keeps an unscripted application working.

    A tool that must be called is called with arguments that fit its schema; JSON that was asked for fits its
    schema; otherwise the text echoes the user or the last tool result. ``choice`` counts from 0; later choices
    differ in their words. Where the client wants to see thoughts there are some.
    """
    reply = _said(turn, choice)
    return replace(reply, reasoning=_thought(turn)) if turn.thinking in ("shown", "always") else reply


def _said(turn: Turn, choice: int) -> Reply:
    if turn.tool_choice.mode == "required" and turn.callable_tools:
        return Reply(tool_calls=(_call(turn.callable_tools[0], turn),))
    if turn.output.kind == "json_schema":
        return Reply(text=_instance(turn.output.schema, turn.seed or 0))
    if turn.output.kind == "json_object":
        return Reply(text=json.dumps({"answer": _echo(turn)}, ensure_ascii=False))
    if len(turn.inputs) > 1:
        return _to_prompt(turn, choice)
    text = _echo(turn)
    return Reply(text=f"{text} ({choice + 1})" if choice else text)


def with_words_of(script: Reply, words: Reply) -> Reply:
    """The scripted delays, headers, usage and fault around the words of another reply."""
    return replace(
        script,
        text=words.text,
        tool_calls=words.tool_calls,
        refusal=words.refusal,
        reasoning=script.reasoning or words.reasoning,
    )


def with_thought(reply: Reply, turn: Turn) -> Reply:
    """``reply`` with something thought before it, where the turn has that before scripted words too."""
    return replace(reply, reasoning=_thought(turn)) if turn.thinking == "always" and not reply.reasoning else reply


def _to_prompt(turn: Turn, choice: int) -> Reply:
    """The reply to one of several prompts, whose choices follow each other."""
    each = turn.choices // len(turn.inputs)
    prompt = turn.inputs[choice // each]
    said = Message("user", prompt if isinstance(prompt, str) else " ".join(map(str, prompt)))
    return automatic_reply(replace(turn, messages=(said,), inputs=(prompt,)), choice % each)


def _echo(turn: Turn) -> str:
    if turn.tool_results:
        return f"The tool answered: {turn.tool_results[-1].text[:ECHO_LIMIT]}"
    return f"You said: {turn.user[:ECHO_LIMIT]}" if turn.user else "Hello."


def _thought(turn: Turn) -> str:
    about = "the tool's answer" if turn.tool_results else f'"{turn.user[:THOUGHT_LIMIT]}"' if turn.user else "nothing"
    return f"**Reading the request**\n\nThis is about {about}, so I say what follows from it."


def _call(tool: Tool, turn: Turn) -> ToolCall:
    if tool.custom:
        return ToolCall(tool.name, turn.user[:ECHO_LIMIT], custom=True)
    return ToolCall(tool.name, _instance(tool.schema, turn.seed or 0))


def _instance(schema: object, seed: int) -> str:
    from fake_llm.schema_fill import fill  # noqa: PLC0415 - only some requests need it

    return json.dumps(fill(schema, seed=seed), ensure_ascii=False)
