"""Triage runs in Postgres."""

from __future__ import annotations

from netra_backend.app.accounts import Account
from netra_backend.app.agents.triage_sub_agent.models import TriageVerdict
from netra_backend.app.database import Database

INSERT_RUN = """
    INSERT INTO triage_results
        (organisation_id, user_id, message, severity, category, summary, degraded, model)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    RETURNING id
"""


async def save_run(
    db: Database, account: Account, *, message: str, verdict: TriageVerdict, degraded: bool, model: str
) -> str:
    """Store one finished run and return its id. One statement: the run is there whole, or not at all."""
    run_id = await db.fetchval(
        INSERT_RUN,
        account.organisation_id,
        account.user_id,
        message,
        verdict.severity,
        verdict.category,
        verdict.summary,
        degraded,
        model,
    )
    return str(run_id)
