"""A fresh cluster in a tenth of a second: initdb runs once per server, login and options, and is kept."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from realstack.errors import ServiceStartFailed
from realstack.model import tail
from realstack.services.postgres import Login
from realstack.services.postgres_archive import BrokenArchiveError, pack, unpack, version_in
from realstack.services.postgres_binaries import BIN_VARIABLE, Binaries, major
from realstack.services.unprivileged import Identity

_FORMAT = 1  # raise it when clusters are made in another way
_INITDB_TIMEOUT_S = 120.0
_LOCK_TIMEOUT_S = 180.0
_UNUSED_AFTER_S = 30 * 24 * 3600.0
_SCRAM_ITERATIONS = 4096  # RFC 7677's least; clients of other languages refuse less


@dataclass(frozen=True)
class ClusterMaker:
    """Makes the cluster of one login by one server; keeps it in ``cache``."""

    service: str
    binaries: Binaries
    login: Login
    initdb_arguments: tuple[str, ...]
    who: Identity
    cache: Path

    def lay_out(self, cluster: Path, scratch: Path, kept: Path | None = None) -> tuple[str, Path | None]:
        """Fill the new folder ``cluster``; the server's version, and ``kept`` if it was filled from that.

        ``scratch`` is an empty folder, ``kept`` a cluster that holds more: it is taken if it is whole, else dropped.

        :raises ServiceStartFailed: initdb failed or hangs, or the login cannot be made.
        :raises OSError: no room, no permission.
        """
        if kept is not None:
            try:
                version = unpack(kept, cluster, self.who)
            except (FileNotFoundError, BrokenArchiveError):
                kept.unlink(missing_ok=True)
            else:
                with suppress(FileNotFoundError):  # another run made room
                    os.utime(kept)
                return version, kept
        archive = self._archive()
        try:
            version = unpack(archive, cluster, self.who)
        except (FileNotFoundError, BrokenArchiveError):
            self._make_once(archive, scratch)
            version = unpack(archive, cluster, self.who)
        os.utime(archive)
        return version, None

    def key(self) -> str:
        """Of everything that goes into a cluster; the password only as part of the hash."""
        login = self.login
        parts = [_FORMAT, *self.binaries.identity, login.user, login.password, login.database]
        text = json.dumps([*parts, *self.initdb_arguments, sys.platform])
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def _archive(self) -> Path:
        return self.cache / f"{self.key()}.cluster"

    def _make_once(self, archive: Path, scratch: Path) -> None:
        self.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone(archive.with_suffix(".lock")):
            if _is_whole(archive):
                return  # another run made it while we waited
            archive.unlink(missing_ok=True)
            _drop_unused(self.cache)
            cluster = scratch / "new"
            self._initdb(cluster)
            self._set_up_login(cluster)
            (cluster / "postmaster.opts").unlink(missing_ok=True)
            self._pack(cluster, archive)
            shutil.rmtree(cluster)

    @contextmanager
    def _alone(self, lock: Path) -> Iterator[None]:
        from filelock import FileLock, Timeout

        held = FileLock(lock, timeout=_LOCK_TIMEOUT_S)
        try:
            held.acquire()
        except Timeout as problem:
            raise ServiceStartFailed(
                self.service,
                "prepare",
                problem=f"another process has been making the same cluster for {_LOCK_TIMEOUT_S:g} s",
                remedy=f"end that process, which holds {lock}.",
            ) from problem
        try:
            yield
        finally:
            held.release()

    def _pack(self, cluster: Path, archive: Path) -> None:
        try:
            pack(cluster, archive, version=self.binaries.version)
        except OSError as problem:
            # A write's error names no file, and this is another file system than the run's.
            raise OSError(problem.errno, problem.strerror, str(archive)) from problem

    def _initdb(self, cluster: Path) -> None:
        fixed = ["-D", str(cluster), "-U", self.login.user, "-A", "trust", "-E", "UTF8", "--no-sync"]
        if major(self.binaries.version) >= 18:
            fixed.append("--no-data-checksums")
        failure = ""
        for locale in _locales(major(self.binaries.version)):
            command = [str(self.binaries.initdb), *fixed, *locale, *self.initdb_arguments]
            done = self._run(command)
            if done.returncode == 0:
                return
            failure = done.stdout + done.stderr
            if "locale" not in failure:
                break
            shutil.rmtree(cluster, ignore_errors=True)
        raise self._failed("initdb", failure)

    def _set_up_login(self, cluster: Path) -> None:
        """Password and database by the single-user server: no port is open before the password is set."""
        database = self.login.database
        try:
            user, owned = quoted(self.login.user), quoted(database)
        except ValueError as problem:
            raise ServiceStartFailed(
                self.service,
                "prepare",
                problem=f"POSTGRES_USER or POSTGRES_DB is {problem}",
                remedy="take that out of the declaration's environment.",
            ) from problem
        statements = [f"ALTER ROLE {user} PASSWORD '{scram_verifier(self.login.password)}'"]
        if database not in ("postgres", "template0", "template1"):
            statements.append(f"CREATE DATABASE {owned} OWNER {user}")
        command = [str(self.binaries.postgres), "--single", "-F", "-D", str(cluster), "postgres"]
        done = self._run(command, "".join(f"{statement}\n" for statement in statements))
        if done.returncode != 0 or re.search(r"\b(ERROR|FATAL|PANIC):", done.stderr):
            raise self._failed("postgres --single", done.stderr)

    def _run(self, command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[str]:
        with subprocess.Popen(
            [*self.who.wrapper, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            cwd="/",
            start_new_session=True,
            user=self.who.uid,
            group=self.who.gid,
            extra_groups=None if self.who.uid is None else (),
        ) as process:
            try:
                out, err = process.communicate(text, timeout=_INITDB_TIMEOUT_S)
            except BaseException as problem:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # initdb has children of its own
                if isinstance(problem, subprocess.TimeoutExpired):
                    raise self._hangs(Path(command[0]).name, problem) from problem
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def _hangs(self, program: str, problem: subprocess.TimeoutExpired) -> ServiceStartFailed:
        said = b"".join(part for part in (problem.stdout, problem.stderr) if isinstance(part, bytes))
        return ServiceStartFailed(
            self.service,
            "prepare",
            problem=f"{program} in {self.binaries.folder} did not end",
            after_s=problem.timeout,
            log_tail=tail(said.decode("utf-8", "replace").splitlines()),
            remedy=f"run it by hand to see where it hangs, or name the folder of another PostgreSQL in {BIN_VARIABLE}.",
        )

    def _failed(self, program: str, output: str) -> Exception:
        if os.strerror(errno.ENOSPC) in output:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return ServiceStartFailed(
            self.service,
            "prepare",
            problem=f"{program} of {self.binaries} could not make a cluster",
            log_tail=tail(output.splitlines()),
            remedy="read its output above; POSTGRES_INITDB_ARGS of the declaration goes to initdb as it is.",
        )


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL stores for ``password`` (RFC 5803), so that the password itself is in no command or log.

    ASCII passwords are their own SASLprep form; others are normalised as NFKC, as libpq and asyncpg do.
    """
    import unicodedata

    salt = salt or secrets.token_bytes(16)
    prepared = password if password.isascii() else unicodedata.normalize("NFKC", password)
    salted = hashlib.pbkdf2_hmac("sha256", prepared.encode(), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    b64 = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{b64[0]}${b64[1]}:{b64[2]}"


def quoted(name: str) -> str:
    """A name as an SQL identifier on one line, for the single-user server ends statements at line ends."""
    if "\n" in name or "\0" in name:
        raise ValueError(f"a name with a line break or a zero: {name!r}")
    return '"' + name.replace('"', '""') + '"'


def _locales(version: int) -> list[list[str]]:
    """The locale of code points, with Unicode's letters where the platform knows them; then plain C."""
    plain = ["--locale=C"]
    if version >= 17:
        return [["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"], plain]
    if sys.platform == "darwin":
        return [["--locale=C", "--lc-ctype=UTF-8"], plain]
    return [["--locale=C.UTF-8"], plain]


def _is_whole(archive: Path) -> bool:
    try:
        version_in(archive)
    except (FileNotFoundError, BrokenArchiveError):
        return False
    return True


def _drop_unused(cache: Path) -> None:
    before = time.time() - _UNUSED_AFTER_S
    for path in cache.iterdir():
        if path.suffix in (".cluster", ".part", ".server") and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)
