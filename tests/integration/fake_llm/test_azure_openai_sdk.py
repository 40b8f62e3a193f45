"""Azure's paths and keys, by the unchanged ``openai`` SDK's Azure clients against the running server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from .conftest import Session
from .responses_sdk import left_over
from .test_openai_sdk import HELLO

API_VERSION = "2024-10-21"
DEPLOYMENT = "/openai/deployments/my-gpt"


def extra(found: Any) -> dict[str, Any]:
    """What Azure adds to what OpenAI says, which the SDK's types do not name."""
    return dict(found.model_extra or {})


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
    assert left_over(found) == ["ChatCompletion.prompt_filter_results", "Choice.content_filter_results"]
    (entry,) = session.journal()
    assert (entry["path"], entry["dialect"]) == (f"{DEPLOYMENT}/chat/completions", "openai_chat")
    assert entry["headers"]["api-key"].startswith("sha256:")
    assert "authorization" not in entry["headers"]


def test_a_deployment_streams(azure: openai.AzureOpenAI, session: Session) -> None:
    session.add({"reply": {"chunks": ["Hel", "lo"]}})
    first, *chunks = azure.chat.completions.create(model="my-gpt", messages=HELLO, stream=True)
    assert (first.choices, [one["prompt_index"] for one in extra(first)["prompt_filter_results"]]) == ([], [0])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"
    results = [extra(chunk.choices[0])["content_filter_results"] for chunk in chunks]
    assert [bool(found) for found in results] == [False, True, True, False]
    with azure.chat.completions.stream(model="my-gpt", messages=HELLO) as stream:
        assert stream.get_final_completion().choices[0].message.content == "Hello"


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


@pytest.mark.parametrize(
    ("fault", "raised", "code", "words"),
    [
        ({"status": 404}, openai.NotFoundError, "DeploymentNotFound", "The API deployment for this resource"),
        ({"status": 401}, openai.AuthenticationError, "401", "Access denied due to invalid subscription key"),
        ({"status": 429, "retry_after_s": 7}, openai.RateLimitError, "429", "Please retry after 7 seconds"),
        ({"status": 404, "code": "Mine", "message": "mine"}, openai.NotFoundError, "Mine", "mine"),
    ],
)
def test_an_error_of_the_gateway_has_a_code_and_a_message_only(
    azure: openai.AzureOpenAI, session: Session, fault: Any, raised: type[openai.APIStatusError], code: str, words: str
) -> None:
    session.add({"reply": {"fault": {"kind": "status", **fault}}})
    with pytest.raises(raised, match=words) as caught:
        azure.chat.completions.create(model="my-gpt", messages=HELLO)
    assert isinstance(caught.value.body, dict)
    assert (caught.value.code, set(caught.value.body)) == (code, {"code", "message"})
    headers = caught.value.response.headers
    assert headers["apim-request-id"] == caught.value.request_id
    assert headers["x-ms-region"] == "East US"
    assert "openai-organization" not in headers
    if code == "429":
        names = ("retry-after", "x-ratelimit-reset-requests", "x-ratelimit-remaining-requests")
        assert [headers[name] for name in names] == ["7", "7", "0"]


def test_a_filtered_prompt_is_an_error_and_a_filtered_answer_a_finish(
    azure: openai.AzureOpenAI, session: Session
) -> None:
    session.add(
        {"match": {"user": "bad"}, "reply": {"fault": {"kind": "status", "status": 400, "code": "content_filter"}}},
        {"reply": {"text": "half of", "finish_reason": "content_filter"}},
    )
    with pytest.raises(openai.BadRequestError, match="content management policy") as caught:
        azure.chat.completions.create(model="my-gpt", messages=[{"role": "user", "content": "bad"}])
    body: Any = caught.value.body
    assert (body["code"], body["param"], body["innererror"]["code"]) == (
        "content_filter", "prompt", "ResponsibleAIPolicyViolation"
    )  # fmt: skip
    assert body["innererror"]["content_filter_result"]["violence"] == {"filtered": True, "severity": "medium"}
    choice = azure.chat.completions.create(model="my-gpt", messages=HELLO).choices[0]
    assert (choice.finish_reason, extra(choice)["content_filter_results"]["violence"]["filtered"]) == (
        "content_filter", True
    )  # fmt: skip


def test_a_wrong_parameter_is_refused_in_openais_form(azure: openai.AzureOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        azure.chat.completions.create(model="my-gpt", messages=HELLO, temperature=3)
    assert (caught.value.param, caught.value.code) == ("temperature", "decimal_above_max_value")


def test_responses_and_conversations_are_kept_below_azures_paths(azure: openai.AzureOpenAI) -> None:
    made = azure.responses.create(model="my-gpt", input="hello")
    assert azure.responses.retrieve(made.id).output_text == made.output_text
    found = azure.conversations.with_raw_response.create()
    assert azure.conversations.retrieve(found.parse().id).id == found.parse().id
    assert "apim-request-id" in found.headers


def test_an_unknown_path_and_a_missing_key_are_refused(azure: openai.AzureOpenAI, session: Session) -> None:
    with pytest.raises(openai.NotFoundError):
        azure.files.list()
    answer = session.control.post(f"{DEPLOYMENT}/embeddings?api-version={API_VERSION}", json={"input": "a"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "401")
