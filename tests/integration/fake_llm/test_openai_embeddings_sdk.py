"""Embeddings by the unchanged ``openai`` SDK against the running server."""

from __future__ import annotations

import json
import math
from typing import Any

import openai
import pytest

from .conftest import Session
from .test_openai_sdk import HELLO, nothing_left_over

SMALL = "text-embedding-3-small"
DOCUMENTS = [
    "Parcels leave the warehouse every morning.",
    "Goods may be returned within 30 days for a full refund.",
    "The database was slow because an index was missing.",
]


def cosine(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def vectors(client: openai.OpenAI, texts: list[str], **more: Any) -> list[list[float]]:
    found = client.embeddings.create(model=SMALL, input=texts, **more)
    return [one.embedding for one in found.data]


def test_a_question_is_nearest_to_the_document_that_answers_it(chat: openai.OpenAI) -> None:
    documents = vectors(chat, DOCUMENTS)
    for question, expected in (("how do I get a refund for goods?", 1), ("is the database slow?", 2)):
        scores = [cosine(vectors(chat, [question])[0], document) for document in documents]
        assert scores.index(max(scores)) == expected
        assert sorted(scores)[-1] > sorted(scores)[-2] + 0.1, scores


async def test_the_async_client_gets_the_same_vectors(async_chat: openai.AsyncOpenAI, chat: openai.OpenAI) -> None:
    found = await async_chat.embeddings.create(model=SMALL, input=DOCUMENTS)
    assert [one.embedding for one in found.data] == vectors(chat, DOCUMENTS)
    assert nothing_left_over(found)


def test_one_text_gives_one_vector_of_length_1(chat: openai.OpenAI) -> None:
    found = chat.embeddings.create(model=SMALL, input=DOCUMENTS[0])
    (only,) = found.data
    assert (found.object, found.model, only.object, only.index) == ("list", SMALL, "embedding", 0)
    assert len(only.embedding) == 1536
    assert math.hypot(*only.embedding) == pytest.approx(1, abs=1e-6)
    assert found._request_id
    assert nothing_left_over(found)


def test_base64_and_numbers_are_the_same_vector(chat: openai.OpenAI) -> None:
    assert vectors(chat, DOCUMENTS[:1])[0] == pytest.approx(
        vectors(chat, DOCUMENTS[:1], encoding_format="float")[0], abs=1e-7
    )


@pytest.mark.parametrize(("encoding", "kind"), [("base64", str), ("float", list), (None, list)])
def test_the_wire_has_the_encoding_that_was_asked_for(session: Session, encoding: str | None, kind: type) -> None:
    answer = session.control.post(
        "/v1/embeddings",
        headers={"authorization": f"Bearer {session.api_key}"},
        json={"model": SMALL, "input": "hello", "encoding_format": encoding, "dimensions": None, "user": None},
    )
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json()["data"][0]["embedding"], kind)


@pytest.mark.parametrize(
    ("model", "asked", "expected"),
    [
        (SMALL, None, 1536),
        (SMALL, 512, 512),
        ("text-embedding-3-large", None, 3072),
        ("text-embedding-3-large", 256, 256),
        ("text-embedding-ada-002", None, 1536),
        ("an-unknown-model", None, 1536),
        ("an-unknown-model", 768, 768),
    ],
)
def test_the_dimension_is_the_models_or_the_one_asked_for(
    chat: openai.OpenAI, model: str, asked: int | None, expected: int
) -> None:
    found = chat.embeddings.create(model=model, input="hello", dimensions=asked or openai.omit)
    assert len(found.data[0].embedding) == expected
    assert math.hypot(*found.data[0].embedding) == pytest.approx(1, abs=1e-6)


def test_inputs_keep_their_order_and_are_numbered(chat: openai.OpenAI) -> None:
    found = chat.embeddings.create(model=SMALL, input=[*DOCUMENTS, DOCUMENTS[0]])
    assert [one.index for one in found.data] == [0, 1, 2, 3]
    assert found.data[0].embedding == found.data[3].embedding == vectors(chat, DOCUMENTS[:1])[0]
    assert found.data[1].embedding == vectors(chat, DOCUMENTS[1:2])[0]


def test_tokens_are_taken_for_one_text_and_for_several(chat: openai.OpenAI) -> None:
    one = chat.embeddings.create(model=SMALL, input=[1212, 318, 257])
    several = chat.embeddings.create(model=SMALL, input=[[1212, 318, 257], [9, 8], [1212, 318, 258]])
    assert (len(one.data), one.usage.prompt_tokens) == (1, 3)
    assert (len(several.data), several.usage.total_tokens) == (3, 8)
    first, other, near = [found.embedding for found in several.data]
    assert first == one.data[0].embedding
    assert cosine(first, near) > 0.4 > abs(cosine(first, other))


def test_usage_grows_with_the_input(chat: openai.OpenAI) -> None:
    used = [chat.embeddings.create(model=SMALL, input=["word " * n] * 2).usage for n in (1, 20, 200)]
    assert [usage.prompt_tokens for usage in used] == sorted({usage.prompt_tokens for usage in used})
    assert all(usage.prompt_tokens == usage.total_tokens > 0 for usage in used)


