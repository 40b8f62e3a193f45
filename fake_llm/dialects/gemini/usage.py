"""Token counts of an answer, whole or so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fake_llm.dialects.gemini.media import token_details
from fake_llm.dialects.google.sources import tool_tokens
from fake_llm.model import Json, Reply, Turn, Usage


class Counts:
    """What the candidates of one answer took together: they share one prompt.

    The tokens of the candidates are those that were said; thoughts and what tools gave back are counted beside them.
    """

    def __init__(self, turn: Turn, replies: Sequence[Reply]) -> None:
        used = [reply.usage or Usage() for reply in replies]
        self._total = replace(
            used[0],
            output_tokens=sum(usage.output_tokens for usage in used),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in used),
        )
        self.thoughts = min(self._total.reasoning_tokens, self._total.output_tokens)
        self.said = self._total.output_tokens - self.thoughts
        self._by_tools = sum(tool_tokens(reply) for reply in replies)
        self._details = details(turn, self._total.input_tokens)

    def whole(self) -> dict[str, Json]:
        """The usage of the answer at its end."""
        return self.so_far(self.said, self.thoughts)

    def so_far(self, said: int, thoughts: int) -> dict[str, Json]:
        """The usage when so many tokens were said and thought."""
        total = self._total
        counted: dict[str, Json] = {
            "promptTokenCount": total.input_tokens,
            "candidatesTokenCount": said,
            "totalTokenCount": total.input_tokens + said + thoughts + self._by_tools,
            **self._details,
        }
        if thoughts:
            counted["thoughtsTokenCount"] = thoughts
        if self._by_tools:
            counted["toolUsePromptTokenCount"] = self._by_tools
            counted["toolUsePromptTokensDetails"] = [{"modality": "TEXT", "tokenCount": self._by_tools}]
        if total.cached_tokens:
            counted["cachedContentTokenCount"] = total.cached_tokens
            counted["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": total.cached_tokens}]
        return counted

    def of_blocked(self) -> dict[str, Json]:
        """The usage of a prompt that was blocked: nothing was said."""
        asked = self._total.input_tokens
        return {"promptTokenCount": asked, "totalTokenCount": asked, **self._details}


def details(turn: Turn, tokens: int) -> Mapping[str, Json]:
    """The prompt's ``tokens`` by kind, as a member."""
    return {"promptTokensDetails": token_details(turn, tokens)}
