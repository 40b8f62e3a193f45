"""Faults that are planted one by one, each with the finding that it has to give, beside near misses that give none."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from realstack.config import EXCLUDED
from realstack.errors import RealstackError
from realstack.gates.finding import Finding
from realstack.gates.imports.gate import check
from realstack.gates.imports.verdicts import Interpreter
from realstack.gates.project import find_project

FINE = {
    "shop/__init__.py": "",
    "shop/pricing.py": "def total(): return 1\n",
    "shop/prints.py": "print('loud'); import sys; sys.stderr.write('louder')\n",
    "shop/threads.py": "from threading import Thread\nfrom time import sleep\n"
    "Thread(target=sleep, args=(99,), daemon=True).start()\n",
    "shop/uses_threads.py": "import shop.threads\n",
    "shop/forks.py": "import os\npid = os.fork()\nif pid == 0: os._exit(0)\nos.waitpid(pid, 0)\n",
    "shop/leaves_a_child.py": "import os, time\nif os.fork() == 0:\n    time.sleep(300)\n    os._exit(0)\n",
    "shop/moves.py": "import os; os.chdir('/')\n",
    "shop/after_moves.py": "import shop.moves, os\nassert os.getcwd() == '/'\n",
    "shop/tries.py": "try:\n    import not_there_either\nexcept ImportError:\n    not_there_either = None\n",
    "shop/for_types.py": "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    from decimal import Decimal\ndef f(x: Decimal) -> None: ...\n",
    "shop/late.py": "def f():\n    from shop import pricing\n    return pricing.total()\n",
    **{f"shop/seller_{number}.py": "from shop.pricing import total\n" for number in range(5)},
    "shop/lazy/__init__.py": "def __getattr__(name):\n    if name == 'given': return 1\n"
    "    raise AttributeError(name)\n",
    "shop/asks_lazy.py": "from shop.lazy import given\n",
    "shop/space/inner.py": "from .other import x\n",
    "shop/space/other.py": "x = 1\n",
    "shop/cycle/__init__.py": "from .one import a\n",
    "shop/cycle/one.py": "import shop.cycle.two\na = 1\n",
    "shop/cycle/two.py": "import shop.cycle.one\n",
    "shop/asks_late.py": "import importlib\npricing = importlib.import_module('.pricing', __package__)\n",
    "shop/__main__.py": "import sys\nsys.exit('a program')\n",
    "shop/tests/test_shop.py": "import nothing_of_the_kind\n",
}
PLANTED: dict[str, tuple[str, list[tuple[int, str, str]]]] = {
    "shop/incident.py": (
        "class Totals:\n    def add(self, price: Decimal) -> None: ...\n",
        [(2, "undefined-name", "Totals.add:Decimal")],
    ),
    "shop/twin.py": (
        "from __future__ import annotations\nclass Totals:\n    def add(self, price: Decimal) -> None: ...\n",
        [(3, "undefined-name", "Totals.add:Decimal")],
    ),
    "shop/in_a_body.py": ("def now():\n    return datetime.now()\n", [(2, "undefined-name", "now:datetime")]),
    "shop/no_module.py": ("import shop.prcing\n", [(1, "missing-module", "shop.no_module:shop.prcing")]),
    "shop/no_name.py": ("from shop.pricing import totl\n", [(1, "missing-name", "shop.no_name:shop.pricing.totl")]),
    "shop/no_package.py": ("import not_there.at_all\n", [(1, "missing-package", "shop.no_package:not_there")]),
    "shop/extra.py": ("import only_in_an_extra\n", [(1, "optional-package", "shop.extra:only_in_an_extra")]),
    "shop/one.py": ("from shop.two import b\na = 1\n", [(1, "circular-import", "shop.one:shop.two.b")]),
    "shop/two.py": ("from shop.one import a\nb = 1\n", [(1, "circular-import", "shop.two:shop.one.a")]),
    "shop/variable.py": (
        "import os\nkey = os.environ['SHOP_IS_NOT_SET']\n",
        [(2, "environment-at-import", "shop.variable:SHOP_IS_NOT_SET")],
    ),
    "shop/raises.py": ("x = {}\nx['y']\n", [(2, "error-at-import", "shop.raises:KeyError")]),
    "shop/interrupts.py": (
        "raise KeyboardInterrupt\n",
        [(1, "error-at-import", "shop.interrupts:KeyboardInterrupt")],
    ),
    "shop/ends.py": ("import sys\nsys.exit(3)\n", [(2, "exit-at-import", "shop.ends")]),
    "shop/ends_at_once.py": ("import os\nos._exit(0)\n", [(0, "exit-at-import", "shop.ends_at_once")]),
    "shop/crashes.py": ("import os\nos.kill(os.getpid(), 11)\n", [(0, "crash-at-import", "shop.crashes")]),
    "shop/waits.py": ("import time\ntime.sleep(300)\n", [(0, "timeout-at-import", "shop.waits")]),
    "shop/no_python.py": ("def f(:\n", [(1, "syntax-error", "shop.no_python")]),
    "shop/in_a_function.py": (
        "def f():\n    from shop.pricing import gone\n    return gone\n",
        [(2, "unresolved-import", "f:shop.pricing.gone")],
    ),
    "shop/no_attribute.py": (
        "import shop.pricing\nx = shop.pricing.nothing\n",
        [(2, "missing-attribute", "shop.no_attribute:shop.pricing.nothing")],
    ),
    "shop/not_asked_for.py": (
        "import shop\nx = shop.pricing\n",
        [(2, "missing-attribute", "shop.not_asked_for:shop.pricing")],
    ),
    "shop/seems_to_ask.py": (
        "import shop\nif not shop:\n    import shop.pricing\nx = shop.pricing\n",
        [(4, "missing-attribute", "shop.seems_to_ask:shop.pricing")],
    ),
}
"""``not_asked_for`` passes wherever anything else has imported ``shop.pricing``; ``seems_to_ask`` where it is imported
for all whose text says that they import it, as the sellers do."""

SOME = 3
"""Processes of a check that is in the midst of its work: one module of the planted ones sleeps for minutes."""
NEED_THEM = {"shop/needs.py": "import shop.raises\n", "shop/needs_too.py": "import shop.needs\n"}
"""Modules that fail for want of another one."""


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def checked(root: Path, *, use_forks: bool = True, timeout_s: float = 3) -> list[Finding]:
    project = find_project(root, ["shop"], EXCLUDED)
    return check(project, Interpreter(Path(sys.executable), project.roots, root, timeout_s), use_forks=use_forks)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("planted")
    write(root, {**FINE, **NEED_THEM, **{name: text for name, (text, _) in PLANTED.items()}})
    (root / "shop/no_text.py").write_bytes(b"x = '\xff'\n")
    (root / "shop/loop").symlink_to(root / "shop", target_is_directory=True)
    (root / "pyproject.toml").write_text(
        "[project]\nname = 'shop'\ndependencies = []\noptional-dependencies = {more = ['only_in_an_extra>=1']}\n"
    )
    return root


@pytest.fixture(scope="module")
def own_tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def found(planted: Path, own_tmp: Path) -> list[Finding]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(own_tmp))
        return checked(planted)


@pytest.mark.parametrize("path", PLANTED)
def test_each_planted_fault_is_found_where_it_is(found: list[Finding], path: str) -> None:
    here = [(each.line, each.rule) for each in found if each.path == path]
    assert here == [(line, rule) for line, rule, _ in PLANTED[path][1]]
    symbols = [each.symbol for each in found if each.path == path]
    assert symbols == [symbol for _, _, symbol in PLANTED[path][1]]


def test_nothing_else_is_found(found: list[Finding]) -> None:
    others = [each for each in found if each.path not in PLANTED and each.path != "shop/no_text.py"]
    assert others == []


def test_a_file_that_cannot_be_decoded_is_found_once(found: list[Finding]) -> None:
    (only,) = [each for each in found if each.path == "shop/no_text.py"]
    assert only.rule == "unreadable-file"


def test_the_cause_names_those_that_fail_for_want_of_it(found: list[Finding]) -> None:
    (cause,) = [each for each in found if each.path == "shop/raises.py"]
    assert "shop.needs, shop.needs_too cannot be imported either" in cause.says


def test_causes_name_what_is_nearest_and_what_mends_it(found: list[Finding]) -> None:
    fix = {each.path: each.fix for each in found}
    assert "did you mean shop.pricing?" in fix["shop/no_module.py"]
    assert "did you mean total?" in fix["shop/no_name.py"]
    says = {each.path: each.says for each in found}
    assert "only the extra 'more'" in says["shop/extra.py"]
    assert "shop.one → shop.two → shop.one" in says["shop/two.py"]


def test_fresh_interpreters_find_the_same(planted: Path, found: list[Finding]) -> None:
    assert checked(planted, use_forks=False) == found


def test_a_module_that_fails_at_times_is_told_as_such(tmp_path: Path) -> None:
    mark = str(tmp_path / "mark")
    once = (
        f"from pathlib import Path\nm = Path({mark!r})\nif not m.exists():\n    m.touch()\n    raise OSError('once')\n"
    )
    write(tmp_path, {"shop/__init__.py": "", "shop/at_times.py": once})
    (only,) = checked(tmp_path)
    assert (only.rule, only.symbol) == ("flaky-import", "shop.at_times")
    assert "OSError: once" in only.says


def test_a_commit_that_took_a_name_away_is_named(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    write(
        tmp_path, {"shop/__init__.py": "", "shop/a.py": "def gone(): ...\n", "shop/b.py": "from shop.a import gone\n"}
    )
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all is well")
    write(tmp_path, {"shop/a.py": "other = 1\n"})
    git("commit", "-qam", "tidy up")
    (only,) = checked(tmp_path)
    assert only.rule == "missing-name"
    assert "(tidy up) took it away" in only.fix


def test_an_interpreter_that_is_none_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, FINE)
    project = find_project(tmp_path, ["shop"], EXCLUDED)
    with pytest.raises(RealstackError, match=r"cannot be run|ended with status"):
        check(project, Interpreter(tmp_path / "no-python", project.roots, tmp_path))


def walkers(folder: Path) -> list[psutil.Process]:
    """Processes that import modules by a plan below ``folder``."""
    everybody = psutil.process_iter(["cmdline"])
    return [each for each in everybody if any(str(folder) in word for word in each.info["cmdline"] or ())]


def test_nothing_that_a_module_started_is_left(found: list[Finding], own_tmp: Path) -> None:
    assert found
    assert walkers(own_tmp) == []
    assert list(own_tmp.iterdir()) == []


def test_who_checks_may_be_killed_and_leaves_no_process(planted: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tests.integration.gates.test_imports import checked;"
        f"checked(Path({str(planted)!r}), timeout_s=60)"
    )
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[3], env=environ)

    ends = time.monotonic() + 30
    while (
        len(walkers(tmp_path)) < SOME and time.monotonic() < ends
    ):  # before that they may be about to end by themselves
        time.sleep(0.02)
    assert time.monotonic() < ends
    process.kill()
    process.wait()
    while walkers(tmp_path) and time.monotonic() < ends:
        time.sleep(0.1)
    assert walkers(tmp_path) == []
