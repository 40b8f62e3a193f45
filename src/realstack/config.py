"""The only reader of pyproject.toml, the compose file's place and os.environ. It makes frozen Settings.

Precedence: argument, then command line, then ``REALSTACK_*``, then ``[tool.realstack]``, then default.
An unknown key is an error that names the nearest known one.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from realstack.compose_file import ComposeProject, read_compose_file
from realstack.errors import SettingsError
from realstack.model import (
    FAKE_LLM,
    ISOLATIONS,
    POSTGRES,
    PROVIDER_NAMES,
    REDIS,
    PostgresPlan,
    RedisPlan,
    Secret,
    ServiceSpec,
)

COMPOSE_FILE = "docker-compose.test.yml"
EXCLUDED = ("tests", "test_*.py", "*_test.py", "conftest.py", "scripts", "migrations")
"""What no gate looks at unless the settings say otherwise: patterns of a folder's or a file's name, or of a path."""
DEFAULT_COMPOSE_FILE = Path(__file__).with_name("default-compose.yml")
DEFAULT_SERVICES = (POSTGRES, REDIS, FAKE_LLM)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was decided before anything runs.

    ``addresses`` maps service names to given URLs (``REALSTACK_POSTGRES_URL`` …). ``environ`` maps variable
    names to templates such as ``{postgres.url}`` for applications that want other names.
    ``disposable`` names the services whose given address is declared fit for throwing away. ``mask``, ``unmasked``
    and ``not_captured`` say what a captured seed holds of which column and table; ``mask_salt`` is the masks' key.
    ``keep_state``: the known state may be kept from run to run.
    ``overrides`` has what was named for this run alone: others need it to read the same.
    """

    root: Path
    project: str
    compose: ComposeProject
    provider: str = "auto"
    provider_set_by: str = "default"
    services: tuple[str, ...] = DEFAULT_SERVICES
    isolation: str = "reset"
    ready_within_s: float = 60.0
    pull_within_s: float = 300.0
    postgres: PostgresPlan = field(default_factory=lambda: PostgresPlan(Path()))
    redis: RedisPlan = field(default_factory=lambda: RedisPlan(Path()))
    scenarios: tuple[Path, ...] = ()
    postgres_bin: Path | None = None
    keep_state: bool = True
    environ: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, Secret] = field(default_factory=dict)
    disposable: frozenset[str] = frozenset()
    mask: Mapping[str, str] = field(default_factory=dict)
    unmasked: tuple[str, ...] = ()
    not_captured: tuple[str, ...] = ()
    mask_salt: Secret | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def spec(self, name: str) -> ServiceSpec:
        """The declaration of that service.

        :raises SettingsError: the compose file has no such service.
        """
        for spec in self.compose.services:
            if name in (spec.name, spec.compose_name):
                return spec
        known = [spec.name for spec in self.compose.services]
        raise SettingsError(
            f"{self.compose.path.name} declares no service {name!r}; it declares {', '.join(known) or 'none'}.",
            remedy=_nearest(name, known)
            or f"declare it in {self.compose.path}, or take it out of [tool.realstack] services.",
        )

    @property
    def specs(self) -> tuple[ServiceSpec, ...]:
        """The declarations of the services that a run starts, in the settings' order."""
        return tuple(self.spec(name) for name in self.services)


@dataclass(frozen=True, slots=True)
class _Postgres:
    migrations: tuple[str, ...] = ()
    seed: tuple[str, ...] = ()
    now: str = ""
    disposable: bool = False
    bin: str = ""
    keep: bool = True


@dataclass(frozen=True, slots=True)
class _Redis:
    seed: tuple[str, ...] = ()
    disposable: bool = False
    key_prefix: bool | None = None


