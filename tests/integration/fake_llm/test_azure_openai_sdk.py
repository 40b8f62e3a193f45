"""Azure's paths and keys, by the unchanged ``openai`` SDK's Azure clients against the running server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from .conftest import Session
from .test_openai_sdk import HELLO, nothing_left_over

API_VERSION = "2024-10-21"
DEPLOYMENT = "/openai/deployments/my-gpt"


@pytest.fixture
def azure(session: Session) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(
        azure_endpoint=session.url, api_key=session.api_key, api_version=API_VERSION, max_retries=0, timeout=20
    ) as client:
        yield client


def test_chat_at_a_deployment_belongs_to_the_session_of_its_api_key(
    azure: openai.AzureOpenAI, session: Session
) -> None:
    session.add({"match": {"model": "my-gpt"}, "reply": "from the deployment"})
    found = azure.chat.completions.create(model="my-gpt", messages=HELLO)
    assert (found.choices[0].message.content, found.model) == ("from the deployment", "my-gpt")
    assert nothing_left_over(found)
    (entry,) = session.journal()
    assert (entry["path"], entry["dialect"]) == (f"{DEPLOYMENT}/chat/completions", "openai_chat")
    assert entry["headers"]["api-key"].startswith("sha256:")
    assert "authorization" not in entry["headers"]


def test_a_deployment_streams(azure: openai.AzureOpenAI, session: Session) -> None:
    session.add({"reply": {"chunks": ["Hel", "lo"]}})
    chunks = list(azure.chat.completions.create(model="my-gpt", messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"


async def test_the_async_client_embeds_at_a_deployment(session: Session) -> None:
    async with openai.AsyncAzureOpenAI(
        azure_endpoint=session.url, api_key=session.api_key, api_version=API_VERSION, max_retries=0
    ) as client:
        found = await client.embeddings.create(model="my-text-embedding-3-large", input=["a", "b"])
    assert [len(one.embedding) for one in found.data] == [3072, 3072]
    assert session.journal()[0]["path"] == "/openai/deployments/my-text-embedding-3-large/embeddings"


def test_a_client_with_a_fixed_deployment_and_a_directory_token_is_served(session: Session) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=session.url + "/",
        azure_deployment="my-gpt",
        azure_ad_token=session.api_key,
        api_version=API_VERSION,
        max_retries=0,
    ) as client:
        assert client.chat.completions.create(model="gpt-4o", messages=HELLO).choices
        assert client.completions.create(model="my-instruct", prompt="hello").choices
    paths = [entry["path"] for entry in session.journal()]
    assert paths == [f"{DEPLOYMENT}/chat/completions", f"{DEPLOYMENT}/completions"]


def test_a_session_is_also_named_by_the_endpoints_path(session: Session) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=f"{session.url}/s/{session.id}", api_key="any", api_version=API_VERSION, max_retries=0
    ) as client:
        client.chat.completions.create(model="my-gpt", messages=HELLO)
    assert len(session.journal()) == 1


@pytest.mark.parametrize("headers", [True, False])
def test_the_v1_path_takes_both_kinds_of_key(session: Session, headers: bool) -> None:
    own: dict[str, Any] = {"Authorization": openai.omit, "api-key": session.api_key} if headers else {}
    with openai.OpenAI(
        base_url=f"{session.url}/openai/v1/", api_key="unused" if headers else session.api_key, max_retries=0
    ) as client:
        assert client.chat.completions.create(model="m", messages=HELLO, extra_headers=own).choices
        assert client.embeddings.create(model="text-embedding-3-small", input="a", extra_headers=own).data
    assert [entry["path"] for entry in session.journal()] == ["/openai/v1/chat/completions", "/openai/v1/embeddings"]


def test_what_has_no_deployment_is_served_as_well(azure: openai.AzureOpenAI) -> None:
    assert "gpt-4o" in [model.id for model in azure.models.list()]
    assert azure.models.retrieve("gpt-4o").id == "gpt-4o"
    assert azure.moderations.create(input="hello").results


def test_the_deployment_is_the_model_where_the_body_names_none(session: Session) -> None:
    def post(query: str) -> Any:
        return session.control.post(
            f"{DEPLOYMENT}/chat/completions{query}", headers={"api-key": session.api_key}, json={"messages": HELLO}
        )

    assert post(f"?api-version={API_VERSION}").json()["model"] == "my-gpt"
    (entry,) = session.journal()
    assert (entry["model"], "model" in entry["request"]) == ("my-gpt", False)


def test_a_deployment_without_api_version_is_not_found(session: Session) -> None:
    answer = session.control.post(
        f"{DEPLOYMENT}/chat/completions", headers={"api-key": session.api_key}, json={"messages": HELLO}
    )
    assert answer.status_code == 404
    assert (answer.json()["error"]["code"], answer.json()["error"]["message"]) == ("404", "Resource not found")


def test_a_scripted_status_is_the_sdks_exception(azure: openai.AzureOpenAI, session: Session) -> None:
    session.add({"reply": {"fault": {"kind": "status", "status": 404, "code": "DeploymentNotFound"}}})
    with pytest.raises(openai.NotFoundError) as caught:
        azure.chat.completions.create(model="my-gpt", messages=HELLO)
    assert caught.value.code == "DeploymentNotFound"


def test_an_unknown_path_and_a_missing_key_are_refused(azure: openai.AzureOpenAI, session: Session) -> None:
    with pytest.raises(openai.NotFoundError):
        azure.files.list()
    answer = session.control.post(f"{DEPLOYMENT}/embeddings?api-version={API_VERSION}", json={"input": "a"})
    assert answer.status_code == 401
