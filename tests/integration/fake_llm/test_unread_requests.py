"""Requests of which nothing could be read: each provider refuses them in its own form and words."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from .conftest import Session
from .raw import headers_of

CHAT, AZURE = "/v1/chat/completions", "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
CLAUDE, GEMINI, OLLAMA = "/v1/messages", "/v1beta/models/m:generateContent", "/api/chat"
OPENAIS = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have trouble "
    "figuring out how to fix this, please contact us through our help center at help.openai.com.)"
)


def asked(session: Session, path: str, body: bytes, method: str = "POST", **headers: str) -> tuple[int, Any]:
    sent = headers_of(session.api_key, **headers)
    if not path.startswith("/v1/messages"):
        del sent["anthropic-version"]
    if path.startswith("/v1beta"):
        sent["x-goog-api-key"] = session.api_key
    answer = httpx.request(method, session.url + path, content=body, headers=sent, trust_env=False, timeout=30)
    return answer.status_code, answer.json()


def openai_error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


@pytest.mark.parametrize("path", [CHAT, AZURE, "/v1/responses", "/v1/embeddings"])
def test_openai_and_azure_say_that_the_body_is_no_json(session: Session, path: str) -> None:
    assert asked(session, path, b'{"model": ') == (400, openai_error(OPENAIS))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"model": x}', "unexpected character: line 1 column 11 (char 10)"),
        (b'{\n"model": \n', "unexpected end of data: line 3 column 1 (char 12)"),
        (b'{"a": "b\x01"}', "unexpected control character in string: line 1 column 9 (char 8)"),
        (b"", "Input is a zero-length, empty document: line 1 column 1 (char 0)"),
    ],
)
@pytest.mark.parametrize("path", [CLAUDE, "/v1/messages/count_tokens"])
def test_anthropic_names_the_place(session: Session, path: str, body: bytes, why: str) -> None:
    status, found = asked(session, path, body)
    assert (status, found["type"], found["error"]["type"]) == (400, "error", "invalid_request_error")
    assert found["error"]["message"] == f"The request body is not valid JSON: {why}"
    assert found["request_id"].startswith("req_")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"q=test", "Unexpected token.\nq=test\n^"),
        (
            b'{"contents": [{"parts": [{"text": "a"} "b"]}]}',
            'Expected , or ] after array value.\n [{"parts": [{"text": "a"} "b"]}]}\n' + " " * 20 + "^",
        ),
        (b'{"a": 1 "b": 2}', 'Expected , or } after key:value pair.\n{"a": 1 "b": 2}\n        ^'),
        (b'{"a": "b', 'Closing quote expected in string.\n{"a": "b\n      ^'),
    ],
)
def test_google_shows_the_place(session: Session, body: bytes, why: str) -> None:
    status, found = asked(session, GEMINI, body)
    message = f"Invalid JSON payload received. {why}"
    if "[{" in body.decode():
        message = found["error"]["message"]
        assert message.startswith("Invalid JSON payload received. Expected , or ] after array value.\n")
        assert message.endswith("\n" + " " * 20 + "^")
    assert (status, found) == (400, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"mist", "invalid character 'm' looking for beginning of value"),
        (b"", "missing request body"),
        (b'{"model": "m"', "unexpected EOF"),
        (b'{"model" "m"}', "invalid character '\"' after object key"),
        (b'{"a": [1 2]}', "invalid character '2' after array element"),
        (b'{"a": 1 2}', "invalid character '2' after object key:value pair"),
        (b"{'a': 1}", r"invalid character '\'' looking for beginning of object key string"),
        (b'{"a": "\n"}', r"invalid character '\n' in string literal"),
        (b"[1]", "json: cannot unmarshal array into Go value of type api.ChatRequest"),
    ],
)
def test_ollama_passes_on_what_go_says(session: Session, body: bytes, why: str) -> None:
    assert asked(session, OLLAMA, body) == (400, {"error": why})


def test_a_body_that_is_no_object_is_refused_in_each_form(session: Session) -> None:
    status, found = asked(session, CHAT, b"[1]")
    assert (status, found["error"]["type"], found["error"]["code"]) == (400, "invalid_request_error", "invalid_type")
    status, found = asked(session, CLAUDE, b'"text"')
    assert (status, found["error"]) == (
        400,
        {"type": "invalid_request_error", "message": "Input should be a valid dictionary"},
    )
    status, found = asked(session, GEMINI, b"[1]")
    why = 'Invalid JSON payload received. Unknown name "": Root element must be a message.'
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"description": why}]}]
    assert (status, found["error"]) == (
        400,
        {"code": 400, "message": why, "status": "INVALID_ARGUMENT", "details": details},
    )


def test_openai_takes_json_only(session: Session) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
    told = (
        "Unsupported content type: 'text/plain'. This API method only accepts 'application/json' requests, but you "
        "specified the header 'Content-Type: text/plain'. Please try again with a supported content type."
    )
    assert asked(session, CHAT, body, content_type="text/plain") == (
        400,
        openai_error(told, "unsupported_content_type"),
    )
    form = "application/x-www-form-urlencoded"
    assert asked(session, CHAT, body, content_type=form) == (400, openai_error("you must provide a model parameter"))
    for right in ("application/json; charset=utf-8", "Application/JSON"):
        assert asked(session, CHAT, body, content_type=right)[0] == 200
    assert asked(session, CHAT, body)[0] == 200
    assert asked(session, "/api/embed", b'{"model": "m", "input": "a"}', content_type=form)[0] == 200


def test_a_wrong_method_is_told_as_each_provider_does(session: Session) -> None:
    told = "Not allowed to GET on /v1/embeddings. (HINT: Perhaps you meant to use a different HTTP method?)"
    assert asked(session, "/v1/embeddings", b"", "GET") == (405, openai_error(told))
    status, found = asked(session, "/openai/v1/embeddings", b"", "GET")
    assert (status, found) == (404, {"error": {"code": "404", "message": "Resource not found"}})
    status, found = asked(session, CLAUDE, b"", "GET")
    assert (status, found["type"], found["error"]["message"]) == (405, "error", "Method Not Allowed")
    assert asked(session, OLLAMA, b"", "GET") == (405, {"error": "405 method not allowed"})


def head_of(session: Session, path: str, size: int) -> tuple[int, Any]:
    """The answer to a body that is announced and not sent."""
    where = urlsplit(session.url)
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\ncontent-length: {size}\r\n\r\n{{"
    with socket.create_connection((str(where.hostname), where.port), timeout=5) as connection:
        connection.sendall(head.encode())
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, json.loads(answer.read())


def test_a_body_that_is_too_large_is_told_as_each_provider_does(session: Session) -> None:
    status, found = head_of(session, CLAUDE, 33 * 1024 * 1024)
    assert (status, found["type"]) == (413, "error")
    assert found["error"] == {"type": "request_too_large", "message": "Request exceeds the maximum size"}
    status, found = head_of(session, GEMINI, 65 * 1024 * 1024)
    assert (status, found["error"]["message"]) == (400, "Request payload size exceeds the limit: 67108864 bytes.")
    assert head_of(session, OLLAMA, 65 * 1024 * 1024) == (413, {"error": "http: request body too large"})


def test_a_limit_on_azures_paths_is_told_as_azure_does(session: Session) -> None:
    session.call("PUT", "/limits", json={"requests_per_minute": 1, "tokens_per_minute": 50})
    azure = openai.AzureOpenAI(
        azure_endpoint=session.url, api_key=session.api_key, api_version="2024-10-21", max_retries=0
    )
    with azure as client:
        first = client.chat.completions.with_raw_response.create(
            model="gpt", messages=[{"role": "user", "content": "hi"}]
        )
        assert first.headers["x-ratelimit-remaining-requests"] == "0"
        assert first.headers["x-ratelimit-reset-requests"].isdecimal()
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "hi"}])
    assert refused.value.code == "429"
    assert set(refused.value.response.json()["error"]) == {"code", "message"}
    seconds = refused.value.response.headers["retry-after"]
    assert refused.value.response.json()["error"]["message"].startswith(
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded call "
        f"rate limit of your current OpenAI S0 pricing tier. Please retry after {seconds} seconds."
    )
    assert refused.value.response.headers["x-ratelimit-reset-requests"].isdecimal()
