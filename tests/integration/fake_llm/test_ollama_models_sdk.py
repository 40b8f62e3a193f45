"""Ollama's models and embeddings by the unchanged client against the running server."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from .conftest import Session
from .ollama_calls import HELLO, MODEL, key_of

EMBEDDER = "nomic-embed-text"
DOCUMENTS = [
    "Parcels leave the warehouse every morning.",
    "Goods may be returned within 30 days for a full refund.",
]


def names(client: ollama.Client) -> list[str | None]:
    return [model.model for model in client.list().models]


def test_models_are_listed_and_shown_with_what_they_can_do(llama: ollama.Client) -> None:
    listed = {model.model: model for model in llama.list().models}
    assert {"llama3.2:latest", "nomic-embed-text:latest"} <= listed.keys()
    model = listed["qwen3:8b"]
    assert model.details is not None
    assert (model.details.family, model.details.parameter_size) == ("qwen3", "8.0B")
    assert len(model.digest or "") == 64
    assert (model.size or 0) > 1_000_000_000
    shown = llama.show("qwen3:8b")
    assert shown.details == model.details
    assert (shown.modelinfo or {})["qwen3.context_length"] == 40_960
    assert {"completion", "tools", "thinking", "vision"} <= set(shown.capabilities or ())
    embedder = llama.show(EMBEDDER)
    assert embedder.capabilities == ["embedding"]
    width = (embedder.modelinfo or {})["nomic-bert.embedding_length"]
    assert width == len(llama.embed(EMBEDDER, "x").embeddings[0])
    assert llama.show("a-model-of-mine").details is not None


def test_what_was_used_is_loaded_for_as_long_as_it_is_kept(llama: ollama.Client) -> None:
    llama.chat(MODEL, HELLO)
    llama.generate("qwen3:8b", "hello", keep_alive="1h30m")
    llama.embed(EMBEDDER, "x", keep_alive=-1)
    llama.chat("gone", HELLO, keep_alive=0)
    loaded = {model.model: model for model in llama.ps().models}
    assert list(loaded) == ["nomic-embed-text:latest", "qwen3:8b", "llama3.2:latest"]
    now = datetime.now(UTC)
    left = {name: model.expires_at - now for name, model in loaded.items() if model.expires_at}
    assert timedelta(minutes=4) < left["llama3.2:latest"] < timedelta(minutes=6)
    assert timedelta(minutes=85) < left["qwen3:8b"] < timedelta(minutes=95)
    assert left["nomic-embed-text:latest"] > timedelta(days=36_500)
    assert loaded["qwen3:8b"].size_vram == loaded["qwen3:8b"].size


def test_a_deleted_model_is_not_found_until_it_is_pulled_again(llama: ollama.Client, session: Session) -> None:
    llama.chat(MODEL, HELLO)
    assert llama.delete(MODEL).status == "success"
    assert "llama3.2:latest" not in names(llama)
    assert llama.ps().models == []
    calls: list[Any] = [
        lambda: llama.chat(MODEL, HELLO),
        lambda: list(llama.chat("llama3.2:latest", HELLO, stream=True)),
        lambda: llama.generate(MODEL, "x"),
        lambda: llama.embed(MODEL, "x"),
        lambda: llama.show(MODEL),
        lambda: llama.delete("Llama3.2"),
        lambda: llama.copy(MODEL, "mine"),
    ]
    for call in calls:
        with pytest.raises(ollama.ResponseError, match=r"model ['\"].lama3\.2(:latest)?['\"] not found") as caught:
            call()
        assert caught.value.status_code == 404
    with ollama.Client(host=f"{session.url}/s/another-{session.id}") as other:
        assert other.chat(MODEL, HELLO).done, "what one session deletes is there in any other"
    assert llama.pull(MODEL).status == "success"
    assert llama.chat(MODEL, HELLO).message.content == "You said: hello"
    assert names(llama)[0] == "llama3.2:latest"


def test_a_session_that_is_reset_has_all_its_models_again(llama: ollama.Client, session: Session) -> None:
    before = names(llama)
    llama.delete(MODEL)
    llama.create("mine", from_="qwen3:8b")
    session.call("POST", "/reset")
    assert names(llama) == before


def test_pull_and_push_tell_their_progress(llama: ollama.Client) -> None:
    pulled = list(llama.pull("mine/bespoke:7b", stream=True))
    assert [pulled[0].status, *(step.status for step in pulled[-3:])] == [
        "pulling manifest",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    layers = [step for step in pulled if step.digest]
    assert layers[-1].completed == layers[-1].total == 4_200_000_000
    assert [step.completed or 0 for step in layers] == sorted(step.completed or 0 for step in layers)
    assert "mine/bespoke:7b" in names(llama)
    pushed = [step.status for step in llama.push("mine/bespoke:7b", stream=True)]
    assert (pushed[0], pushed[-1]) == ("retrieving manifest", "success")
    assert llama.push("mine/bespoke:7b").status == "success"


def test_progress_is_lines_of_json_unless_it_is_not_wanted(session: Session) -> None:
    answer = session.control.post("/api/pull", json={"name": "by-its-former-key"}, headers=key_of(session))
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert json.loads(answer.text.splitlines()[-1]) == {"status": "success"}
    answer = session.control.post("/api/pull", json={"model": "m", "stream": False}, headers=key_of(session))
    assert answer.json() == {"status": "success"}


def test_a_created_model_has_its_instructions_before_every_conversation(llama: ollama.Client, session: Session) -> None:
    said = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Ahoy!"}]
    steps = list(
        llama.create("pirate", from_="qwen3:8b", system="You are a pirate.", messages=said, parameters={"stop": ["x"]},
                     template="{{ .System }}", license=["one", "two"], stream=True)
    )  # fmt: skip
    assert steps[-1].status == "success"
    shown = llama.show("pirate")
    assert shown.details is not None
    assert (shown.details.parent_model, shown.details.family) == ("qwen3:8b", "qwen3")
    assert (shown.template, shown.license) == ("{{ .System }}", "one\ntwo")
    assert 'SYSTEM """You are a pirate."""' in (shown.modelfile or "")
    assert "stop" in (shown.parameters or "")
    session.add({"match": {"system": "pirate", "turn": 2}, "reply": "Arr."})
    assert llama.chat("pirate", HELLO).message.content == "Arr."
    assert llama.chat("pirate:latest", HELLO).message.content == "Arr."
    assert llama.generate("pirate", "hello").response == "Arr."
    assert llama.copy("pirate", "captain").status == "success"
    assert llama.chat("captain", HELLO).message.content == "Arr."
    own = llama.chat("pirate", [{"role": "system", "content": "Be plain."}, *HELLO])
    assert own.message.content == "You said: hello"


async def test_a_file_is_uploaded_checked_and_made_a_model(
    llama: ollama.Client, async_llama: ollama.AsyncClient, session: Session, tmp_path: Path
) -> None:
    file = tmp_path / "adapter.gguf"
    file.write_bytes(b"weights " * 10_000)
    unknown = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    at = f"{session.url}/s/{session.id}/api/blobs/"
    assert httpx.head(at + unknown).status_code == 404
    digest = llama.create_blob(file)
    assert httpx.head(at + digest).status_code == 200
    assert httpx.post(at + digest, content=b"", timeout=30).status_code == 200
    assert llama.create("mine", files={"adapter.gguf": digest}).status == "success"
    file.write_bytes(b"other")
    assert await async_llama.create_blob(file) == unknown
    assert httpx.head(at + unknown).status_code == 200
    wrong = httpx.post(at + "sha256:" + "0" * 64, content=b"x", timeout=30)
    assert (wrong.status_code, "digest mismatch" in wrong.json()["error"]) == (400, True)
    assert httpx.post(at + "md5:00", content=b"x", timeout=30).json() == {"error": "invalid digest format"}
    assert httpx.get(at + digest, timeout=30).status_code == 405


def test_a_blob_is_bounded_in_size(session: Session) -> None:
    answer = session.control.post(f"/api/blobs/sha256:{'0' * 64}", content=bytes(64 * 1024 * 1024 + 1))
    assert (answer.status_code, list(answer.json())) == (413, ["error"])


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("show", {}, 400, "model is required"),
        ("show", {"model": "no blanks"}, 400, "invalid model name"),
        ("pull", {"model": ""}, 400, "invalid model name"),
        ("create", {"model": "m"}, 400, "neither 'from' or 'files' was specified"),
        ("create", {"model": "m", "files": {"f": "sha256:0"}}, 400, 'blob "sha256:0" of the file "f" not found'),
        ("create", {"model": "m", "from": "x", "license": [1]}, 400, "CreateRequest.license of type string"),
        ("create", {"model": "m", "from": "x", "messages": "x"}, 400, "CreateRequest.messages of type []api.Message"),
        ("copy", {"source": "a"}, 400, 'destination "" is invalid'),
        ("pull", {"model": "m", "stream": 1}, 400, "PullRequest.stream of type bool"),
    ],
)
def test_what_the_server_refuses_is_refused(
    session: Session, path: str, body: dict[str, Any], status: int, error: str
) -> None:
    answer = session.control.post(f"/api/{path}", json=body)
    assert (answer.status_code, answer.json().keys()) == (status, {"error"})
    assert error in answer.json()["error"]


def test_methods_and_versions(session: Session) -> None:
    assert session.control.get("/api/version").json().keys() == {"version"}
    assert session.control.head("/api/version").status_code == session.control.head("/api/tags").status_code == 200
    for method, path in (("GET", "/api/chat"), ("POST", "/api/tags"), ("GET", "/api/delete")):
        answer = session.control.request(method, path)
        assert (answer.status_code, answer.json()) == (405, {"error": "405 method not allowed"})


def test_embeddings_of_one_text_and_of_several_are_the_same_vectors(llama: ollama.Client) -> None:
    several = llama.embed(EMBEDDER, DOCUMENTS)
    one = llama.embed(EMBEDDER, DOCUMENTS[1])
    assert (several.model, len(several.embeddings)) == (EMBEDDER, 2)
    assert several.embeddings[1] == one.embeddings[0] == llama.embeddings(EMBEDDER, DOCUMENTS[1]).embedding
    assert math.hypot(*one.embeddings[0]) == pytest.approx(1, abs=1e-6)
    assert (several.prompt_eval_count or 0) > (one.prompt_eval_count or 0) > 0
    assert (one.total_duration or 0) > (one.load_duration or 0) > 0
    question = llama.embed(EMBEDDER, "how do I get a refund for goods?").embeddings[0]
    scores = [sum(a * b for a, b in zip(question, document, strict=True)) for document in several.embeddings]
    assert scores[1] > scores[0] + 0.1


@pytest.mark.parametrize(("asked", "expected"), [(None, 768), (256, 256), (5_000, 768), (0, 768), (-1, 768)])
def test_dimensions_shorten_a_vector(llama: ollama.Client, asked: int | None, expected: int) -> None:
    (found,) = llama.embed(EMBEDDER, "hello", dimensions=asked).embeddings
    assert len(found) == expected
    assert math.hypot(*found) == pytest.approx(1, abs=1e-6)


def test_a_text_that_is_too_long_is_cut_or_refused(llama: ollama.Client) -> None:
    long = "word " * 3_000
    cut = llama.embed(EMBEDDER, [long, "short"], options={"num_ctx": 10})
    assert cut.prompt_eval_count == 11
    assert cut.embeddings[0] == llama.embed(EMBEDDER, "word " * 10).embeddings[0]
    assert llama.embed(EMBEDDER, long).prompt_eval_count == 2_048
    for refuse, status in (
        (lambda: llama.embed(EMBEDDER, long, truncate=False), 400),
        (lambda: llama.embeddings(EMBEDDER, long), 500),
    ):
        with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length") as caught:
            refuse()
        assert caught.value.status_code == status


@pytest.mark.parametrize(
    ("path", "body", "status", "answer"),
    [
        ("embed", {"model": "m"}, 200, {"model": "m", "embeddings": []}),
        ("embed", {"model": "m", "input": ""}, 200, {"model": "m", "embeddings": []}),
        ("embeddings", {"model": "m", "input": "x"}, 200, {"embedding": []}),
        ("embed", {"model": "m", "input": [1]}, 400, {"error": "invalid input type"}),
        ("embed", {"model": "m", "input": {}}, 400, {"error": "invalid input type"}),
        ("embed", {"input": "x"}, 404, {"error": "model '' not found"}),
        ("embeddings", {"prompt": "x"}, 400, {"error": "model is required"}),
    ],
)
def test_embeddings_of_nothing_and_of_what_is_no_text(
    session: Session, path: str, body: dict[str, Any], status: int, answer: Any
) -> None:
    found = session.control.post(f"/api/{path}", json=body)
    assert (found.status_code, found.json()) == (status, answer)


def test_a_scenario_fails_embeddings_only_where_it_names_them(llama: ollama.Client, session: Session) -> None:
    session.add(
        {"match": {"user": "hello"}, "sequence": ["first", "second"]},
        {
            "match": {"dialect": "ollama_embeddings", "user": "fail"},
            "reply": {"fault": {"kind": "status", "status": 503}},
        },
    )
    llama.embed(EMBEDDER, "hello")
    assert llama.chat(MODEL, HELLO).message.content == "first"
    with pytest.raises(ollama.ResponseError, match="server busy"):
        llama.embed(EMBEDDER, "fail")
    assert [entry["dialect"] for entry in session.journal()] == ["ollama_embeddings", "ollama", "ollama_embeddings"]
