"""The images of `images/` do what the official ones do; whichever of both is named by the variables is tried."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

POSTGRES = os.environ.get("REALSTACK_POSTGRES_IMAGE", "postgres:17")
REDIS = os.environ.get("REALSTACK_REDIS_IMAGE", "redis:8")
PYTHON = os.environ.get("REALSTACK_PYTHON_IMAGE", "python:3.13-slim")
Start = Callable[..., str]


@pytest.fixture
def start(docker: None) -> Iterator[Start]:
    """Start a container in the background; all are removed at the end."""
    started: list[str] = []

    def run(*words: str) -> str:
        container = _docker("run", "--detach", *words).strip()
        started.append(container)
        return container

    yield run
    if started:
        _docker("rm", "--force", "--volumes", *started)


def _docker(*words: str, status: int = 0) -> str:
    done = subprocess.run(["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == status, done.stdout
    return done.stdout


async def until(container: str, *command: str) -> None:
    """Wait until that command succeeds in the container."""
    with anyio.fail_after(60):
        while subprocess.run(["docker", "exec", container, *command], capture_output=True, check=False).returncode:
            assert _docker("inspect", "-f", "{{.State.Running}}", container).strip() == "true", _docker(
                "logs", container
            )
            await anyio.sleep(0.05)


def ask(container: str, sql: str, database: str) -> str:
    return _docker("exec", container, "psql", "-U", "me", "-d", database, "-Atc", sql).strip()


async def test_postgres_takes_user_database_arguments_and_a_password_from_a_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "password").write_text('it\'s "secret" $PATH')
    (tmp_path / "password").chmod(0o644)
    container = start(
        *("-v", f"{tmp_path}/password:/run/secrets/pw:ro", "-e", "POSTGRES_PASSWORD_FILE=/run/secrets/pw"),
        *(
            "-e",
            "POSTGRES_USER=me",
            "-e",
            'POSTGRES_DB=my "db"',
            "-e",
            "POSTGRES_INITDB_ARGS=--no-sync --data-checksums",
        ),
        *(POSTGRES, "-c", "work_mem=7MB"),
    )
    await until(container, "pg_isready", "-q", "-h", "127.0.0.1")
    assert ask(container, "SHOW work_mem", 'my "db"') == "7MB"
    assert ask(container, "SHOW data_checksums", 'my "db"') == "on"
    assert ask(container, "SHOW server_encoding", 'my "db"') == "UTF8"
    over_tcp = ["exec", "-e", 'PGPASSWORD=it\'s "secret" $PATH', container, "psql", "-h"]
    address = _docker("exec", container, "hostname", "-i").split()[0]
    assert _docker(*over_tcp, address, "-U", "me", "-d", "postgres", "-Atc", "SELECT 1").strip() == "1"
    wrong = ["exec", "-e", "PGPASSWORD=wrong", container, "psql", "-h", address, "-U", "me", "-d", "postgres"]
    assert "password authentication failed" in _docker(*wrong, "-c", "SELECT 1", status=2)
    assert _docker("exec", container, "stat", "-c", "%U", "/proc/1").strip() == "postgres"


async def test_postgres_runs_its_scripts_once_in_order_and_keeps_its_data(start: Start, tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir(mode=0o755)
    (scripts / "1-table.sql").write_text("CREATE TABLE words (word text);")
    (scripts / "2-rows.sql.gz").write_bytes(gzip.compress(b"INSERT INTO words VALUES ('packed');"))
    (scripts / "3-more.sh").write_text(
        'psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "INSERT INTO words VALUES (\'sh\')"'
    )
    for script in scripts.iterdir():
        script.chmod(0o644)
    mounts = ["-v", f"{scripts}:/docker-entrypoint-initdb.d:ro"]
    container = start(*mounts, "-e", "POSTGRES_PASSWORD=x", "-e", "POSTGRES_USER=me", POSTGRES)
    await until(container, "pg_isready", "-q", "-h", "127.0.0.1")
    assert ask(container, "SELECT string_agg(word, ' ') FROM words", "me") == "packed sh"
    _docker("restart", container)
    await until(container, "pg_isready", "-q", "-h", "127.0.0.1")
    assert ask(container, "SELECT string_agg(word, ' ') FROM words", "me") == "packed sh"


async def test_postgres_stops_in_good_order_when_asked(start: Start) -> None:
    container = start("-e", "POSTGRES_HOST_AUTH_METHOD=trust", POSTGRES)
    await until(container, "pg_isready", "-q", "-h", "127.0.0.1")
    _docker("stop", "--time", "30", container)
    assert _docker("inspect", "-f", "{{.State.ExitCode}}", container).strip() == "0"
    assert "database system is shut down" in _docker("logs", container)


def test_postgres_without_a_password_or_with_a_failing_script_ends_and_says_why(docker: None, tmp_path: Path) -> None:
    told = _docker("run", "--rm", POSTGRES, status=1)
    assert "POSTGRES_PASSWORD" in told
    assert "POSTGRES_HOST_AUTH_METHOD=trust" in told
    (tmp_path / "bad.sql").write_text("SELEKT 1;")
    tmp_path.chmod(0o755)
    scripts = ["-v", f"{tmp_path}:/docker-entrypoint-initdb.d:ro", "-e", "POSTGRES_PASSWORD=x"]
    assert "SELEKT" in _docker("run", "--rm", *scripts, POSTGRES, status=3)


def test_other_commands_run_as_they_are(docker: None) -> None:
    assert _docker("run", "--rm", POSTGRES, "postgres", "--version").startswith("postgres (PostgreSQL)")
    assert _docker("run", "--rm", POSTGRES, "id", "-u").strip() == "0"
    assert "Redis server v=" in _docker("run", "--rm", REDIS, "redis-server", "--version")
    assert _docker("run", "--rm", "--user", "65534", REDIS, "id", "-u").strip() == "65534"
    assert _docker("run", "--rm", PYTHON, "python", "-c", "print(6 * 7)").strip() == "42"
    assert "pip" in _docker("run", "--rm", PYTHON, "pip", "--version")


@pytest.mark.parametrize("words", [["redis-server", "--save", ""], ["--maxmemory", "7mb"]])
async def test_redis_is_reached_from_outside_and_runs_as_redis(start: Start, words: list[str]) -> None:
    container = start(REDIS, *words)
    await until(container, "redis-cli", "ping")
    address = _docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", container).strip()
    assert _docker("run", "--rm", REDIS, "redis-cli", "-h", address, "ping").strip() == "PONG"
    assert _docker("exec", container, "stat", "-c", "%U", "/proc/1").strip() == "redis"
