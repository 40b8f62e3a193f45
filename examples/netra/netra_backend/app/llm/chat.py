"""Chat Completions through the official ``openai`` SDK, in the application's own terms.

The SDK retries 429, 5xx, timeouts and refused connections up to ``max_retries`` times, and waits as long as
``Retry-After`` asks. What is still wrong then is translated here, once, into the errors of ``app.errors``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import openai
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.shared_params import ResponseFormatJSONSchema

from netra_backend.app.errors import (
    LLMInterrupted,
    LLMRateLimited,
    LLMRejected,
    LLMTimeout,
    LLMUnavailable,
)
from netra_backend.app.llm.config import LLMConfig, LLMSettings


@dataclass(frozen=True)
class ToolRequest:
    """The model asks for a tool; ``arguments`` is JSON as the model wrote it, right or wrong."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Reply:
    """One whole answer of the model."""

    text: str = ""
    tool_requests: tuple[ToolRequest, ...] = ()
    refusal: str | None = None


def open_client(settings: LLMSettings) -> AsyncOpenAI:
    """An SDK client with a connection pool; whoever opens it closes it (``async with``)."""
    config = LLMConfig.of(settings)
    return AsyncOpenAI(
        base_url=config.base_url,
        api_key=config.api_key,
        timeout=config.timeout_s,
        max_retries=config.max_retries,
    )


class ChatModel:
    """One model to talk to.

    With ``client`` its connections are shared and outlive this object; without, each call opens a client of
    its own and closes it before it returns, so that nothing is left to close.
    """

    def __init__(self, settings: LLMSettings, *, client: AsyncOpenAI | None = None) -> None:
        self.name = settings.model
        self._settings = settings
        self._client = client

    async def complete(
        self, messages: Sequence[ChatCompletionMessageParam], *, response_format: ResponseFormatJSONSchema
    ) -> Reply:
        """The model's whole answer, asked to be JSON of the given schema (the caller validates it)."""
        with _translated_errors():
            async with self._connected() as client:
                completion = await client.chat.completions.create(
                    model=self.name, messages=list(messages), response_format=response_format
                )
        if not completion.choices:
            raise LLMInterrupted("the model's answer has no choices")
        message = completion.choices[0].message
        return Reply(text=message.content or "", refusal=message.refusal)

    async def stream(
        self,
        messages: Sequence[ChatCompletionMessageParam],
        *,
        tools: Sequence[ChatCompletionToolParam],
    ) -> AsyncGenerator[str | Reply]:
        """Pieces of text as they arrive, and last, once, the whole :class:`Reply`.

        Raises :class:`LLMInterrupted` if the stream ends without the model's own end mark, whether the
        connection broke or was closed politely.
        """
        parts = _ReplyParts()
        async with self._connected() as client:
            with _translated_errors():
                chunks = await client.chat.completions.create(
                    model=self.name, messages=list(messages), tools=list(tools), stream=True
                )
            async with chunks:
                with _translated_errors(broken=LLMInterrupted):
                    async for chunk in chunks:
                        if text := parts.add(chunk):
                            yield text
        yield parts.reply()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncOpenAI]:
        if self._client is not None:
            yield self._client
            return
        async with open_client(self._settings) as client:
            yield client


@dataclass
class _ReplyParts:
    """A reply under construction, from the chunks of a stream."""

    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    tools: dict[int, tuple[str, str, list[str]]] = field(default_factory=dict)
    finished: bool = False

    def add(self, chunk: ChatCompletionChunk) -> str:
        """Take one chunk in; returns the text that it added."""
        if not chunk.choices:  # the chunk with the usage figures has none
            return ""
        choice = chunk.choices[0]
        self.finished = self.finished or choice.finish_reason is not None
        self.refusal.append(choice.delta.refusal or "")
        for call in choice.delta.tool_calls or ():
            name = call.function.name if call.function else None
            _, _, arguments = self.tools.setdefault(call.index, (call.id or "", name or "", []))
            arguments.append((call.function.arguments if call.function else None) or "")
        text = choice.delta.content or ""
        self.text.append(text)
        return text

    def reply(self) -> Reply:
        if not self.finished:
            raise LLMInterrupted("the model's stream ended before its answer was complete")
        requests = (ToolRequest(call_id, name, "".join(args)) for call_id, name, args in self.tools.values())
        return Reply("".join(self.text), tuple(requests), "".join(self.refusal) or None)


@contextmanager
def _translated_errors(*, broken: type[LLMUnavailable | LLMInterrupted] = LLMUnavailable) -> Iterator[None]:
    """Turn the SDK's errors into ours; a broken connection becomes ``broken``."""
    try:
        yield
    except openai.APITimeoutError as error:
        raise LLMTimeout("the language model did not answer in time") from error
    except openai.APIConnectionError as error:
        raise broken("the connection to the language model failed") from error
    except openai.RateLimitError as error:
        raise LLMRateLimited(_seconds(error.response.headers.get("retry-after"))) from error
    except openai.InternalServerError as error:
        raise LLMUnavailable(f"the language model's server answered {error.status_code}") from error
    except openai.APIStatusError as error:
        raise LLMRejected(f"the language model's server refused with {error.status_code}") from error
    except (openai.APIError, ValueError) as error:  # an error event in a stream; a chunk that is not JSON
        raise LLMInterrupted("the language model's answer broke off with an error") from error


def _seconds(header: str | None) -> float | None:
    """``Retry-After`` in seconds; its other form, a date, is rare for these APIs and left out."""
    try:
        return float(header) if header is not None else None
    except ValueError:
        return None
