"""What a chat completion's simple parameters may be."""

from __future__ import annotations

from fake_llm.dialects.openai.refusals import Range, Rules

RULES = Rules(
    numbers={
        "temperature": Range("decimal", 0, 2),
        "top_p": Range("decimal", 0, 1),
        "frequency_penalty": Range("decimal", -2, 2),
        "presence_penalty": Range("decimal", -2, 2),
        "n": Range("integer", 1, 128),
        "max_tokens": Range("integer", 1),
        "max_completion_tokens": Range("integer", 1),
        "top_logprobs": Range("integer", 0, 20),
        "seed": Range("integer", -(2**63), 2**63),
    },
    simple={
        "stream": "boolean",
        "logprobs": "boolean",
        "parallel_tool_calls": "boolean",
        "store": "boolean",
        "user": "string",
        "metadata": "object",
        "stream_options": "object",
        "response_format": "object",
        "tools": "array",
        "functions": "array",
    },
    enums={
        "reasoning_effort": ("none", "minimal", "low", "medium", "high", "xhigh", "max"),
        "service_tier": ("auto", "default", "flex", "scale", "priority", "fast"),
        "verbosity": ("low", "medium", "high"),
    },
)
