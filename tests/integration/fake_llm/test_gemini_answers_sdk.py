"""What stands beside a candidate's words, by the unchanged ``google-genai`` SDK: safety, sources, likelihoods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from .conftest import Session
from .gemini_calls import MODEL, ask, raw, reason, stream
from .gemini_known import assert_known

URL = f"/v1beta/models/{MODEL}:generateContent"
TEXT = "Grüße: Paris has 2 million people. Rome has more."
SOURCES: Any = [
    {"words": "Paris has 2 million people.", "url": "https://example.org/paris", "title": "Paris"},
    {"words": "Rome has more.", "url": "https://example.org/rome"},
    {"words": "Rome has more.", "url": "https://example.org/italy", "title": "Italy"},
]
SEARCH: Any = {"name": "web_search", "input": {"query": "how many <people>"}, "output": "2 million"}


@pytest.fixture(autouse=True)
def _every_field_is_known(session: Session) -> Iterator[None]:
    yield
    assert_known(session)


def candidate(found: types.GenerateContentResponse) -> types.Candidate:
    assert found.candidates
    return found.candidates[0]


@pytest.mark.parametrize(
    ("word", "silent"),
    [
        ("SAFETY", True), ("RECITATION", True), ("LANGUAGE", True), ("BLOCKLIST", True), ("PROHIBITED_CONTENT", True),
        ("SPII", True), ("OTHER", False), ("MALFORMED_FUNCTION_CALL", False), ("UNEXPECTED_TOOL_CALL", False),
        ("TOO_MANY_TOOL_CALLS", False), ("MAX_TOKENS", False), ("MISSING_THOUGHT_SIGNATURE", False),
    ],
)  # fmt: skip
def test_a_candidate_ends_for_the_reason_that_is_scripted(
    gemini: genai.Client, session: Session, word: str, silent: bool
) -> None:
    session.add({"reply": {"text": "", "finish_reason": word}})
    for found in (ask(gemini), *stream(gemini)):
        assert reason(found) == word
        assert (candidate(found).content is None) is silent
        rated = [rating.blocked for rating in candidate(found).safety_ratings or ()]
        assert rated.count(True) == (word == "SAFETY")


def test_who_sets_safety_gets_ratings_of_the_prompt_and_of_the_answer(gemini: genai.Client) -> None:
    setting: Any = {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}
    assert candidate(ask(gemini)).safety_ratings is None
    whole = ask(gemini, safety_settings=[setting])
    chunks = stream(gemini, safety_settings=[setting])
    for rated, prompted in ((whole, whole), (chunks[-1], chunks[0])):
        ratings = candidate(rated).safety_ratings or []
        assert [one.probability for one in ratings] == [types.HarmProbability.NEGLIGIBLE] * 4
        assert prompted.prompt_feedback is not None
        assert prompted.prompt_feedback.safety_ratings == ratings
    assert [chunk.prompt_feedback is None for chunk in chunks] == [False] + [True] * (len(chunks) - 1)


def test_sources_are_citations_without_a_search(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"text": TEXT, "citations": SOURCES}})
    for found in (ask(gemini), stream(gemini)[-1]):
        assert candidate(found).grounding_metadata is None
        metadata = candidate(found).citation_metadata
        assert metadata is not None
        cited = [(TEXT.encode()[c.start_index : c.end_index].decode(), c.uri) for c in metadata.citations or ()]
        assert cited == [(one["words"], one["url"]) for one in SOURCES]


def test_a_search_grounds_the_answer(gemini: genai.Client, session: Session) -> None:
    session.add({"reply": {"text": TEXT, "citations": SOURCES, "server_tools": [SEARCH]}})
    offered: Any = [{"google_search": {}}]
    for found in (ask(gemini, tools=offered), stream(gemini, tools=offered)[-1]):
        grounding = candidate(found).grounding_metadata
        assert grounding is not None
        assert grounding.web_search_queries == ["how many <people>"]
        assert grounding.search_entry_point is not None
        assert "&lt;people&gt;" in (grounding.search_entry_point.rendered_content or "")
        pages = [chunk.web.title for chunk in grounding.grounding_chunks or () if chunk.web]
        assert pages == ["Paris", "example.org", "Italy"]
        supports = [
            (
                TEXT.encode()[s.segment.start_index : s.segment.end_index].decode(),
                s.segment.text,
                s.grounding_chunk_indices,
            )
            for s in grounding.grounding_supports or ()
            if s.segment
        ]
        assert supports == [("Paris has 2 million people.",) * 2 + ([0],), ("Rome has more.",) * 2 + ([1, 2],)]
        assert found.usage_metadata is not None
        assert found.usage_metadata.tool_use_prompt_token_count == 2


def test_code_that_was_run_and_pages_that_were_read_are_shown(gemini: genai.Client, session: Session) -> None:
    tools = [
        {"name": "code_execution", "input": {"code": "print(2)"}, "output": "2\n"},
        {"name": "code_execution", "input": {"code": "1/0"}, "error": "ZeroDivisionError"},
        {"name": "url_context", "input": {"urls": ["https://example.org/a"]}},
        {"name": "url_context", "input": {"url": "https://example.org/b"}, "error": "paywall"},
    ]
    session.add({"reply": {"text": "Two.", "server_tools": tools}})
    offered: Any = [{"code_execution": {}}, {"url_context": {}}]
    whole = ask(gemini, tools=offered)
    chunks = stream(gemini, tools=offered)
    assert (whole.executable_code, whole.code_execution_result, whole.text) == ("print(2)", "2\n", "Two.")
    parts = (candidate(whole).content or types.Content()).parts or []
    outcomes = [part.code_execution_result.outcome for part in parts if part.code_execution_result]
    assert outcomes == [types.Outcome.OUTCOME_OK, types.Outcome.OUTCOME_FAILED]
    streamed = [part for chunk in chunks for part in (candidate(chunk).content or types.Content()).parts or []]
    assert streamed[:4] == parts[:4]
    for found in (whole, chunks[-1]):
        metadata = candidate(found).url_context_metadata
        assert metadata is not None
        read = [(page.retrieved_url, page.url_retrieval_status) for page in metadata.url_metadata or ()]
        assert read == [
            ("https://example.org/a", types.UrlRetrievalStatus.URL_RETRIEVAL_STATUS_SUCCESS),
            ("https://example.org/b", types.UrlRetrievalStatus.URL_RETRIEVAL_STATUS_PAYWALL),
        ]


def test_a_file_search_grounds_in_what_was_retrieved(gemini: genai.Client, session: Session) -> None:
    cited = {"quote": "Refunds take a week.", "title": "policy.pdf"}
    tool = {"name": "file_search", "input": {"queries": ["refunds"]}}
    session.add({"reply": {"text": "A week.", "citations": [cited], "server_tools": [tool]}})
    grounding = candidate(ask(gemini)).grounding_metadata
    assert grounding is not None
    (chunk,) = grounding.grounding_chunks or []
    assert chunk.retrieved_context is not None
    assert (chunk.retrieved_context.title, chunk.retrieved_context.text) == ("policy.pdf", "Refunds take a week.")


def test_log_probabilities_are_of_the_words_whole_and_in_pieces(gemini: genai.Client) -> None:
    assert candidate(ask(gemini)).logprobs_result is None
    found = candidate(ask(gemini, response_logprobs=True, logprobs=3, seed=1))
    assert found.logprobs_result is not None
    chosen = found.logprobs_result.chosen_candidates or []
    top = found.logprobs_result.top_candidates or []
    assert "".join(one.token or "" for one in chosen) == "You said: hello there"
    assert [len(one.candidates or ()) for one in top] == [3] * len(chosen)
    assert [one.candidates[0] for one in top if one.candidates] == chosen
    assert all((one.log_probability or 0) < 0 for one in chosen)
    mean = sum(one.log_probability or 0 for one in chosen) / len(chosen)
    assert found.avg_logprobs == pytest.approx(mean, abs=1e-5)
    chunks = [candidate(chunk) for chunk in stream(gemini, response_logprobs=True, seed=1)]
    streamed = [
        one for chunk in chunks if chunk.logprobs_result for one in chunk.logprobs_result.chosen_candidates or ()
    ]
    assert streamed == chosen
    assert chunks[-1].avg_logprobs == found.avg_logprobs


def test_what_is_attached_is_counted_by_its_kind(gemini: genai.Client) -> None:
    kinds = ["image/png", "audio/wav", "video/mp4", "application/pdf", "image/webp"]
    parts = [types.Part.from_bytes(data=b"\x00\xff", mime_type=kind) for kind in kinds]
    usage = ask(gemini, [*parts, "look"]).usage_metadata
    assert usage is not None
    counts = {d.modality.value: d.token_count or 0 for d in usage.prompt_tokens_details or () if d.modality}
    assert list(counts) == ["TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT"]
    assert counts["IMAGE"] == 2 * counts["AUDIO"]
    assert sum(counts.values()) == usage.prompt_token_count
    assert gemini.models.count_tokens(model=MODEL, contents=[*parts, "look"]).total_tokens == usage.prompt_token_count


def test_the_order_of_properties_is_the_one_that_was_asked_for(gemini: genai.Client) -> None:
    text: Any = {"type": "STRING"}
    schema = {
        "type": "OBJECT",
        "properties": {"a": text, "b": {**text, "nullable": True}, "c": {"type": "STRING", "enum": ["x", "y"]}},
        "required": ["a", "b", "c"],
        "propertyOrdering": ["c", "a", "b"],
    }
    found = json.loads(ask(gemini, response_mime_type="application/json", response_schema=schema).text or "")
    assert list(found) == ["c", "a", "b"]
    assert found["c"] in ("x", "y")


@pytest.mark.parametrize(("mode", "calls"), [("VALIDATED", []), ("ANY", ["g"])])
def test_a_mode_may_narrow_the_functions(gemini: genai.Client, mode: str, calls: Any) -> None:
    offered: Any = [{"function_declarations": [{"name": "f"}, {"name": "g"}]}]
    config: Any = {"function_calling_config": {"mode": mode, "allowed_function_names": ["g"]}}
    found = ask(gemini, tools=offered, tool_config=config)
    assert [call.name for call in found.function_calls or ()] == calls


def config(**values: Any) -> Any:
    return {"generationConfig": values}


def part(**value: Any) -> Any:
    return {"contents": [{"parts": [value]}]}


def setting(category: str, threshold: str = "OFF") -> Any:
    return {"safetySettings": [{"category": f"HARM_CATEGORY_{category}", "threshold": threshold}]}


F: Any = {"tools": [{"functionDeclarations": [{"name": "f"}]}]}
OBJECT: Any = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (setting("RUDE"), 400, "Invalid value at 'safety_settings[0].category'"),
        (setting("HARASSMENT", "ALL"), 400, "Invalid value at 'safety_settings[0].threshold'"),
        (setting("MEDICAL"), 400, "safety_settings[0]: element predicate failed: $.category in (HarmCategory."),
        ({"safety_settings": setting("HARASSMENT")["safetySettings"] * 2}, 400, "Duplicate safety setting"),
        (config(responseModalities=["TEXT", "IMAGE"]), 400, "response modalities (TEXT, IMAGE) is not supported"),
        (config(response_modalities=["SMELL"]), 400, "generation_config.response_modalities[0]"),
        (config(logprobs=2), 400, "generation_config.logprobs: logprobs is only allowed"),
        (config(responseLogprobs=True, logprobs=21), 400, "logprobs must be in the range [0, 20]"),
        ({"cachedContent": "cachedContents/abc"}, 403, "CachedContent not found (or permission denied)"),
        ({"cached_content": "abc"}, 400, "Invalid CachedContent name"),
        (part(inlineData={"mimeType": "image/gif", "data": "AAAA"}), 400, "Unsupported MIME type: image/gif"),
        (part(fileData={"mimeType": "image/png"}), 400, "parts[0].file_data.file_uri: file_uri must not be empty"),
        (part(file_data={"file_uri": "files/abc-1"}), 403, "permission to access the File abc-1 or it may not exist"),
        (part(text="x", inlineData={"mimeType": "image/png"}), 400, "oneof field 'data' is already set"),
        ({**F, "toolConfig": {"functionCallingConfig": {"mode": "AUTO", "allowedFunctionNames": ["f"]}}}, 400,
         "only allowed for the modes ANY and VALIDATED"),
        (config(responseMimeType="application/json", responseSchema={**OBJECT, "required": ["b"]}), 400,
         "generation_config.response_schema.required[0]: property is not defined"),
        (config(responseMimeType="application/json", responseSchema={**OBJECT, "propertyOrdering": ["b"]}), 400,
         "response_schema.property_ordering[0]: property is not defined"),
        (config(responseMimeType="application/json", responseSchema={"type": "INTEGER", "enum": [1]}), 400, "enum[0]"),
    ],
)  # fmt: skip
def test_gemini_refuses_with_its_status_and_in_its_words(
    session: Session, body: Any, status: int, message: str
) -> None:
    found = raw(session, URL, body=body)
    assert (found.status_code, found.json()["error"]["code"]) == (status, status)
    assert found.json()["error"]["status"] == {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED"}[status]
    assert message in found.json()["error"]["message"]


def test_a_bad_key_says_why_and_a_quota_what_and_when(gemini: genai.Client, session: Session) -> None:
    bad = {"kind": "status", "status": 400, "code": "API_KEY_INVALID"}
    session.add({"sequence": [{"fault": bad}, {"fault": {"kind": "status", "status": 429, "retry_after_s": 34}}]})
    shown: list[dict[str, Any]] = []
    for _ in range(2):
        with pytest.raises(errors.ClientError) as caught:
            ask(gemini)
        shown.append({d["@type"].rpartition(".")[2]: d for d in caught.value.details["error"]["details"]})
    assert (shown[0]["ErrorInfo"]["reason"], "API key not valid" in shown[0]["LocalizedMessage"]["message"]) == (
        "API_KEY_INVALID",
        True,
    )
    assert shown[1]["RetryInfo"]["retryDelay"] == "34s"
    assert shown[1]["QuotaFailure"]["violations"][0]["quotaId"]
    assert shown[1]["Help"]["links"][0]["url"].startswith("https://ai.google.dev/")
