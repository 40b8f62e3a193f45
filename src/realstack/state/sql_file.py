r"""Runs one SQL file statement by statement, so that an error names its line.

The file is one transaction, as migration tools have it, unless it begins and ends transactions by itself or
says ``-- realstack: no-transaction``. Statements that cannot run in a transaction are run between two.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from realstack.errors import RealstackError
from realstack.state.copy_statement import CopyTarget, NotReadableError, parse_copy
from realstack.state.report import notes_of, one_line, remedy_for, sql_failed
from realstack.state.sources import Step
from realstack.state.sql_script import Kind, Piece, Script, UnfinishedError

if TYPE_CHECKING:
    import asyncpg

_NO_TRANSACTION = re.compile(
    r"^--\s*(?:realstack:\s*no-transaction|\+goose\s+no\s+transaction|migrate:up\s+transaction:false)\b",
    re.IGNORECASE | re.MULTILINE,
)
_DOWN = re.compile(r"^--\s*(?:\+goose\s+down|migrate:down|\+migrate\s+down)\b", re.IGNORECASE | re.MULTILINE)
_HARMLESS_META = re.compile(r"\\(?:restrict|unrestrict|echo|qecho|timing|pset|encoding|set\s+ON_ERROR_STOP)\b")
_COPY_LINE = re.compile(r"\bline (\d+)")

_DRIVES_TRANSACTIONS = {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT"}
_ALONE = (
    ("VACUUM",),
    ("ALTER", "SYSTEM"),
    ("CREATE", "TABLESPACE"),
    ("DROP", "TABLESPACE"),
    ("CREATE", "SUBSCRIPTION"),
    ("ALTER", "SUBSCRIPTION"),
    ("DROP", "SUBSCRIPTION"),
    ("REINDEX", "DATABASE"),
    ("REINDEX", "SYSTEM"),
    ("REINDEX", "SCHEMA"),
)
_OTHER_DATABASES = (("CREATE", "DATABASE"), ("DROP", "DATABASE"))


async def apply_sql(connection: asyncpg.Connection, step: Step) -> None:
    """Run the file of ``step``.

    :raises RealstackError: of the step's phase, with file, line, the line itself and a caret.
    """
    script = read_script(step)
    await _File(connection, step, script).run()


def read_script(step: Step) -> Script:
    """The file's script, up to where its part for reverting begins.

    :raises RealstackError: of the step's phase; it is not UTF-8, or a quote has no end.
    """
    raw = step.path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = raw.count(b"\n", 0, problem.start) + 1
        raise step.phase.error(
            f"{step.shown}:{line}: this file is not UTF-8 (byte {problem.start}).", remedy="store it as UTF-8."
        ) from problem
    if down := _DOWN.search(text):
        text = text[: down.start()]
    script = Script(text, step.shown)
    try:
        _ = script.pieces
    except UnfinishedError as problem:
        raise step.phase.error(
            f"{step.shown}:{script.line_of(problem.offset)}: {problem}.",
            details=script.shown(problem.offset),
            remedy="close what begins there.",
        ) from problem
    return script


def drives_transactions(script: Script) -> bool:
    """Whether the file begins and ends transactions by itself, or asks for none."""
    if _NO_TRANSACTION.search(script.text):
        return True
    return any(piece.words[:1] and piece.words[0] in _DRIVES_TRANSACTIONS for piece in script.pieces)


def runs_alone(piece: Piece) -> bool:
    """Whether the server refuses the statement inside of a transaction."""
    words = piece.words
    if any(words[: len(start)] == start for start in _ALONE):
        return True
    if words in (("CLUSTER",), ("CLUSTER", "VERBOSE")):
        return True
    return "CONCURRENTLY" in words and words[0] in ("CREATE", "DROP", "REINDEX", "ALTER")


class _File:
    def __init__(self, connection: asyncpg.Connection, step: Step, script: Script) -> None:
        self.connection = connection
        self.step = step
        self.script = script

    async def run(self) -> None:
        whole = not drives_transactions(self.script)
        transaction = await self._begun() if whole else None
        for piece in self.script.pieces:
            if transaction is not None and runs_alone(piece):
                await self._commit(transaction, piece)
                await self._run(piece)
                transaction = await self._begun()
            else:
                await self._run(piece)
        if transaction is not None:
            await self._commit(transaction, self.script.pieces[-1] if self.script.pieces else None)
        elif self.connection.is_in_transaction():
            raise self.step.phase.error(
                f"{self.step.shown}: the file begins a transaction and does not end it.",
                remedy="add COMMIT, or take BEGIN out: a file is one transaction by itself.",
            )

    async def _begun(self) -> asyncpg.transaction.Transaction:
        transaction = self.connection.transaction()
        await transaction.start()
        return transaction

    async def _commit(self, transaction: asyncpg.transaction.Transaction, last: Piece | None) -> None:
        """Deferred constraints speak up only here."""
        import asyncpg

        try:
            await transaction.commit()
        except asyncpg.PostgresError as problem:
            offset = last.body if last is not None else 0
            line = self.script.line_of(min(offset, max(0, len(self.script.text) - 1)))
            raise self.step.phase.error(
                f"{self.step.shown}:{line}: at the commit of the statements above it: {one_line(problem)}",
                details=notes_of(problem),
                remedy=remedy_for(problem),
            ) from problem

    async def _run(self, piece: Piece) -> None:
        if piece.kind is Kind.META:
            self._meta(piece)
        elif piece.kind is Kind.COPY:
            await self._copy(piece)
        elif piece.kind is Kind.SQL:
            await self._statement(piece)

    async def _statement(self, piece: Piece) -> None:
        import asyncpg

        if piece.words[:2] in _OTHER_DATABASES:
            raise self._refused(
                piece,
                f"{' '.join(piece.words[:2])} reaches beyond the database that is being made.",
                "leave databases to realstack: write only what belongs in one (pg_dump without --create).",
            )
        try:
            await self.connection.execute(piece.sql)
        except asyncpg.PostgresError as problem:
            position = int(getattr(problem, "position", None) or 0)
            offset = piece.start + position - 1 if position else piece.body
            raise sql_failed(self.step, self.script, offset, problem) from problem

    def _meta(self, piece: Piece) -> None:
        command = piece.text.strip().split("\n")[-1].strip()
        if not _HARMLESS_META.match(self.script.text, piece.body):
            raise self._refused(
                piece,
                f"{command.split()[0]} is a command of psql's, not SQL.",
                "take it out; for \\i, name the files themselves as sources.",
            )

    async def _copy(self, piece: Piece) -> None:
        import asyncpg

        try:
            target: CopyTarget = parse_copy(piece.sql[piece.body - piece.start :])
        except NotReadableError as problem:
            raise self._refused(
                piece, f"this form of COPY FROM STDIN is not understood: {problem}", "write it as pg_dump does."
            ) from problem
        try:
            await self.connection.copy_to_table(
                target.table,
                schema_name=target.schema,
                columns=target.columns,
                source=io.BytesIO(piece.data.encode()),
                **target.options,
            )
        except asyncpg.PostgresError as problem:
            in_data = _COPY_LINE.search(str(getattr(problem, "context", None) or ""))
            offset = piece.body
            if in_data and piece.data_start is not None:
                first = self.script.line_of(piece.data_start)
                offset = self.script.start_of(first + int(in_data[1]) - 1)
            raise sql_failed(self.step, self.script, offset, problem) from problem

    def _refused(self, piece: Piece, problem: str, remedy: str) -> RealstackError:
        return self.step.phase.error(
            f"{self.step.shown}:{self.script.line_of(piece.body)}: {problem}",
            details=self.script.shown(piece.body),
            remedy=remedy,
        )
