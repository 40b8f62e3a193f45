"""The data agent's main path: ask the model, run the tools it asks for, and again, until it answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from openai import AsyncOpenAI
from redis.asyncio import Redis

from netra_backend.app.accounts import Account, find_account
from netra_backend.app.agents.contracts import AgentCard, AgentRequest
from netra_backend.app.agents.data_sub_agent import prompts
from netra_backend.app.agents.data_sub_agent.models import AnswerDelta, AnswerDone, DataResponse, ToolRun
from netra_backend.app.agents.data_sub_agent.store import save_answer
from netra_backend.app.agents.data_sub_agent.tools import DECLARATIONS, run_tool
from netra_backend.app.cache import feature_enabled
from netra_backend.app.database import Database
from netra_backend.app.errors import AgentSwitchedOff
from netra_backend.app.llm.chat import ChatModel, Reply
from netra_backend.app.llm.config import LLMSettings

MOST_ROUNDS = 4
"""How often the model is asked for one question, tools included: a model that loops costs this much."""

CARD = AgentCard(
    name="data",
    description="Answers questions about your organisation's usage from its own figures.",
    path="/agents/data",
)


class DataSubAgent:
    """Answers one question at a time; safe to share between concurrent requests, nothing to close."""

    def __init__(
        self,
        *,
        db: Database,
        redis: Redis,
        llm_config: LLMSettings,
        llm_client: AsyncOpenAI | None = None,
    ) -> None:
        self._db = db
        self._redis = redis
        self._model = ChatModel(llm_config, client=llm_client)

    async def process(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer ``{"message": str, "context": {"user_id": str}}``.

        Returns ``id, answer, rows, tools_used, degraded``; ``rows`` are the last tool's. Raises as
        :meth:`stream` does.
        """
        async with aclosing(self.stream(request)) as events:
            async for event in events:
                if isinstance(event, AnswerDone):
                    return event.response.model_dump()
        raise AssertionError("a stream of answers ends with AnswerDone or an error")  # pragma: no cover

    async def stream(self, request: dict[str, Any]) -> AsyncGenerator[AnswerDelta | AnswerDone]:
        """The answer as the model writes it, then the whole response once it is stored.

        Raises ``pydantic.ValidationError``, :class:`UnknownUser`, :class:`UserSuspended`,
        :class:`AgentSwitchedOff` or an :class:`LLMError`; nothing is stored then, however much of the answer
        was already handed out.
        """
        asked = AgentRequest.model_validate(request)
        account = await find_account(self._db, asked.context.user_id)
        if not await feature_enabled(self._redis, "data_agent"):
            raise AgentSwitchedOff("data")
        messages = prompts.first_messages(account.organisation, asked.message)
        runs: list[ToolRun] = []
        for _ in range(MOST_ROUNDS):
            reply = Reply()
            async with aclosing(self._model.stream(messages, tools=DECLARATIONS)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Reply):
                        reply = piece
                    else:
                        yield AnswerDelta(piece)
            if not reply.tool_requests:
                yield AnswerDone(await self._finish(account, asked.message, reply.text, runs))
                return
            new = [await run_tool(self._db, account.organisation_id, one) for one in reply.tool_requests]
            runs += new
            messages += prompts.tool_messages(reply, new)
        yield AnswerDone(await self._finish(account, asked.message, None, runs))

    async def _finish(self, account: Account, question: str, text: str | None, runs: list[ToolRun]) -> DataResponse:
        """Store the answer; ``None`` means that the rounds ran out."""
        degraded = not (text and text.strip())
        answer = text if text and not degraded else _excuse(rounds_ran_out=text is None)
        answer_id = await save_answer(
            self._db,
            account,
            question=question,
            answer=answer,
            runs=runs,
            degraded=degraded,
            model=self._model.name,
        )
        rows: list[dict[str, Any]] = next((run.result["rows"] for run in reversed(runs) if "rows" in run.result), [])
        return DataResponse(
            id=answer_id,
            answer=answer,
            rows=rows,
            tools_used=[run.name for run in runs],
            degraded=degraded,
        )


def _excuse(*, rounds_ran_out: bool) -> str:
    return prompts.NO_ANSWER if rounds_ran_out else prompts.NOT_ANSWERED
