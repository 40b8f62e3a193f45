"""Data answers in Postgres."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from netra_backend.app.accounts import Account
from netra_backend.app.agents.data_sub_agent.models import ToolRun
from netra_backend.app.database import Database

INSERT_ANSWER = """
    INSERT INTO data_answers (organisation_id, user_id, question, answer, tool_runs, degraded, model)
    VALUES ($1, $2, $3, $4, $5::jsonb, $6, $7)
    RETURNING id
"""


async def save_answer(
    db: Database,
    account: Account,
    *,
    question: str,
    answer: str,
    runs: Sequence[ToolRun],
    degraded: bool,
    model: str,
) -> str:
    """Store one finished answer with the tools it rests on, and return its id."""
    answer_id = await db.fetchval(
        INSERT_ANSWER,
        account.organisation_id,
        account.user_id,
        question,
        answer,
        json.dumps([asdict(run) for run in runs]),
        degraded,
        model,
    )
    return str(answer_id)
