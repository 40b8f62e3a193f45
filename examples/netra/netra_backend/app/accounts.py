"""Who is asking: the user named by a request, and the organisation that the user belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from netra_backend.app.database import Database
from netra_backend.app.errors import UnknownUser, UserSuspended

FIND_ACCOUNT = """
    SELECT users.id AS user_id, users.organisation_id, organisations.name AS organisation, users.active
    FROM users JOIN organisations ON organisations.id = users.organisation_id
    WHERE users.id = $1
"""


@dataclass(frozen=True)
class Account:
    """A user who may use the agents; everything an agent reads or writes belongs to this organisation."""

    user_id: str
    organisation_id: str
    organisation: str


async def find_account(db: Database, user_id: str) -> Account:
    """The account of ``user_id``; raises :class:`UnknownUser` or :class:`UserSuspended`."""
    row = await db.fetchrow(FIND_ACCOUNT, user_id)
    if row is None:
        raise UnknownUser(user_id)
    if not row["active"]:
        raise UserSuspended(user_id)
    return Account(row["user_id"], row["organisation_id"], row["organisation"])