@dataclass(frozen=True, slots=True)
class _Seed:
    """What ``realstack seed capture`` does to columns, for everybody who captures in this project."""

    mask: Mapping[str, str] = field(default_factory=dict)
    unmasked: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _FakeLLM:
    scenarios: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What ``realstack check`` looks at. ``packages``: [] for all that are found. ``timeout_s``: for each module."""

    packages: tuple[str, ...] = ()
    exclude: tuple[str, ...] = EXCLUDED
    python: str = ""
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class _Table:
    """The shape of ``[tool.realstack]``."""

    provider: str = "auto"
    compose_file: str = ""
    services: tuple[str, ...] = DEFAULT_SERVICES
    isolation: str = "reset"
    ready_within_s: float = 60.0
    pull_within_s: float = 300.0
    postgres: _Postgres = field(default_factory=_Postgres)
    redis: _Redis = field(default_factory=_Redis)
    seed: _Seed = field(default_factory=_Seed)
    fake_llm: _FakeLLM = field(default_factory=_FakeLLM)
    environ: Mapping[str, str] = field(default_factory=dict)
    check: CheckSettings = field(default_factory=CheckSettings)


def load_check_settings(root: Path) -> CheckSettings:
    """``[tool.realstack.check]`` of the project in ``root``; no service is looked at.

    :raises SettingsError: a key, a type or a value is wrong.
    """
    where, raw = _read_pyproject(root)
    table: _Table = _read(_Table, raw, where)
    return table.check


def load_settings(
    start: Path | None = None,
    *,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings that hold for the folder ``start`` (default: the current one).

    ``overrides`` come from arguments or the command line: ``provider``, ``compose_file``, ``services``,
    ``isolation``, ``ready_within_s``. None as a value means "not given".

    :raises SettingsError: a key, a type or a value is wrong; the sentence names file and key.
    :raises ComposeFileError: the compose file cannot be used.
    """
    environ = os.environ if environ is None else environ
    root = find_root(start or Path.cwd())
    where, raw = _read_pyproject(root)
    table: _Table = _read(_Table, raw, where)
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    said = _Said(given, environ, where, raw)
    provider, set_by = said.one_of(PROVIDER_NAMES, "provider", table.provider)
    isolation, _ = said.one_of(ISOLATIONS, "isolation", table.isolation)
    named = named_for_run(given, environ)
    services = named.get("services") or table.services
    compose = _compose(root, str(named.get("compose_file") or table.compose_file), environ)
    settings = Settings(
        root=root,
        project=project_id(root),
        compose=compose,
        provider=provider,
        provider_set_by=set_by,
        services=tuple(services),
        isolation=isolation,
        ready_within_s=_seconds("ready_within_s", given, environ, table.ready_within_s),
        pull_within_s=_seconds("pull_within_s", given, environ, table.pull_within_s),
        postgres=PostgresPlan(
            root, table.postgres.migrations, table.postgres.seed, _instant(table.postgres.now, where)
        ),
        redis=RedisPlan(root, table.redis.seed, table.redis.key_prefix),
        scenarios=tuple(_existing(root / path, where) for path in table.fake_llm.scenarios),
        postgres_bin=root / table.postgres.bin if table.postgres.bin else None,
        keep_state=table.postgres.keep,
        environ=table.environ,
        mask=table.seed.mask,
        unmasked=table.seed.unmasked,
        not_captured=table.seed.exclude,
        mask_salt=Secret(environ["REALSTACK_MASK_SALT"]) if environ.get("REALSTACK_MASK_SALT") else None,
        overrides={**named, "compose_file": str(compose.path)} if "compose_file" in named else named,
    )
    names = tuple(dict.fromkeys(spec.name for spec in settings.specs))  # an unknown service is an error now
    return replace(
        settings,
        services=names,
        addresses=_addresses(names, environ),
        disposable=_disposable(table, settings.compose.services, environ),
    )


