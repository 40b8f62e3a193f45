"""A bad setting ends a run of pytest with exit code 2 and one clear error, before anything is started."""

from __future__ import annotations

import pytest

from tests.integration.plugin.conftest import Project

TEST = "async def test_one(real_db):\n    await real_db.fetchval('SELECT 1')\n"


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("by", ["--realstack-isolation", "REALSTACK_ISOLATION", "REALSTACK_HOME"])
def test_a_bad_setting_is_told_by_what_set_it(
    project: Project, monkeypatch: pytest.MonkeyPatch, by: str, workers: tuple[str, ...]
) -> None:
    project.settings("postgres")
    project.write("test_it.py", TEST)
    arguments: tuple[str, ...] = ()
    if by.startswith("--"):
        arguments, told = (f"{by}=databse",), "the command line names the unknown isolation 'databse'"
    elif by == "REALSTACK_HOME":
        monkeypatch.setenv(by, "/proc")
        told = "realstack cannot keep its records in /proc/runs (REALSTACK_HOME names it)"
    else:
        monkeypatch.setenv(by, "databse")
        told = f"{by} names the unknown isolation 'databse'"
    result = project.run(*arguments, *workers)
    said = result.stdout.str() + result.stderr.str()
    assert result.ret == 2, said
    assert told in said
    assert "To mend it:" in said
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
