"""Ollama without a socket: any body gets an answer, conversations as numbers, durations, names, what is remembered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_llm import tokens
from fake_llm.dialects.ollama import catalogue, memory
from fake_llm.exchange import generate
from fake_llm.local_models import MAX_NAMES, LocalModels, Made, canonical, is_name, keep_alive_s
from fake_llm.model import Message, ProtocolError, Turn
from fake_llm.ollama_models import answer
from fake_llm.outcome import new_stamp
from fake_llm.session import Session
from fake_llm.tokenizing import Vocabulary

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    | st.sampled_from(["user", "assistant", "tool", "json", "high", "5m", "-1", "m", "aGk=", "object", "string"]),
    lambda below: st.lists(below, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["role", "content", "images", "tool_calls", "function", "name", "arguments", "parameters", "type",
             "properties", "tool_name", "num_predict", "stop", "seed", "num_ctx", "temperature", "thinking", "$ref"]
        ),
        below,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
FIELDS = ["model", "messages", "prompt", "system", "template", "suffix", "context", "raw", "stream", "format",
          "options", "keep_alive", "images", "tools", "think", "logprobs", "top_logprobs", "input", "dimensions",
          "truncate", "endpoint", "name", "from", "files", "adapters", "parameters", "license", "source",
          "destination"]  # fmt: skip
CHANGES = st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=6)
GOOD = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "prompt": "hello", "input": "hello"}


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(["ollama", "ollama_generate", "ollama_embeddings"]), change=CHANGES)
def test_any_object_is_answered_and_never_by_a_500_of_ours(name: str, change: dict[str, Any]) -> None:
    body = json.dumps({**GOOD, **change}).encode()
    outcome = generate(name, Session("s"), {}, body, new_stamp())
    if outcome.status != 200:
        assert outcome.status in {400, 404, 500}
        found = json.loads(outcome.raw)
        assert found.keys() == {"error"}
        assert outcome.status != 500 or found["error"].startswith(("option ", "invalid format", "the input length"))
        return
    lines = [json.loads(line) for line in outcome.raw.splitlines()]
    assert "embedding" in str(lines[0].keys()) or lines[-1]["done"] is True


@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(["show", "pull", "push", "create", "copy", "delete"]), change=CHANGES)
def test_any_object_is_an_answer_about_models_or_a_refusal(path: str, change: dict[str, Any]) -> None:
    methods = {"delete": "DELETE"}
    body = json.dumps({"model": "m", "from": "x", "source": "a", "destination": "b", **change}).encode()
    models = LocalModels()
    try:
        outcome = answer(models, methods.get(path, "POST"), f"/api/{path}", body)
    except ProtocolError:
        return
    assert outcome.status == 200
    for method, shown in (("GET", "tags"), ("GET", "ps")):
        assert json.loads(answer(models, method, f"/api/{shown}", b"").raw)
    if change.get("model", "m") == "m" and path not in {"delete", "copy"}:
        assert json.loads(answer(models, "POST", "/api/show", b'{"model": "m"}').raw)["details"]


@given(st.binary(max_size=60))
def test_any_bytes_are_a_refusal(body: bytes) -> None:
    outcome = generate("ollama", Session("s"), {}, body, new_stamp())
    assert outcome.status == 400


MESSAGES = st.lists(
    st.builds(
        Message,
        st.sampled_from(["system", "user", "assistant"]),
        st.text(),
        attachments=st.integers(0, 9),
    )
)


@given(MESSAGES)
def test_a_conversation_as_numbers_is_read_again(messages: list[Message]) -> None:
    context = memory.encode(messages)
    assert memory.decode(context) == tuple(messages)
    assert all(0 <= number < 2**24 for number in context)


@given(st.lists(st.integers()), MESSAGES, st.data())
def test_any_other_numbers_are_no_conversation(
    numbers: list[int], messages: list[Message], data: st.DataObject
) -> None:
    assert memory.decode(numbers) == ()
    broken = memory.encode([*messages, Message("user", "x")])
    broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers())
    assert all(isinstance(one, Message) for one in memory.decode(broken))


@pytest.mark.parametrize("forged", ['[["u","x",-1]]', '[["u",5,0]]', '[["x","y",0]]', '[[[],"y",0]]', "{}", "5", "[5]"])
def test_a_forged_conversation_is_none(forged: str) -> None:
    mark = memory.encode([])[0]
    numbers = [int.from_bytes(forged.encode()[at : at + 3], "big") for at in range(0, len(forged), 3)]
    assert memory.decode([mark, len(forged), *numbers]) == ()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(None, 300), (0, 0), ("0", 0), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), (10, 10), (0.5, 0.5),
     (-1, float("inf")), ("-1m", float("inf")), (10**400, float("inf")), ("9" * 400 + "h", float("inf"))],
    ids=lambda one: str(one)[:9],
)  # fmt: skip
def test_a_model_is_kept_for_a_number_of_seconds_or_a_duration(written: Any, seconds: float) -> None:
    assert keep_alive_s(written) == seconds


@pytest.mark.parametrize("written", ["", "m", "5", "1h 3m", "-", True, [], {}])
def test_what_is_no_duration_is_refused(written: Any) -> None:
    with pytest.raises(ProtocolError):
        keep_alive_s(written)


def test_names_are_equal_without_case_default_namespace_and_tag() -> None:
    same = ("llama3.2", "Llama3.2:latest", "library/llama3.2", "library/LLAMA3.2:latest")
    assert {canonical(name) for name in same} == {"llama3.2:latest"}
    assert canonical("localhost:5000/me/m") == "localhost:5000/me/m:latest"
    assert all(is_name(name) for name in (*same, "host.example/me/repo-GGUF:Q4_K_M", "localhost:5000/me/m:t"))
    assert not any(is_name(name) for name in ("", "a b", "/m", "m:", "a/b/c/d", "m\n", "-m"))


def test_what_is_remembered_of_models_is_bounded() -> None:
    models = LocalModels()
    for number in range(MAX_NAMES + 5):
        models.add(Made(f"m{number}"))
        models.use(Turn("ollama", f"m{number}", ()), None, 0.0)
        models.keep_blob(str(number))
    assert (len(models.all_made()), len(models.loaded(1.0)), len(models.blobs)) == (MAX_NAMES,) * 3
    assert models.loaded(301.0) == []


def test_a_models_size_is_said_by_its_tag() -> None:
    sizes = {name: catalogue.kind_of(name).billions for name in ("qwen3:0.6b", "gemma3:27b-it-qat", "x:latest", "phi4")}
    assert sizes == {"qwen3:0.6b": 0.6, "gemma3:27b-it-qat": 27, "x:latest": 8, "phi4": 14.7}
    assert catalogue.details("nomic-embed-text")["parameter_size"] == "137.00M"


@given(st.text())
def test_tokens_have_numbers_that_lead_back(text: str) -> None:
    vocabulary = Vocabulary()
    numbers = [vocabulary.number(piece) for piece in tokens.pieces(text)]
    assert "".join(vocabulary.text(number) or "" for number in numbers) == text


def test_two_tokens_never_have_one_number_and_old_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fake_llm.tokenizing._RANGE", 8)
    vocabulary = Vocabulary(most_tokens=6)
    numbers = [vocabulary.number(token) for token in "abcdef"]
    assert sorted(set(numbers)) == sorted(numbers)
    assert [vocabulary.text(number) for number in numbers] == list("abcdef")
    vocabulary.number("g")
    assert "a" not in [vocabulary.text(number) for number in range(8)]
    small = Vocabulary(most_characters=10)
    first = small.number("x" * 8)
    small.number("y" * 8)
    assert small.text(first) is None
