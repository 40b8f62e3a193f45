"""The one wait loop."""

from __future__ import annotations

import asyncio

import pytest

from realstack.errors import NotReadyInTime, RealstackError, ServiceStartFailed
from realstack.readiness import until_ready


class Probe:
    """Fails as often as it is told, then answers."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionRefusedError("nobody listens")
        return "here"


async def test_it_asks_until_the_probe_answers_and_returns_the_answer() -> None:
    probe = Probe(failures=3)
    answer = await until_ready("db", probe, within_s=5, died=lambda: None, log=list, every_s=0)
    assert (answer, probe.calls) == ("here", 4)


async def test_a_service_that_died_ends_the_wait_at_once_with_its_last_log_lines() -> None:
    probe = Probe(failures=1000)
    lines = [f"line {number}" for number in range(50)]
    with pytest.raises(ServiceStartFailed) as caught:
        await until_ready(
            "db", probe, within_s=60, died=lambda: "exit status 3" if probe.calls else None, log=lambda: lines
        )
    assert probe.calls == 1
    assert "exit status 3" in str(caught.value)
    assert caught.value.log_tail == tuple(lines[-20:])
    assert caught.value.last_answer == "ConnectionRefusedError: nobody listens"


async def test_a_deadline_that_passed_tells_the_probes_last_problem_and_the_log() -> None:
    with pytest.raises(NotReadyInTime) as caught:
        await until_ready("db", Probe(10**9), within_s=0.05, died=lambda: None, log=lambda: ["booting"], every_s=0.01)
    assert "within 0.05 s" in str(caught.value)
    assert "nobody listens" in str(caught.value)
    assert "booting" in str(caught.value)


async def test_a_probe_that_hangs_is_cut_off_and_asked_again() -> None:
    calls = 0

    async def hangs_once() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()
        return calls

    answer = await until_ready("db", hangs_once, within_s=5, died=lambda: None, log=list, probe_timeout_s=0.01)
    assert answer == 2


async def test_a_cancelled_wait_is_not_taken_for_a_probes_failure() -> None:
    task = asyncio.create_task(until_ready("db", Probe(10**9), within_s=60, died=lambda: None, log=list))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_client_that_is_not_installed_is_not_waited_for() -> None:
    async def without_client() -> None:
        raise ModuleNotFoundError("No module named 'asyncpg'")

    with pytest.raises(ModuleNotFoundError):
        await until_ready("db", without_client, within_s=60, died=lambda: None, log=list)


async def test_a_problem_that_no_waiting_mends_ends_the_wait_at_once() -> None:
    probe = Probe(failures=10**9)
    with pytest.raises(RealstackError, match="nobody will: nobody listens"):
        await until_ready(
            "db",
            probe,
            within_s=60,
            died=lambda: None,
            log=list,
            final=lambda problem: RealstackError(f"nobody will: {problem}") if probe.calls == 2 else None,
        )
    assert probe.calls == 2


@pytest.mark.parametrize(
    ("log", "given", "remedy"),
    [
        (["booting"], "", "look at its log above, or raise"),
        ([], "", "look at its last answer above, or raise"),
        ([], "correct the address.", "correct the address."),
    ],
)
async def test_the_remedy_of_a_deadline_that_passed_speaks_of_what_there_is(
    log: list[str], given: str, remedy: str
) -> None:
    with pytest.raises(NotReadyInTime) as caught:
        await until_ready(
            "db", Probe(10**9), within_s=0.02, died=lambda: None, log=lambda: log, every_s=0.01, remedy=given
        )
    assert caught.value.remedy.startswith(remedy)