@pytest.mark.parametrize(
    ("change", "message", "param", "code"),
    [
        ({"input": ""}, r"'\$\.input' is invalid", None, None),
        ({"input": []}, r"'\$\.input' is invalid", None, None),
        ({"input": ["a", ""]}, r"'\$\.input' is invalid", None, None),
        ({"input": ["a", 1]}, r"'\$\.input' is invalid", None, None),
        ({"input": [[1], []]}, r"'\$\.input' is invalid", None, None),
        ({"input": [1, -2]}, r"'\$\.input' is invalid", None, None),
        ({"input": [True]}, r"'\$\.input' is invalid", None, None),
        ({"input": {"text": "a"}}, r"'\$\.input' is invalid", None, None),
        ({"input": ["a"] * 2049}, "maximum length 2048", "input", "array_above_max_length"),
        ({"input": "word " * 8200}, "maximum context length is 8192 tokens", None, None),
        ({"input": [[1] * 8192] * 37}, "max 300000 tokens per request", None, "max_tokens_per_request"),
        ({"dimensions": 0}, "below minimum", "dimensions", "integer_below_min_value"),
        ({"dimensions": 1537}, "less than or equal to 1536", "dimensions", None),
        ({"dimensions": "256"}, "Invalid type", "dimensions", "invalid_type"),
        ({"model": "text-embedding-ada-002", "dimensions": 256}, "does not support specifying", None, None),
        ({"encoding_format": "hex"}, "'float' and 'base64'", "encoding_format", "invalid_value"),
        ({"user": 5}, "Invalid type", "user", "invalid_type"),
        ({"model": ""}, "you must provide a model", None, None),
    ],
)
def test_what_the_service_refuses_is_refused(
    chat: openai.OpenAI, change: dict[str, Any], message: str, param: str | None, code: str | None
) -> None:
    asked: dict[str, Any] = {"model": SMALL, "input": "hello", "encoding_format": "float", **change}
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        chat.embeddings.create(**asked)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_as_many_inputs_as_the_service_takes_are_taken(chat: openai.OpenAI) -> None:
    found = chat.embeddings.create(model=SMALL, input=["a b"] * 2048, dimensions=2)
    assert [one.index for one in found.data] == list(range(2048))


def test_a_chat_model_makes_no_embeddings(chat: openai.OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError, match="not allowed to generate embeddings"):
        chat.embeddings.create(model="gpt-4o", input="hello")


def test_the_sessions_journal_has_the_call(chat: openai.OpenAI, session: Session) -> None:
    chat.embeddings.create(model=SMALL, input=["one", "two"])
    with pytest.raises(openai.BadRequestError):
        chat.embeddings.create(model=SMALL, input="")
    entry, refused = session.journal()
    assert (entry["dialect"], entry["path"], entry["status"]) == ("openai_embeddings", "/v1/embeddings", 200)
    assert (entry["model"], entry["turn"]["user"]) == (SMALL, "one\ntwo")
    assert entry["request"]["input"] == ["one", "two"]
    assert entry["usage"] == {"input_tokens": 2, "output_tokens": 0, "cached_tokens": 0, "reasoning_tokens": 0}
    assert len(json.loads(entry["reply_raw"])["data"]) == 2
    assert (refused["status"], refused["turn"]) == (400, None)


def test_a_rule_for_words_is_not_used_up_by_an_embedding(chat: openai.OpenAI, session: Session) -> None:
    session.add({"match": {"user": "hello"}, "sequence": ["first", "second"]})
    chat.embeddings.create(model=SMALL, input="hello")
    found = chat.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert found.choices[0].message.content == "first"


def test_a_strict_session_has_embeddings_all_the_same(chat: openai.OpenAI, session: Session) -> None:
    session.call("PATCH", json={"strict": True})
    assert chat.embeddings.create(model=SMALL, input="hello").data
    assert session.call("GET")["unmatched"] == 0


def test_a_scripted_fault_is_the_sdks_exception_and_a_retry_succeeds(chat: openai.OpenAI, session: Session) -> None:
    session.add(
        {
            "match": {"dialect": "openai_embeddings", "user": "hello"},
            "sequence": [
                {"fault": {"kind": "status", "status": 429}},
                {"fault": {"kind": "status", "status": 503, "retry_after_ms": 5}},
                {"usage": {"input_tokens": 77, "output_tokens": 0}, "headers": {"x-mine": "1"}},
            ],
        }
    )
    with pytest.raises(openai.RateLimitError) as caught:
        chat.embeddings.create(model=SMALL, input="hello")
    assert caught.value.code == "rate_limit_exceeded"
    found = chat.with_options(max_retries=1).embeddings.with_raw_response.create(model=SMALL, input="hello")
    assert (found.parse().usage.prompt_tokens, found.headers["x-mine"]) == (77, "1")
    assert len(found.parse().data[0].embedding) == 1536
    assert [entry["status"] for entry in session.journal()] == [429, 503, 200]


@pytest.mark.parametrize("kind", ["cut", "hang", "malformed"])
def test_a_switched_fault_reaches_embeddings_too(chat: openai.OpenAI, session: Session, kind: str) -> None:
    fault = {"kind": kind, "hang_s": 0.05} if kind == "hang" else {"kind": kind}
    session.call("PUT", "/fault", json={"fault": fault, "times": 1})
    with pytest.raises((openai.OpenAIError, json.JSONDecodeError)):
        chat.embeddings.create(model=SMALL, input="hello")
    assert chat.embeddings.create(model=SMALL, input="hello").data


def test_a_request_without_a_key_is_refused(session: Session) -> None:
    answer = session.control.post("/v1/embeddings", json={"model": SMALL, "input": "hello"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "invalid_request_error")
