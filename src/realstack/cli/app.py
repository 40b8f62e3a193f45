"""The commands. Each parses, calls, prints, and gives an exit code; what they do stands in the layers below."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from realstack import registry
from realstack.attaching import up_name, what_is_up, why_not_attach
from realstack.cli import exit_codes
from realstack.cli.check import check
from realstack.cli.progress import Progress
from realstack.cli.seed import seed
from realstack.cli.standing import required
from realstack.cli.state import app as state_app
from realstack.config import Settings, find_root, load_settings, project_id
from realstack.errors import RealstackError
from realstack.handles.session import Session
from realstack.keeper import end, ensure_kept
from realstack.known_state import reset_standing
from realstack.running import Environment
from realstack.sweep import Swept, sweep, sweep_ended_runs

app = typer.Typer(
    help="Real Postgres, real Redis and a fake LLM with the providers' wire protocols, at a known state for tests.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(check)
app.add_typer(seed, name="seed")
app.add_typer(state_app, name="state")

ProviderOption = Annotated[
    str | None, typer.Option("--provider", help="auto, embedded, containers, compose or external.")
]
ComposeOption = Annotated[str | None, typer.Option("--file", "-f", help="The compose file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs.")]


def _overrides(provider: str | None, file: str | None) -> dict[str, Any]:
    given = {"provider": provider, "compose_file": str(Path(file).resolve()) if file else None}
    return {key: value for key, value in given.items() if value is not None}


@app.command()
def up(provider: ProviderOption = None, file: ComposeOption = None, as_json: JsonOption = False) -> None:
    """Start the services in the background, at their known state; tests and commands attach to them."""
    overrides = _overrides(provider, file)
    settings = load_settings(overrides=overrides)
    name = up_name(settings.project)
    before = registry.find(name)
    try:
        with Progress(quiet=as_json) as progress:
            record, started = ensure_kept(name, settings, overrides=overrides, listen=progress.hear)
    except KeyboardInterrupt:
        made = registry.find(name)
        if before is None and made is not None:
            end(made)
        raise
    if not started:
        reason = why_not_attach(settings, record)
        if reason is not None:
            raise RealstackError(
                f"an environment is up for this project, but not this one: {reason}.",
                remedy="`realstack down`, then `realstack up`.",
            )
    _show(record, as_json, heading="up" if started else "up already")


@app.command()
def down(as_json: JsonOption = False) -> None:
    """Stop what `up` started for this project, and sweep what runs that were killed have left.

    Exit code 1 if something could not be removed.
    """
    swept = Swept()
    record = registry.find(up_name(project_id(find_root(Path.cwd()))))
    if record is not None and not end(record) and record.owner_lives():
        swept += sweep(record.run.run_id, record.run.folder)
    swept += sweep_ended_runs()
    if record is not None and not record.path.exists():
        swept += Swept(removed=(f"run {record.run.run_id}",))
    if as_json:
        typer.echo(json.dumps(asdict(swept)))
    else:
        for line in _told(swept) or ["nothing is up"]:
            typer.echo(line)
    if swept.not_removed:
        raise typer.Exit(exit_codes.FAILED)


def _told(swept: Swept) -> list[str]:
    return [
        *(f"removed {line}" for line in swept.removed),
        *(f"not removed: {line}; `realstack down` tries again" for line in swept.not_removed),
        *(f"left alone: {line}" for line in swept.left_alone),
    ]


@app.command()
def status(as_json: JsonOption = False) -> None:
    """What is up for this project, where, and why there. Exit code 1 if nothing is."""
    record = what_is_up()
    if record is None:
        typer.echo(json.dumps({"up": False}) if as_json else "nothing is up; `realstack up` starts it")
        raise typer.Exit(exit_codes.FAILED)
    _show(record, as_json, heading="up")


@app.command()
def logs(
    service: Annotated[list[str] | None, typer.Argument(help="Services; all if none is named.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they come.")] = False,
) -> None:
    """The log lines of the services that are up."""
    settings, record = required()
    environment = _environment(settings, record)
    names = service or list(environment.endpoints)
    for name in names:
        environment.endpoint(name)
    seen = dict.fromkeys(names, 0)
    while True:
        for name in names:
            lines = environment.log_lines(name, seen[name])
            seen[name] += len(lines)
            for line in lines:
                typer.echo(f"{name} | {line}" if len(names) > 1 else line)
        if not follow or not record.owner_lives():
            return
        time.sleep(0.2)


@app.command()
def env(
    style: Annotated[Literal["shell", "dotenv", "json"], typer.Option("--format", help="How to print them.")] = "shell",
) -> None:
    """The variables by which an application finds the services that are up: eval "$(realstack env)"."""
    settings, record = required()
    variables = _environment(settings, record).environ(**record.standing)
    match style:
        case "json":
            typer.echo(json.dumps(variables, indent=1))
        case "dotenv":
            for name, value in variables.items():
                typer.echo(f'{name}="{_dotenv(value)}"')
        case _:
            for name, value in variables.items():
                typer.echo(f"export {name}={shlex.quote(value)}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context, provider: ProviderOption = None) -> None:
    """Run a command with the services' variables set: realstack run -- uvicorn app:app.

    It attaches to what is up, or starts an environment that ends with the command.
    """
    command = [*context.args]
    if not command:
        raise RealstackError("no command was given.", remedy="write it after two dashes: realstack run -- CMD.")
    session = Session(overrides=_overrides(provider, None))
    try:
        variables = session.test.environ()
        if session.why_not_up:
            typer.echo(f"realstack: what is up is not used: {session.why_not_up}", err=True)
        code = _run(command, variables)
    finally:
        session.close()
    raise typer.Exit(code)


@app.command()
def reset() -> None:
    """Bring what `realstack env` names back to the known state: the database, the Redis, the fake LLM's own session."""
    settings, record = required()
    asyncio.run(reset_standing(settings, record))
    typer.echo("reset to the known state")


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Look at everything that realstack needs here: each check with its finding and its remedy."""
    from realstack.cli.doctor import examine, render

    findings = examine()
    if as_json:
        typer.echo(json.dumps([finding.as_dict() for finding in findings], indent=1))
    else:
        render(findings)
    raise typer.Exit(exit_codes.FAILED if any(finding.state == "bad" for finding in findings) else exit_codes.FINE)


def _environment(settings: Settings, record: registry.Record) -> Environment:
    return Environment(
        settings,
        record.run,
        choices=record.choices,
        endpoints=dict(record.endpoints),
        timings=dict(record.timings),
        attached=True,
    )


def _show(record: registry.Record, as_json: bool, *, heading: str) -> None:
    if as_json:
        typer.echo(json.dumps(_public(record), indent=1))
        return
    ready = record.timings.get("ready")
    typer.echo(f"{heading}: run {record.run.run_id}" + (f", ready after {ready:.2f} s" if ready else ""))
    for name, endpoint in record.endpoints.items():
        typer.echo(f"  {name:10} {endpoint.version or '':14} {endpoint.safe_url}")
    for choice in dict.fromkeys(record.choices.values()):
        typer.echo(f"  {choice}")


def _public(record: registry.Record) -> dict[str, Any]:
    return {
        "up": True,
        "run": record.run.run_id,
        "services": {
            name: {
                "url": endpoint.safe_url,
                "host": endpoint.host,
                "port": endpoint.port,
                "version": endpoint.version,
                "provider": record.choices[name].value,
                "because": record.choices[name].because,
            }
            for name, endpoint in record.endpoints.items()
        },
        "timings": dict(record.timings),
    }


def _run(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """The command's exit code. Signals are the command's to handle; we wait for its end, and clean up after it."""
    running: list[subprocess.Popen[bytes]] = []

    def pass_on(number: int, frame: object) -> None:
        for process in running:
            process.send_signal(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # Ctrl-C reaches the command from the terminal, as it does us. An exception in the middle of the wait would lose the
    # exit code of a command that the same Ctrl-C has just ended. Where it is ignored altogether, it stays so.
    if before[signal.SIGINT] is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: None)
    signal.signal(signal.SIGTERM, pass_on)
    try:
        running.append(subprocess.Popen(command, env={**os.environ, **variables}))
        code = running[0].wait()
    except OSError as problem:
        raise RealstackError(f"{command[0]} could not be run: {problem.strerror}.", remedy="correct it.") from problem
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 128 - code if code < 0 else code


def _dotenv(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")


def _terminated(number: int, frame: object) -> None:
    """SIGTERM ends a command as Ctrl-C does: with its clean-up."""
    raise KeyboardInterrupt


if sys.platform != "win32":
    signal.signal(signal.SIGTERM, _terminated)
