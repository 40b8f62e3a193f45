"""llama-index: models, tools, typed answers and embeddings."""

from __future__ import annotations

from typing import Any

import pytest
from conformance_session import Session
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.anthropic import Anthropic
from llama_index.llms.openai import OpenAI, OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

MODELS = ["openai", "responses", "like", "anthropic"]


class Person(BaseModel):
    """Who."""

    name: str
    age: int


def model_of(name: str, llm: Session) -> Any:
    openai = {"api_base": f"{llm.url}/v1", "api_key": llm.key, "max_retries": 0}
    if name == "openai":
        return OpenAI(model="gpt-4.1", **openai)
    if name == "responses":
        return OpenAIResponses(model="gpt-4.1", **openai)
    if name == "like":
        return OpenAILike(model="anything", is_chat_model=True, is_function_calling_model=True, **openai)
    return Anthropic(model="claude-sonnet-4-5", base_url=llm.url, api_key=llm.key, max_retries=0)


@pytest.mark.parametrize("name", MODELS)
def test_chat_and_complete(llm: Session, name: str) -> None:
    llm.script({"match": {"user": "slow"}, "reply": "Restart it."})
    model = model_of(name, llm)
    assert model.chat([ChatMessage(role="user", content="It is slow")]).message.content == "Restart it."
    assert str(model.complete("slow again")) == "Restart it."


@pytest.mark.parametrize("name", MODELS)
async def test_a_stream(llm: Session, name: str) -> None:
    llm.script({"reply": {"text": "One two three.", "chunk_size": 4}})
    chunks = [
        each async for each in await model_of(name, llm).astream_chat([ChatMessage(role="user", content="count")])
    ]
    assert "".join(each.delta or "" for each in chunks) == "One two three."


@pytest.mark.parametrize("name", MODELS)
def test_a_tool_is_called(llm: Session, name: str) -> None:
    def load(host: str) -> int:
        """The load of a host."""
        return 97

    llm.script({"match": {"tools": "load"}, "reply": {"tool_calls": [{"name": "load", "arguments": {"host": "db1"}}]}})
    model = model_of(name, llm)
    answer = model.chat_with_tools([FunctionTool.from_defaults(load)], "How busy is db1?")
    (call,) = model.get_tool_calls_from_response(answer)
    assert (call.tool_name, call.tool_kwargs) == ("load", {"host": "db1"})


@pytest.mark.parametrize("name", MODELS)
def test_a_typed_answer_needs_no_script(llm: Session, name: str) -> None:
    assert isinstance(model_of(name, llm).structured_predict(Person, PromptTemplate("Who is it?")), Person)


def test_embeddings(llm: Session) -> None:
    model = OpenAIEmbedding(api_base=f"{llm.url}/v1", api_key=llm.key, model="text-embedding-3-small", dimensions=64)
    assert [len(each) for each in model.get_text_embedding_batch(["a", "b"])] == [64, 64]
