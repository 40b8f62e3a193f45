"""The triage agent's main path: who asks, answered before?, ask the model, store, remember."""

from __future__ import annotations

import logging
from typing import Any

from openai import AsyncOpenAI
from redis.asyncio import Redis

from netra_backend.app.accounts import find_account
from netra_backend.app.agents.contracts import AgentCard, AgentRequest
from netra_backend.app.agents.triage_sub_agent import prompts
from netra_backend.app.agents.triage_sub_agent.models import TriageVerdict
from netra_backend.app.agents.triage_sub_agent.processing import TriageProcessor, UnusableReply, excerpt
from netra_backend.app.agents.triage_sub_agent.store import save_run
from netra_backend.app.cache import AnswerCache, feature_enabled
from netra_backend.app.database import Database
from netra_backend.app.llm.chat import ChatModel
from netra_backend.app.llm.config import LLMSettings

log = logging.getLogger(__name__)

CARD = AgentCard(
    name="triage",
    description="Judges a problem report: severity, category, one-sentence summary.",
    path="/agents/triage",
)


class TriageSubAgent:
    """Triages one report at a time; safe to share between concurrent requests, nothing to close.

    ``llm_client`` lets agents share an SDK client whose owner closes it.
    """

    def __init__(
        self,
        *,
        db: Database,
        redis: Redis,
        llm_config: LLMSettings,
        llm_client: AsyncOpenAI | None = None,
        cache_ttl_s: int = 300,
    ) -> None:
        self._db = db
        self._redis = redis
        self._model = ChatModel(llm_config, client=llm_client)
        self._cache = AnswerCache(redis, prefix="netra:triage", ttl_s=cache_ttl_s)
        self._processor = TriageProcessor()

    async def process(self, request: dict[str, Any]) -> dict[str, Any]:
        """Triage ``{"message": str, "context": {"user_id": str}}``.

        Returns ``id, severity, category, priority, summary, degraded, cached``. If the model's reply is
        unusable it is asked once more; if that is unusable too, the result is a neutral verdict marked
        ``degraded``, stored but not cached. Raises ``pydantic.ValidationError`` for another shape of
        request, :class:`UnknownUser`, :class:`UserSuspended`, or an :class:`LLMError`; nothing is stored
        then.
        """
        asked = AgentRequest.model_validate(request)
        account = await find_account(self._db, asked.context.user_id)
        caching = await feature_enabled(self._redis, "triage_cache")
        key = self._cache.key(account.user_id, self._model.name, prompts.PROMPT_VERSION, asked.message)
        if caching and (known := await self._cache.get(key)) is not None:
            return {**known, "cached": True}

        verdict, degraded = await self._judge(asked.message)
        run_id = await save_run(
            self._db,
            account,
            message=asked.message,
            verdict=verdict,
            degraded=degraded,
            model=self._model.name,
        )
        response = self._processor.format_response(verdict.model_dump(), run_id=run_id, degraded=degraded)
        if caching and not degraded:
            await self._cache.put(key, response)
        return response

    async def _judge(self, message: str) -> tuple[TriageVerdict, bool]:
        """The verdict on ``message``, and whether it is only the fallback."""
        reply = await self._model.complete(prompts.first_messages(message), response_format=prompts.RESPONSE_FORMAT)
        if reply.refusal is not None:
            log.warning("the model refused to triage: %s", reply.refusal)
            return self._processor.fallback(message), True
        try:
            return self._summarised(reply.text, message), False
        except UnusableReply as unusable:
            log.warning("unusable verdict, asking once more: %s", unusable.problem)
            messages = prompts.repair_messages(message, reply.text, unusable.problem)
        reply = await self._model.complete(messages, response_format=prompts.RESPONSE_FORMAT)
        try:
            return self._summarised(reply.text, message), False
        except UnusableReply as unusable:
            log.warning("unusable verdict again, falling back: %s", unusable.problem)
            return self._processor.fallback(message), True

    def _summarised(self, text: str, message: str) -> TriageVerdict:
        """The verdict in ``text``, with the message's beginning where the model left the summary out."""
        verdict = self._processor.parse_reply(text)
        return verdict if verdict.summary else verdict.model_copy(update={"summary": excerpt(message)})
