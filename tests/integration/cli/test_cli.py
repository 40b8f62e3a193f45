"""up, status, env, run, reset, logs, down and doctor, as a user meets them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from realstack import registry
from tests.integration.cli.conftest import Shop

COUNT = """
import asyncio, asyncpg, os, redis
async def main():
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    {statement}
    rows = await connection.fetchval("SELECT count(*) FROM users")
    await connection.close()
    return rows
print("rows", asyncio.run(main()), "greeting", redis.Redis.from_url(os.environ["REDIS_URL"]).get("greeting"))
"""


def python(text: str, statement: str = "pass") -> tuple[str, ...]:
    return (sys.executable, "-c", text.format(statement=statement))


def test_nothing_is_up_to_begin_with(shop: Shop, tmp_path: Path) -> None:
    # An engine that others use too may hold what `down` leaves alone, and says so.
    shop.environ["DOCKER_HOST"] = f"unix://{tmp_path}/no-engine.sock"
    status = shop.call("status")
    assert (status.returncode, "nothing is up" in status.stdout) == (1, True)
    for command in ("env", "logs", "reset"):
        answer = shop.call(command)
        assert answer.returncode == 2
        assert "realstack up" in answer.stderr
    assert shop.call("down").stdout.strip() == "nothing is up"


def follow_the_logs(shop: Shop) -> None:
    """`logs -f` shows what comes later, and ends by Ctrl-C without a word of its own."""
    with shop.start("logs", "-f", "postgres") as following:
        assert following.stdout is not None
        while "ready to accept connections" not in following.stdout.readline():
            assert following.poll() is None
        failing = ["run", "--", *python(COUNT, 'await connection.execute("SELECT no_such_column")')]
        assert shop.call(*failing).returncode != 0
        while "no_such_column" not in following.stdout.readline():
            assert following.poll() is None
        following.send_signal(signal.SIGINT)
        assert following.stderr is not None
        assert following.stderr.read() == ""


def test_up_is_attachable_and_down_leaves_nothing(shop: Shop) -> None:
    up = shop.call("up")
    assert up.returncode == 0, up.stderr
    assert "secret-word" not in up.stdout
    assert "up already" in shop.call("up").stdout

    status = json.loads(shop.call("status", "--json").stdout)
    assert sorted(status["services"]) == ["fake_llm", "postgres", "redis"]
    assert status["services"]["postgres"]["provider"] == "embedded"
    assert "asks for it" in status["services"]["postgres"]["because"]

    variables = json.loads(shop.call("env", "--format", "json").stdout)
    changed = subprocess.run(
        python(COUNT, 'await connection.execute("DELETE FROM users WHERE id = 1")'),
        env={**shop.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert changed.stdout.strip() == "rows 1 greeting b'hello'"
    assert shop.call("reset").returncode == 0
    again = subprocess.run(python(COUNT), env={**shop.environ, **variables}, capture_output=True, text=True, check=True)
    assert again.stdout.strip() == "rows 2 greeting b'hello'"

    assert "ready to accept connections" in shop.call("logs", "postgres").stdout
    follow_the_logs(shop)
    [record] = registry.records()
    assert shop.call("down").returncode == 0
    assert list(registry.records()) == []
    assert not record.run.folder.exists()
    assert not record.owner_lives()


def test_pytest_attaches_to_what_is_up(shop: Shop) -> None:
    shop.write("test_it.py", "async def test_it(real_db):\n    assert await real_db.fetchval('SELECT 1') == 1\n")
    shop.write(
        "pyproject.toml",
        (shop.path / "pyproject.toml").read_text() + '[tool.pytest.ini_options]\nasyncio_mode = "auto"\n',
    )
    shop.call("up")
    ran = shop.pytest()
    assert ran.returncode == 0, ran.stdout
    assert "attached to run" in ran.stdout
    assert json.loads(shop.call("status", "--json").stdout)["up"], "pytest must not end what it did not start"


def test_env_is_fit_for_a_shell_and_for_a_dotenv_file(shop: Shop) -> None:
    shop.call("up")
    shell = shop.call("env").stdout
    exported = dict(shlex.split(line)[1].split("=", 1) for line in shell.splitlines())
    assert exported == json.loads(shop.call("env", "--format", "json").stdout)
    assert {"DATABASE_URL", "REDIS_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "ANTHROPIC_BASE_URL"} <= set(exported)
    dotenv = shop.call("env", "--format", "dotenv").stdout
    assert f'REDIS_URL="{exported["REDIS_URL"]}"' in dotenv.splitlines()


def test_run_starts_an_environment_for_one_command_and_passes_its_exit_code_on(shop: Shop) -> None:
    ran = shop.call("run", "--", *python(COUNT))
    assert (ran.returncode, ran.stdout.strip()) == (0, "rows 2 greeting b'hello'")
    assert shop.call("run", "--", sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    assert list(registry.records()) == []


def test_a_terminated_run_passes_the_signal_on_and_leaves_nothing(shop: Shop) -> None:
    note = shop.path / "runs.txt"
    command = f"trap 'echo told; exit 9' TERM; echo up > {note}; while :; do sleep 0.05; done"
    process = shop.start("run", "--", "sh", "-c", command)
    while not note.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out.strip()) == (9, "told")
    assert list(registry.records()) == []


def test_doctor_tells_each_finding_and_what_would_be_chosen(shop: Shop) -> None:
    looked = shop.call("doctor")
    assert looked.returncode == 0, looked.stdout
    for words in (
        "python",
        "settings",
        "embedded postgres",
        "room for data",
        "postgres, redis, fake_llm: embedded, because",
    ):
        assert words in looked.stdout
    assert {"name", "state", "finding", "remedy"} == set(json.loads(shop.call("doctor", "--json").stdout)[0])


def test_two_ups_at_once_start_one_environment(shop: Shop) -> None:
    processes = [shop.start("up"), shop.start("up")]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(output.partition(":")[0] for output in outputs) == ["up", "up already"]
    assert len(list(registry.records())) == 1


def test_a_changed_declaration_is_noticed_before_it_is_attached_to(shop: Shop) -> None:
    shop.call("up")
    compose = shop.path / "docker-compose.test.yml"
    compose.write_text(compose.read_text().replace("secret-word", "other-word"))
    answer = shop.call("up")
    assert answer.returncode == 2
    assert "declaration differs" in answer.stderr
    assert "realstack down" in answer.stderr


@pytest.mark.parametrize("command", ["run", "up"])
@pytest.mark.parametrize("after_s", [0.0, 0.3, 0.6, 1.0, 1.5])
def test_ctrl_c_while_it_starts_leaves_nothing(shop: Shop, command: str, after_s: float) -> None:
    """At whatever stage it comes: the command ends, and what it had started ends with it."""
    more = ("--", "sleep", "30") if command == "run" else ()
    process = shop.start(command, *more)
    time.sleep(after_s)  # the moment is the test's parameter, not a wait for something
    err = ""
    for _ in range(3):  # one that meets a child between its fork and its exec is lost: a person presses again
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all in the foreground
        try:
            err = process.communicate(timeout=10)[1]
            break
        except subprocess.TimeoutExpired:
            continue
    if command == "up" and any(record.ready for record in registry.records()):
        return  # it was up before the interrupt came
    # The interpreter itself ends with 1 where it comes before a line of ours has run.
    before_ours = process.returncode == 1 and "KeyboardInterrupt" in err and "/realstack/" not in err
    assert before_ours or process.returncode in (-signal.SIGINT, 130), err
    records = list(registry.records())
    deadline = time.monotonic() + 10
    while list(registry.records()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert list(registry.records()) == []
    assert [record.run.folder for record in records if record.run.folder.exists()] == []
