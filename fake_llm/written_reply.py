"""Replies as people write them: checked here, and turned into answers."""

from __future__ import annotations

import json
from functools import partial
from types import ModuleType
from typing import Self

from pydantic import Field, ValidationError, model_validator

from fake_llm.asked import AnswerFault, Asked
from fake_llm.complaints import sentences
from fake_llm.model import Citation, Json, Reply, ServerTool, ToolCall, Usage
from fake_llm.scenario import Answer
from fake_llm.written_faults import AnyFault, Form, fault_from
from fake_llm.written_pacing import AnyLatency, latency_from

KINDS = ("text", "json_", "template", "refusal")
WORDS = ("handler", "ask", *KINDS, "tool_calls", "chunks", "reasoning", "server_tools", "citations")


class ToolCallForm(Form):
    """A tool call. ``arguments`` is an object, or a text that is sent as it stands (it need not be JSON)."""

    name: str
    arguments: dict[str, Json] | str = Field(default_factory=dict)
    id: str = ""


class ServerToolForm(Form):
    """A tool that the provider's server ran by itself, and what came of it."""

    name: str = Field(description="web_search, file_search, code_execution, mcp, …")
    input: dict[str, Json] = Field(default_factory=dict)
    output: Json = None
    error: str = Field("", description="The provider's word for why nothing came of it")
    id: str = ""


class CitationForm(Form):
    """A source of what the text says: one of the request's documents, or a page."""

    words: str = Field("", description="The part of the text that it stands for; else all of it")
    quote: str = Field("", description="What the source says")
    title: str = ""
    url: str = ""
    document: int | None = Field(None, ge=0, description="Which of the request's documents, from 0")


class UsageForm(Form):
    """Token counts that the reply claims."""

    input_tokens: int = Field(ge=0)
    output_tokens: int = Field(ge=0)
    cached_tokens: int = Field(0, ge=0)
    reasoning_tokens: int = Field(0, ge=0)


class ReplyForm(Form):
    """What is answered. A plain string in its place means ``text``."""

    text: str | None = None
    json_: Json = Field(None, alias="json", description="A JSON value, sent as text")
    template: str | bool | None = Field(
        None,
        description="Text with {{ user }}, {{ turn }}, …, in jinja2's language; true: all texts of this reply are such",
    )
    handler: str | None = Field(
        None, description="module:function in the folder that the server was given by --handlers; it has the words"
    )
    ask: str | None = Field(None, description="A function of a test's, by this name; asked over the control API")
    answer_within_s: float = Field(30, gt=0, le=600, description="How long a handler, or the test, may take")
    reasoning: str = Field("", description="What the model thought first; seen where the client asked for it")
    reasoning_redacted: bool = Field(False, description="It is there and may not be read, as some providers have it")
    server_tools: list[ServerToolForm] = Field(default_factory=list)
    citations: list[CitationForm] = Field(default_factory=list)
    latency: AnyLatency | None = None
    tool_calls: list[ToolCallForm] = Field(default_factory=list)
    refusal: str | None = None
    fault: AnyFault | None = None
    chunks: list[str] = Field(default_factory=list, description="The stream's pieces; joined they are the text")
    chunk_size: int | None = Field(None, ge=1, description="Characters per piece; else a piece is a token")
    delay_s: float = Field(0, ge=0, description="Before the first byte")
    chunk_delay_s: float | None = Field(None, ge=0, description="Between pieces; 0: a write for each")
    usage: UsageForm | None = None
    finish_reason: str | None = None
    headers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = self.model_fields_set if isinstance(self.template, str) else self.model_fields_set - {"template"}
        kinds = [key for key in KINDS if key in given]
        if len(kinds) > 1:
            raise ValueError("give only one of text, json, template, refusal, not " + " and ".join(kinds))
        words = [key for key in WORDS if key in given]
        if self.asks_a_function and len(words) > 1:
            raise ValueError(f"{words[0]} says all the words; leave {', '.join(words[1:])} out")
        if self.template:
            if self.chunks:
                raise ValueError("chunks are no templates; give chunk_size")
            _template_reply().check(self.words())
        said = "" if self.template else self.text or "".join(self.chunks)
        for number, citation in enumerate(self.citations):
            if said and citation.words not in said:
                raise ValueError(f"citations[{number}].words are not in the text")
        if self.chunks and self.text is not None and "".join(self.chunks) != self.text:
            raise ValueError("chunks joined are not the text; leave the text out")
        if self.handler is not None:
            from fake_llm.handlers import find  # noqa: PLC0415 - few scenarios have one

            find(self.handler)
        return self

    @property
    def asks_a_function(self) -> bool:
        """Whether the words are not in the scenario."""
        return self.handler is not None or self.ask is not None

    def words(self) -> dict[str, Json]:
        """The reply as it was written, without what says where its words come from."""
        found: dict[str, Json] = self.model_dump(by_alias=True, exclude_unset=True)
        template = found.pop("template", None)
        if isinstance(template, str):
            found["text"] = template
        return {key: value for key, value in found.items() if key not in {"handler", "ask", "answer_within_s"}}