def named_for_run(overrides: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The ``compose_file`` and the ``services`` that an argument or a variable names for this run alone."""
    environ = os.environ if environ is None else environ
    found = {
        "compose_file": overrides.get("compose_file") or environ.get("REALSTACK_COMPOSE_FILE"),
        "services": overrides.get("services") or _words(environ.get("REALSTACK_SERVICES")),
    }
    return {key: value for key, value in found.items() if value}


def find_root(start: Path) -> Path:
    """The project's folder: the nearest one upwards with ``[tool.realstack]`` or a compose file for tests.

    Failing that the nearest with a pyproject.toml or a ``.git``, failing that ``start``.
    """
    start = start.resolve()
    folders = (start, *start.parents)
    for folder in folders:
        if (folder / COMPOSE_FILE).is_file() or _has_table(folder / "pyproject.toml"):
            return folder
    for folder in folders:
        if (folder / "pyproject.toml").is_file() or (folder / ".git").exists():
            return folder
    return start


def project_id(root: Path) -> str:
    """A short name for the project in ``root``, unique on this machine, fit for container and database names."""
    slug = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:20] or "project"
    return f"{slug}-{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"


def past_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that keep clients from asking a proxy for addresses on loopback; empty where no proxy is set.

    All the providers' SDKs honour ``HTTP_PROXY``, for 127.0.0.1 too.
    """
    if not any(environ.get(name) for name in _PROXIES):
        return {}
    merged = {}
    for name in ("NO_PROXY", "no_proxy"):
        given = [word for word in environ.get(name, "").split(",") if word]
        merged[name] = ",".join(dict.fromkeys([*given, "127.0.0.1", "localhost"]))
    return merged


_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def _has_table(pyproject: Path) -> bool:
    try:
        return b"[tool.realstack" in pyproject.read_bytes()
    except OSError:
        return False


def _read_pyproject(root: Path) -> tuple[str, Mapping[str, Any]]:
    path = root / "pyproject.toml"
    if not path.is_file():
        return str(path), {}
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError(f"{path} is not valid TOML: {problem}", remedy="correct that line.") from problem
    table = document.get("tool", {}).get("realstack", {})
    if not isinstance(table, dict):
        raise SettingsError(f"{path}: [tool.realstack] must be a table.", remedy="write [tool.realstack].")
    return str(path), table


def _read(shape: type[Any], raw: Mapping[str, Any], where: str, prefix: str = "tool.realstack") -> Any:
    """Read one table into ``shape``; nested dataclasses are nested tables."""
    known = {item.name: item for item in fields(shape)}
    values: dict[str, Any] = {}
    for key, value in raw.items():
        if key not in known:
            raise SettingsError(
                f"{where}: [{prefix}] has the unknown key {key!r}.",
                remedy=_nearest(key, known) or f"known keys are {', '.join(sorted(known))}.",
            )
        values[key] = _typed(getattr(shape(), key), value, where, f"{prefix}.{key}")
    return shape(**values)


def _typed(default: Any, value: Any, where: str, key: str) -> Any:
    """``value`` as the type that ``default`` has."""
    wanted: str
    match default:
        case None:
            wanted, fits = 'true, false or "auto"', isinstance(value, bool) or value == "auto"
            value = None if value == "auto" else value
        case bool():
            wanted, fits = "true or false", isinstance(value, bool)
        case float():
            wanted, fits = "a number", isinstance(value, int | float) and not isinstance(value, bool)
        case str():
            wanted, fits = "a string", isinstance(value, str)
        case tuple():
            if isinstance(value, str):
                value = [value]
            wanted = "a list of strings"
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
            value = tuple(value) if fits else value
        case Mapping():
            wanted = "a table of strings"
            fits = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
        case _:
            if isinstance(value, dict):
                return _read(type(default), value, where, key)
            wanted, fits = "a table", False
    if not fits:
        raise SettingsError(f"{where}: {key} must be {wanted}, not {value!r}.", remedy=f"write {key} as {wanted}.")
    return float(value) if isinstance(default, float) else value


@dataclass(frozen=True, slots=True)
class _Said:
    """Who may say what a setting is: arguments or the command line, variables, the file ``where`` with its ``raw``."""

    given: Mapping[str, Any]
    environ: Mapping[str, str]
    where: str
    raw: Mapping[str, Any]

    def one_of(self, known: Sequence[str], key: str, in_table: str) -> tuple[str, str]:
        """The word that was chosen, and what chose it."""
        variable, place = f"REALSTACK_{key.upper()}", ""
        if key in self.given:
            word, set_by = str(self.given[key]), "the command line"
        elif self.environ.get(variable):
            word, set_by = self.environ[variable], variable
        elif key in self.raw:
            word, set_by, place = in_table, f"[tool.realstack] {key}", f"{self.where}: "
        else:
            word, set_by = in_table, "default"
        if word not in known:
            raise SettingsError(
                f"{place}{set_by} names the unknown {key} {word!r}.",
                remedy=_nearest(word, known) or f"choose one of {', '.join(known)}.",
            )
        return word, set_by


def _compose(root: Path, named: str, environ: Mapping[str, str]) -> ComposeProject:
    if named:
        path = root / named
        if not path.is_file():
            raise SettingsError(f"the compose file {path} does not exist.", remedy="correct compose_file.")
        return read_compose_file(path, environ)
    own = root / COMPOSE_FILE
    return read_compose_file(own if own.is_file() else DEFAULT_COMPOSE_FILE, environ)


def _seconds(key: str, given: Mapping[str, Any], environ: Mapping[str, str], default: float) -> float:
    variable = f"REALSTACK_{key.upper()}"
    text = given.get(key, environ.get(variable) or default)
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 86_400:
        raise SettingsError(f"{key} must be a number of seconds above 0, not {text!r}.", remedy=f"correct {variable}.")
    return value


def _instant(text: str, where: str) -> str:
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as problem:
        raise SettingsError(
            f"{where}: tool.realstack.postgres.now must be an instant, not {text!r}.",
            remedy='write it as "2025-01-31T12:00:00Z".',
        ) from problem
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


def _addresses(services: Iterable[str], environ: Mapping[str, str]) -> dict[str, Secret]:
    """Given addresses. Never ``DATABASE_URL``: that one is the application's own."""
    found = {name: environ.get(f"REALSTACK_{name.upper().replace('-', '_')}_URL") for name in services}
    return {name: Secret(url) for name, url in found.items() if url}


def _disposable(table: _Table, specs: Iterable[ServiceSpec], environ: Mapping[str, str]) -> frozenset[str]:
    names = {spec.compose_name: spec.name for spec in specs}
    declared = {name for name in (POSTGRES, REDIS) if getattr(table, name).disposable}
    return frozenset(declared | {names.get(word, word) for word in _words(environ.get("REALSTACK_DISPOSABLE"))})


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text or "") if word)


def _existing(path: Path, where: str) -> Path:
    if not path.exists():
        raise SettingsError(f"{where}: {path} does not exist.", remedy="correct the path; it starts at the project.")
    return path


def _nearest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""
