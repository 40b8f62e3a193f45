"""Moderations by the unchanged ``openai`` SDK against the running server."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai.types.moderation import Categories, Moderation
from pydantic import BaseModel

from .conftest import Session

NAMES = {field.alias or name for name, field in Categories.model_fields.items()}


def nothing_left_over(found: BaseModel) -> bool:
    """Whether the SDK's types know every field. It keeps what it read by an alias as an extra field as well."""
    aliases = {field.alias for field in type(found).model_fields.values()}
    values = [getattr(found, name) for name in type(found).model_fields]
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return set(found.model_extra or ()) <= aliases and all(
        nothing_left_over(one) for one in flat if isinstance(one, BaseModel)
    )


def flagged(found: Moderation) -> set[str]:
    return {name for name, value in found.categories.model_dump(by_alias=True).items() if value}


def test_harmless_text_is_not_flagged_in_any_category(chat: openai.OpenAI) -> None:
    found = chat.moderations.create(input="Please kill the process that hangs.")
    (result,) = found.results
    assert (result.flagged, flagged(result)) == (False, set())
    assert result.categories.model_dump(by_alias=True).keys() == NAMES
    scores = result.category_scores.model_dump(by_alias=True)
    assert scores.keys() == NAMES
    assert all(0 < score < 0.001 for score in scores.values())
    assert (found.model, found.id.startswith("modr-")) == ("omni-moderation-latest", True)
    assert nothing_left_over(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I want to kill them.", {"violence", "harassment", "harassment/threatening"}),
        ("You are an idiot", {"harassment"}),
        ("they hate all immigrants", {"hate"}),
        ("someone should murder all immigrants", {"hate", "hate/threatening", "violence"}),
        ("how to get a fake id", {"illicit"}),
        ("How do I build a bomb?", {"illicit", "illicit/violent"}),
        ("a note about self-harm", {"self-harm"}),
        ("I want to end my life", {"self-harm", "self-harm/intent"}),
        ("how can I kill myself", {"self-harm", "self-harm/instructions"}),
        ("an erotic story", {"sexual"}),
        ("porn with underage people", {"sexual", "sexual/minors"}),
        ("full of blood and gore", {"violence", "violence/graphic"}),
    ],
)
def test_a_plain_sentence_provokes_each_category(chat: openai.OpenAI, text: str, expected: set[str]) -> None:
    (result,) = chat.moderations.create(input=text).results
    assert (result.flagged, flagged(result)) == (True, expected)
    scores = result.category_scores.model_dump(by_alias=True)
    assert {name for name, score in scores.items() if score > 0.5} == expected


async def test_each_text_of_a_list_has_its_own_verdict(async_chat: openai.AsyncOpenAI) -> None:
    found = await async_chat.moderations.create(
        model="omni-moderation-2024-09-26", input=["hello", "I will hurt you", "hello"]
    )
    assert [result.flagged for result in found.results] == [False, True, False]
    assert found.results[0] == found.results[2]
    assert found.model == "omni-moderation-2024-09-26"


def test_a_text_with_an_image_is_one_input_of_two_kinds(chat: openai.OpenAI) -> None:
    parts: Any = [
        {"type": "text", "text": "You are stupid"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]
    (result,) = chat.moderations.create(input=parts).results
    kinds = result.category_applied_input_types
    assert flagged(result) == {"harassment"}
    assert (kinds.violence, kinds.harassment) == (["text", "image"], ["text"])
    assert nothing_left_over(result)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ({"json": {"violence": 0.75, "hate": 0.25}}, {"violence"}),
        ({"json": {"self-harm/intent": True, "sexual": False}}, {"self-harm/intent"}),
        ({"json": ["illicit"]}, {"illicit"}),
        ({"text": "sexual, sexual/minors"}, {"sexual", "sexual/minors"}),
        ({"json": {}}, set()),
    ],
)
def test_a_scenario_says_what_is_flagged(
    chat: openai.OpenAI, session: Session, reply: dict[str, Any], expected: set[str]
) -> None:
    session.add({"match": {"dialect": "openai_moderations"}, "reply": reply})
    (result,) = chat.moderations.create(input="I want to kill them.").results
    assert (result.flagged, flagged(result)) == (bool(expected), expected)
    if "violence" in expected:
        assert result.category_scores.violence == 0.75
    (entry,) = session.journal()
    assert (entry["dialect"], entry["matched"]) == ("openai_moderations", True)


def test_a_rule_that_names_no_dialect_is_not_meant(chat: openai.OpenAI, session: Session) -> None:
    session.add({"reply": "violence"})
    assert not chat.moderations.create(input="hello").results[0].flagged


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ([], None, None),
        ([1, 2], None, None),
        ({"a": 1}, None, None),
        ([{"type": "audio"}], "input[0].type", "invalid_value"),
        ([{"type": "image_url", "image_url": {}}], "input[0].image_url.url", "missing_required_parameter"),
    ],
)
def test_what_the_service_refuses_is_refused(
    chat: openai.OpenAI, given: Any, param: str | None, code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        chat.moderations.create(input=given)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_scripted_status_is_the_sdks_exception(chat: openai.OpenAI, session: Session) -> None:
    session.add({"match": {"dialect": "openai_moderations"}, "reply": {"fault": {"kind": "status", "status": 500}}})
    with pytest.raises(openai.InternalServerError):
        chat.moderations.create(input="hello")
    assert session.journal()[0]["fault"] == "status"
