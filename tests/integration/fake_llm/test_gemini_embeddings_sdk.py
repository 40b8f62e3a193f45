"""Gemini's embeddings, by the unchanged ``google-genai`` SDK and by plain HTTP."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from .conftest import Session
from .gemini_calls import raw
from .gemini_known import assert_known

MODEL = "gemini-embedding-001"


def embed(client: genai.Client, contents: Any, **config: Any) -> list[list[float]]:
    found = client.models.embed_content(
        model=MODEL, contents=contents, config=types.EmbedContentConfig(**config) if config else None
    )
    return [list(one.values or ()) for one in found.embeddings or ()]


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_texts_that_share_words_are_similar_and_come_in_order(gemini: genai.Client, session: Session) -> None:
    found = embed(gemini, ["how do I get a refund", "refunds are given within a week", "the cat sat on the mat"])
    assert [len(one) for one in found] == [3_072] * 3
    assert cosine(found[0], found[0]) == pytest.approx(1, abs=1e-4)
    assert cosine(found[0], found[1]) > cosine(found[0], found[2]) + 0.1
    (single,) = embed(gemini, "the cat sat on the mat")
    assert single == found[2]
    (short,) = embed(gemini, "how do I get a refund", output_dimensionality=256, task_type="RETRIEVAL_QUERY")
    length = math.sqrt(sum(value * value for value in found[0][:256]))
    assert short == pytest.approx([value / length for value in found[0][:256]], abs=1e-6)
    usage = gemini.models.embed_content(model=MODEL, contents=["one two", "three"]).usage_metadata
    assert usage is not None
    assert usage.prompt_token_count == 3
    assert assert_known(session) == 4


async def test_the_async_client_embeds_and_a_title_belongs_to_its_document(
    gemini: genai.Client, session: Session
) -> None:
    config = types.EmbedContentConfig(task_type="RETRIEVAL_DOCUMENT", title="Refund policy")
    async with gemini.aio as client:
        found = await client.models.embed_content(model=MODEL, contents="Within a week.", config=config)
    (question,) = embed(gemini, "refund policy")
    (plain,) = embed(gemini, "Within a week.")
    assert found.embeddings
    assert cosine(question, found.embeddings[0].values or []) > cosine(question, plain) + 0.3
    entry = session.journal()[0]
    assert (entry["dialect"], entry["turn"]["user"]) == ("gemini_embeddings", "Refund policy\nWithin a week.")


def test_only_a_scenario_that_names_the_dialect_is_meant(gemini: genai.Client, session: Session) -> None:
    fault = {"kind": "status", "status": 429, "retry_after_s": 2}
    session.add(
        {"match": {"dialect": "gemini_embeddings", "user": "often"}, "reply": {"fault": fault}},
        {"name": "for chats", "reply": "hi"},
    )
    assert len(embed(gemini, "once")) == 1
    with pytest.raises(errors.ClientError) as caught:
        embed(gemini, "too often")
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")
    kinds = {one["@type"].rpartition(".")[2]: one for one in caught.value.details["error"]["details"]}
    assert kinds["RetryInfo"]["retryDelay"] == "2s"
    assert kinds["QuotaFailure"]["violations"][0]["quotaDimensions"]["model"] == MODEL
    assert session.call("GET")["unmatched"] == 0


def test_one_content_alone_has_an_answer_of_its_own(gemini: genai.Client, session: Session) -> None:
    for body in (
        {"content": {"parts": [{"text": "one"}]}, "outputDimensionality": 8},
        {"content": {"parts": {"text": "one"}}, "output_dimensionality": "8", "task_type": "CLUSTERING"},
    ):
        found = raw(session, f"/v1beta/models/{MODEL}:embedContent", body=body).json()
        assert found["embedding"]["values"] == embed(gemini, "one", output_dimensionality=8)[0]
        assert found["usageMetadata"]["promptTokenCount"] == 1


ONE: Any = {"model": f"models/{MODEL}", "content": {"parts": [{"text": "x"}]}}


@pytest.mark.parametrize(
    ("method", "body", "message"),
    [
        ("embedContent", {}, "EmbedContentRequest.content: content is not specified"),
        ("embedContent", {"content": {"parts": [{"text": ""}]}}, "EmbedContentRequest.content: content is empty"),
        ("embedContent", {**ONE, "taskType": "SEARCH"}, "Invalid value at 'task_type'"),
        ("embedContent", {**ONE, "title": "t"}, "EmbedContentRequest.title: a title is only allowed"),
        ("embedContent", {**ONE, "outputDimensionality": 4000}, "must be in the range [1, 3072]"),
        ("embedContent", {"content": {"parts": [{"inlineData": {}}]}}, "only supports text"),
        ("batchEmbedContents", {}, "BatchEmbedContentsRequest.requests: requests is not specified"),
        ("batchEmbedContents", {"requests": [ONE] * 101}, "at most 100 requests can be in one batch"),
        ("batchEmbedContents", {"requests": [{**ONE, "model": "models/other"}]}, "requests[0].model"),
        ("batchEmbedContents", {"requests": ["x"]}, "Invalid value at 'requests[0]'"),
    ],
)
def test_what_cannot_be_embedded_is_refused(session: Session, method: str, body: Any, message: str) -> None:
    found = raw(session, f"/v1/models/{MODEL}:{method}", body=body)
    assert (found.status_code, found.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert message in found.json()["error"]["message"]


def test_a_model_that_does_not_embed_is_not_found(session: Session) -> None:
    found = raw(session, "/v1beta/models/gemini-2.5-flash:embedContent", body=ONE)
    assert found.status_code == 404
    assert "not supported for embedContent" in found.json()["error"]["message"]
