"""Templates over the real socket: every dialect's words from one rule, and how a failure reaches each SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anthropic
import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageFunctionToolCall

from realstack.errors import FakeLLMError
from realstack.handles.llm import FakeLLM

from .conftest import Session
from .raw import BODIES, headers_of

if TYPE_CHECKING:
    from google import genai


def test_one_template_speaks_in_every_dialect(
    session: Session, chat: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    session.add({"reply": {"template": "{{ dialect }} {{ turn }}: {{ user | upper }}", "chunk_size": 5}})
    said = chat.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
    assert "".join(each.choices[0].delta.content or "" for each in said if each.choices) == "openai_chat 1: HI"
    assert chat.responses.create(model="m", input="hi").output_text == "openai_responses 1: HI"
    message = claude.messages.create(model="m", max_tokens=50, messages=[{"role": "user", "content": "hi"}])
    assert isinstance(message.content[0], anthropic.types.TextBlock)
    assert message.content[0].text == "anthropic 1: HI"
    assert gemini.models.generate_content(model="gemini-2.5-flash", contents="hi").text == "gemini 1: HI"


def test_the_arguments_of_a_call_are_filled_with_values_of_their_kinds(llm: FakeLLM) -> None:
    llm.on().reply_tool("get", {"city": "{{ user.split()[-1] }}", "turn": "{{ turn }}"}, template=True)
    config = llm.config()
    with openai.OpenAI(base_url=config.base_url, api_key=str(config.api_key), max_retries=0) as client:
        said = client.chat.completions.create(model="m", messages=[{"role": "user", "content": 'go to "Oslo"'}])
    (call,) = said.choices[0].message.tool_calls or []
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert call.function.arguments == '{"city": "\\"Oslo\\"", "turn": 1}'


def test_a_template_that_fails_is_a_400_which_names_the_scenario_and_the_journal_has_it(
    session: Session, chat: openai.OpenAI, claude: anthropic.Anthropic, gemini: genai.Client
) -> None:
    from google.genai.errors import ClientError

    session.add({"name": "by tenant", "reply": {"template": "Hello\n{{ metadata.tenant }}"}})
    why = r"The scenario 'by tenant' failed: template of text: line 2: .*no attribute 'tenant'"
    with pytest.raises(openai.BadRequestError, match=why) as refused:
        chat.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert refused.value.code == "scenario_failed"
    with pytest.raises(anthropic.BadRequestError, match=why):
        claude.messages.create(model="m", max_tokens=50, messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(ClientError, match=why):
        gemini.models.generate_content(model="gemini-2.5-flash", contents="hi")
    entries = session.journal()
    assert [(entry["scenario"], entry["status"], entry["fault"]) for entry in entries] == [
        ("by tenant", 400, "scenario_failed")
    ] * 3
    assert "no attribute 'tenant'" in entries[0]["error"]


def test_the_handle_refuses_a_wrong_template_and_lists_why_one_failed(llm: FakeLLM) -> None:
    with pytest.raises(FakeLLMError, match="there is no 'usr', did you mean 'user'"):
        llm.on().reply_template("Hello {{ usr }}")
    llm.on().reply_template("{{ 1 // (turn - 1) }}")
    path, body = BODIES["openai_chat"]
    sent = httpx.post(
        llm.config("anthropic").base_url + path,
        json=body,
        headers=headers_of(llm.config().api_key),
        trust_env=False,
        timeout=30,
    )
    assert sent.status_code == 400
    assert "line 1: integer division" in str(llm.calls[0])
