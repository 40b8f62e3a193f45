"""realstack's handle on a real fake LLM: what it finds, asserts and adds up, and how its errors read."""

from __future__ import annotations

import re
from typing import Any

import httpx
import openai
import pytest

from realstack.errors import FakeLLMError
from realstack.handles.llm import FakeLLM
from realstack.handles.llm_cost import EXAMPLE_PRICES, Price

from .raw import BODIES, exchange, headers_of


def ask(llm: FakeLLM, user: str = "hello", *, dialect: str = "openai_chat", model: str = "gpt-5-mini") -> int:
    path, body = BODIES[dialect]
    sent: dict[str, Any] = {**body, "model": model, "messages": [{"role": "user", "content": user}]}
    config = llm.config("anthropic")
    return httpx.post(
        config.base_url + path, json=sent, headers=headers_of(config.api_key), trust_env=False, timeout=30
    ).status_code


def test_calls_are_found_by_what_was_said_and_answered(llm: FakeLLM) -> None:
    llm.on(user="slow").fail(503)
    for user in ("a slow one", "a quick one", "slow again"):
        ask(llm, user)
    ask(llm, "other", dialect="anthropic", model="claude-x")
    assert [call.user for call in llm.requests(user="slow")] == ["a slow one", "slow again"]
    assert [call.user for call in llm.requests(user=re.compile("^slow"))] == ["slow again"]
    assert [call.user for call in llm.requests(status=503, model="gpt-*")] == ["a slow one", "slow again"]
    assert [call.user for call in llm.requests(dialect="anthropic")] == ["other"]
    assert len(llm.requests(status=lambda status: status < 300)) == 2
    assert len(llm.requests()) == len(llm.calls) == 4
    with pytest.raises(FakeLLMError, match=r"a call has no 'usr'.*\n?.*user"):
        llm.requests(usr="slow")


def test_rules_take_the_session_from_state_to_state(llm: FakeLLM) -> None:
    llm.on(state="start", then="tried").fail(503)
    llm.on(state="tried").reply("Now it works.")
    assert [ask(llm), ask(llm), ask(llm)] == [503, 200, 200]
    llm.reset()
    llm.on(attachments=True).fail(400)
    assert ask(llm) == 200


def test_what_was_called_is_asserted_and_a_failure_shows_the_calls(llm: FakeLLM) -> None:
    for user in ("slow one", "slow two", "quick"):
        ask(llm, user)
    assert len(llm.assert_called(times=2, user=re.compile("slow"))) == 2
    assert llm.assert_called(user="quick")[0].model == "gpt-5-mini"
    llm.assert_called(times=0, user="never")
    with pytest.raises(AssertionError) as caught:
        llm.assert_called(times=1, user=re.compile("slow"), model="gpt-*")
    said = str(caught.value)
    assert said.startswith(
        "expected 1 call with user=/slow/, model='gpt-*', and there were 2. All calls of the session:\n"
    )
    assert "  1. POST /v1/chat/completions gpt-5-mini user='slow one' → 200" in said
    assert len(said.splitlines()) == 4
    with pytest.raises(AssertionError, match="at least 1 call with user='never', and there were 0"):
        llm.assert_called(user="never")


def test_without_calls_the_failure_says_so(llm: FakeLLM) -> None:
    llm.assert_called(times=0)
    with pytest.raises(AssertionError, match=r"expected at least 1 call, and there were 0.*\n  \(none\)"):
        llm.assert_called()


def test_rules_that_never_answered_are_named_with_their_match(llm: FakeLLM) -> None:
    llm.on(user="slow").reply("x")
    llm.on(user="other", name="second").reply("y")
    ask(llm, "slow")
    with pytest.raises(AssertionError) as caught:
        llm.assert_all_scenarios_used()
    assert '1 of the session\'s scenarios never answered:\n  second {"user": "other"}\n' in str(caught.value)
    assert "1. POST" in str(caught.value)
    ask(llm, "other")
    llm.assert_all_scenarios_used()


def test_a_cost_is_tokens_times_prices_that_can_be_replaced(llm: FakeLLM) -> None:
    llm.on(model="gpt-5-mini").reply(
        "x", usage={"input_tokens": 1_000_000, "output_tokens": 500_000, "cached_tokens": 200_000}
    )
    llm.on(model="own-*").reply("x", usage={"input_tokens": 10, "output_tokens": 1})
    ask(llm)
    mini = EXAMPLE_PRICES["gpt-*-mini*"]
    assert llm.cost() == pytest.approx(0.8 * mini.input + 0.2 * (mini.cached or 0) + 0.5 * mini.output)
    assert llm.cost({"*": Price(1, 2)}) == pytest.approx(2.0)
    ask(llm, model="own-1")
    with pytest.raises(FakeLLMError, match="no price for the model 'own-1'"):
        llm.cost()
    assert llm.cost({"own-1": Price(1_000_000, 0), "*": Price(0)}) == pytest.approx(10)


def test_a_fault_is_switched_on_for_the_next_calls_and_off_again(llm: FakeLLM) -> None:
    llm.fault("status", times=1, status=529)
    assert [ask(llm), ask(llm)] == [529, 200]
    llm.fault("context_overflow")
    assert ask(llm) == 400
    llm.clear_fault()
    assert ask(llm) == 200
    with pytest.raises(FakeLLMError, match="did you mean 'status'"):
        llm.fault("status", stats=3)


def test_a_rule_takes_any_kind_of_fault_and_a_retry_is_seen(llm: FakeLLM) -> None:
    llm.on().fault("disconnect").then.reply("made it")
    path, body = BODIES["openai_chat"]
    config = llm.config("anthropic")
    for _ in range(2):
        exchange(config.base_url, path, body, config.api_key)
    first, second = llm.calls
    assert (first.then, first.fault, second.retry, second.reply) == ("retried", "disconnect", 1, "made it")
    assert (first.retried_after_ms or 0) >= 0
    assert ", retried)" in str(first)


def test_limits_and_a_latency_are_set_by_the_handle(llm: FakeLLM) -> None:
    llm.limits(requests_per_minute=1)
    assert [ask(llm), ask(llm)] == [200, 429]
    llm.limits()
    llm.latency({"ttft": 0.1})
    assert ask(llm) == 200
    assert llm.calls[-1].first_byte_ms is not None
    assert llm.calls[-1].first_byte_ms >= 100
    with pytest.raises(FakeLLMError, match="latency"):
        llm.latency("fastest")


def test_a_refused_connection_is_one(llm: FakeLLM) -> None:
    llm.on().reply("back again")
    refused, open_again = llm.config(refused=True), llm.config()
    with openai.OpenAI(base_url=refused.base_url, api_key=str(refused.api_key), max_retries=1) as client:
        with pytest.raises(openai.APIConnectionError) as failed:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        causes = []
        cause: BaseException | None = failed.value
        while cause is not None:
            causes.append(type(cause))
            cause = cause.__cause__ or cause.__context__
        assert ConnectionRefusedError in causes
        said = client.with_options(base_url=open_again.base_url).chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}]
        )
    assert said.choices[0].message.content == "back again"
    assert llm.config("anthropic", refused=True).base_url + "/v1" == refused.base_url
    assert len(llm.calls) == 1