def answer_from(form: ReplyForm) -> Answer:
    """The answer that was written."""
    text = form.text or "".join(form.chunks)
    if "json_" in form.model_fields_set:
        text = json.dumps(form.json_, ensure_ascii=False)
    says_nothing = not {*KINDS, "tool_calls", "chunks"} & form.model_fields_set
    reply = Reply(
        text=text,
        reasoning=form.reasoning,
        reasoning_redacted=form.reasoning_redacted,
        server_tools=tuple(ServerTool(**tool.model_dump()) for tool in form.server_tools),
        citations=tuple(Citation(**citation.model_dump()) for citation in form.citations),
        tool_calls=tuple(_tool_call(call) for call in form.tool_calls),
        refusal=form.refusal,
        finish=form.finish_reason or "stop",
        usage=Usage(**form.usage.model_dump()) if form.usage else None,
        chunks=tuple(form.chunks),
        chunk_size=form.chunk_size,
        delay_s=form.delay_s,
        chunk_delay_s=form.chunk_delay_s,
        headers=form.headers,
        fault=fault_from(form.fault) if form.fault else None,
        latency=latency_from(form.latency),
    )
    fill = partial(_templated, form.words()) if form.template else None
    asks = None
    if form.asks_a_function:
        from fake_llm.handlers import asking  # noqa: PLC0415 - few scenarios have one

        asks = asking(form.handler, form.ask, form.answer_within_s, partial(answer_of, form.words()))
    return Answer(reply, automatic=says_nothing, fill=fill, asks=asks)


def answer_of(beside: dict[str, Json], said: Json) -> Answer:
    """The answer that a function gave: a text, a reply as scenarios have it, or None for automatic words.

    ``beside`` is what the scenario itself says of it, but for the fault, which the scenario's own answer has.

    :raises AnswerFault: it is none of these.
    """
    if isinstance(said, str):
        said = {"text": said}
    if said is not None and not isinstance(said, dict):
        raise AnswerFault(f"it gave {type(said).__name__} and no text or reply, such as {{'json': …}}")
    forbidden = [key for key in ("handler", "ask", "template") if key in (said or {})]
    if forbidden:
        raise AnswerFault(f"its reply may have no {forbidden[0]}")
    without_fault = {key: value for key, value in beside.items() if key != "fault"}
    return answer_from(_valid({**without_fault, **(said or {})}))


def _templated(words: dict[str, Json], asked: Asked) -> Reply:
    return answer_from(_valid(_template_reply().filled(words, asked))).reply


def _valid(words: dict[str, Json]) -> ReplyForm:
    try:
        return ReplyForm.model_validate(words)
    except ValidationError as error:
        raise AnswerFault("; ".join(sentences(error, ReplyForm)).replace("scenario: ", "")) from error


def _tool_call(form: ToolCallForm) -> ToolCall:
    arguments = form.arguments if isinstance(form.arguments, str) else json.dumps(form.arguments, ensure_ascii=False)
    return ToolCall(form.name, arguments, form.id)


def _template_reply() -> ModuleType:
    from fake_llm import template_reply  # noqa: PLC0415 - jinja2, only where there are templates

    return template_reply
