"""LangChain's own standard suites for chat models and embeddings, on every provider's package."""

from __future__ import annotations

from typing import Any

import pytest
from conformance_session import Session
from langchain_anthropic import ChatAnthropic
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_google_genai import ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langchain_tests.integration_tests import ChatModelIntegrationTests, EmbeddingsIntegrationTests

pytestmark = pytest.mark.filterwarnings("ignore")


# What a model would have understood from these suites' words.
SCENARIOS = (
    {
        "match": {"user": "magic_function(3)", "tools": "magic_function"},
        "reply": {"tool_calls": [{"name": "magic_function", "arguments": {"input": 3}}]},
    },
    {
        "match": {"user": "magic_function_no_args", "tools": "magic_function_no_args"},
        "reply": {"tool_calls": [{"name": "magic_function_no_args"}]},
    },
    {
        "match": {"user": "Pirate greeting", "tools": "greeting_generator"},
        "reply": {"tool_calls": [{"name": "greeting_generator", "arguments": {"answer_style": "Pirate"}}]},
    },
    {
        "match": {"user": "weather in San Francisco", "tools": "get_weather", "turn": 1},
        "reply": {"tool_calls": [{"name": "get_weather", "arguments": {"location": "San Francisco, CA"}}]},
    },
    {
        "match": {"user": "你好啊集团", "tools": "unicode_customer"},
        "reply": {"tool_calls": [{"name": "unicode_customer", "arguments": {"customer_name": "你好啊集团"}}]},
    },
    {
        "match": {"user": "こんにちは株式会社", "tools": "unicode_customer"},
        "reply": {"tool_calls": [{"name": "unicode_customer", "arguments": {"customer_name": "こんにちは株式会社"}}]},
    },
    {
        "match": {"user": "as a JSON with 'setup' and 'punchline'"},
        "reply": {"json": {"setup": "Why do cats sit on keyboards?", "punchline": "To be on top of the news."}},
    },
)


class OnTheFake(ChatModelIntegrationTests):
    """What all of them share. Pictures, sounds and PDF files are fetched by the suite from the internet: not here."""

    llm: Session

    @pytest.fixture(autouse=True)
    def _session(self, llm: Session) -> None:
        type(self).llm = llm
        llm.script(*SCENARIOS)


class TestOpenAI(OnTheFake):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "gpt-4.1",
            "base_url": f"{self.llm.prefixed}/v1",
            "api_key": self.llm.key,
            "stream_usage": True,
        }

    @property
    def supports_json_mode(self) -> bool:
        return True


class TestOpenAIResponses(TestOpenAI):
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "use_responses_api": True}


class TestAnthropic(OnTheFake):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "claude-sonnet-4-5", "base_url": self.llm.prefixed, "api_key": self.llm.key}


class TestGemini(OnTheFake):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatGoogleGenerativeAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "gemini-2.5-flash", "base_url": self.llm.url, "google_api_key": self.llm.key,
            "max_retries": 1, "vertexai": False,
        }  # fmt: skip

    @property
    def supports_json_mode(self) -> bool:
        return True


class TestOllama(OnTheFake):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOllama

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "llama3.1", "base_url": self.llm.prefixed}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return False


class OnTheFakeEmbeddings(EmbeddingsIntegrationTests):
    llm: Session

    @pytest.fixture(autouse=True)
    def _session(self, llm: Session) -> None:
        type(self).llm = llm


class TestOpenAIEmbeddings(OnTheFakeEmbeddings):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OpenAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {
            "model": "text-embedding-3-small", "base_url": f"{self.llm.prefixed}/v1", "api_key": self.llm.key,
            "check_embedding_ctx_length": False,
        }  # fmt: skip


class TestGeminiEmbeddings(OnTheFakeEmbeddings):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return GoogleGenerativeAIEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "gemini-embedding-001", "base_url": self.llm.url, "google_api_key": self.llm.key}


class TestOllamaEmbeddings(OnTheFakeEmbeddings):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return OllamaEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "nomic-embed-text", "base_url": self.llm.prefixed}
