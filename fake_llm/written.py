"""Scenarios as people write them, in YAML and JSON: checked here, and turned into :mod:`fake_llm.scenario`.

Kept apart because pydantic takes long to import, and a server that was given no scenario needs none of this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from fake_llm import scenario as plain
from fake_llm.model import Json
from fake_llm.written_faults import Form
from fake_llm.written_pacing import LimitsForm, limits_from
from fake_llm.written_reply import ReplyForm, answer_from


class ScenarioError(Exception):
    """A scenario that cannot be used. ``problems`` has one sentence for each fault, with its place."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Regex = Annotated[str, AfterValidator(_compiled)]


class TextForm(Form):
    """A test of a text. A plain string in its place means ``contains``."""

    contains: str | None = None
    equals: str | None = None
    regex: Regex | None = Field(None, description="Found anywhere in the text, as re.search does")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.contains is None and self.equals is None and self.regex is None:
            raise ValueError("give one of contains, equals, regex")
        return self


Text = str | TextForm


class MatchForm(Form):
    """Which requests the scenario answers. Every test that is set must pass; no test: every request."""

    user: Text | None = Field(None, description="The text of the last user message")
    system: Text | None = Field(None, description="All system and developer text")
    model: str | None = Field(None, description="The model's name; * and ? are wildcards")
    dialect: str | list[str] | None = Field(
        None, description="openai_chat, openai_responses, anthropic, gemini, openai_embeddings, …"
    )
    tool_result: Text | None = Field(None, description="A tool result sent since the model last spoke")
    tools: str | list[str] | None = Field(None, description="Names of tools that must be offered")
    turn: int | None = Field(None, ge=1, description="1 for the first request of a conversation")
    stream: bool | None = None
    header: dict[str, Text] = Field(default_factory=dict, description="Request headers, names in any case")
    json_: dict[str, Json] = Field(
        default_factory=dict, alias="json", description="Paths in the raw body: values, or {contains|regex: …}"
    )
    conversation: Text | None = Field(None, description="All that was said and all tool results")
    attachments: int | bool | None = Field(None, description="Images, sounds and files: how many, or whether any")
    state: str | list[str] | None = Field(None, description="The session's state: start, or what a `then` named")


def _no_path(name: str) -> str:
    if _PATHLIKE.search(name):
        raise ValueError("a name has no slashes, no control characters, and is not '..'")
    return name


_PATHLIKE = re.compile(r"[/\\\x00-\x1f\x7f]|^\.{1,2}$")
Name = Annotated[str, AfterValidator(_no_path), Field(max_length=200)]


class ScenarioForm(Form):
    """A rule: which requests, and what they get."""

    name: Name = ""
    match: MatchForm = Field(default_factory=lambda: MatchForm.model_validate({}))
    reply: str | ReplyForm | None = None
    sequence: list[str | ReplyForm] = Field(
        default_factory=list, description="First call, second call, …: instead of reply"
    )
    after_last: Literal["repeat", "fall_through"] = Field("repeat", description="After a sequence's last reply")
    times: int | None = Field(None, ge=1, description="How often it answers at all")
    then: str = Field("", description="The session's state after each of its answers")
    limits: LimitsForm | None = Field(None, description="Of the requests that match; without a reply others answer")

    @model_validator(mode="after")
    def _has_a_reply(self) -> Self:
        if (self.reply is None) == (not self.sequence) and (self.limits is None or self.reply is not None):
            raise ValueError("give either reply or sequence")
        return self


def scenarios_from(forms: Iterable[ScenarioForm], *, prefix: str = "scenario") -> tuple[plain.Scenario, ...]:
    """Plain scenarios; one without a name is called by its place, ``scenario-1``."""
    return tuple(_scenario(form, f"{prefix}-{place}") for place, form in enumerate(forms, 1))


def _scenario(form: ScenarioForm, default_name: str) -> plain.Scenario:
    replies = form.sequence or ([] if form.reply is None else [form.reply])
    return plain.Scenario(
        name=form.name or default_name,
        match=_match(form.match),
        answers=tuple(answer_from(ReplyForm.model_validate({"text": r}) if isinstance(r, str) else r) for r in replies),
        times=form.times,
        after_last=form.after_last,
        limits=limits_from(form.limits),
        then=form.then,
        form=form.model_dump(mode="json", by_alias=True, exclude_unset=True),
    )


def _match(form: MatchForm) -> plain.Match:
    return plain.Match(
        user=_text(form.user),
        system=_text(form.system),
        model=form.model,
        dialects=_names(form.dialect),
        tool_result=_text(form.tool_result),
        tools=_names(form.tools),
        turn=form.turn,
        stream=form.stream,
        headers={name.lower(): test for name, written in form.header.items() if (test := _text(written))},
        json=tuple(_json_match(path, value) for path, value in form.json_.items()),
        conversation=_text(form.conversation),
        attachments=form.attachments,
        states=_names(form.state),
    )


def _text(written: Text | None) -> plain.TextMatch | None:
    if written is None:
        return None
    if isinstance(written, str):
        return plain.TextMatch(contains=written)
    regex = re.compile(written.regex) if written.regex is not None else None
    return plain.TextMatch(written.contains, written.equals, regex)


def _json_match(path: str, value: Json) -> plain.JsonMatch:
    if isinstance(value, dict) and value and value.keys() <= TextForm.model_fields.keys():
        return plain.JsonMatch(path, text=_text(TextForm(**value)))
    return plain.JsonMatch(path, value)


def _names(written: str | list[str] | None) -> tuple[str, ...]:
    if written is None:
        return ()
    return (written,) if isinstance(written, str) else tuple(written)
