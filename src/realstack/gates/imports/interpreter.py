"""Imports modules as in fresh interpreters, many at once. Runs in the project's own interpreter, by its path.

    python interpreter.py PLAN RESULTS

PLAN is a JSON file:

- ``path``: entries to put before ``sys.path``. ``modules``: those to be tried.
- ``graph``: for each module of the project those that it may import at its own import, by reading its source.
- ``warm``: modules of others to import first, each with the names asked of it. Where some fail they are named in
  RESULTS as ``cold``, and nothing is tried.
- ``timeout_s`` for each module, ``jobs`` at once, ``host``: the process that all ends with.
- ``share``: false, and nothing is imported but the one module that is named.

RESULTS gets a JSON object per line. It needs nothing but the standard library, as the project's environment may have
nothing of ours.

A fresh interpreter imports a module's packages, then what the module asks for. Where many modules ask for the same
one, it is imported once, in a process that all of them are forked from; so each finds imported only what it would
have imported itself. Whether it would is not left to the graph: the import statements that were really run are
watched, and a module that found more than it asked for is tried again without that. What is in a cycle is shared only
by way of the package that all who reach the cycle enter it by.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:  # nothing is imported here that a module could then find imported
    from collections.abc import Iterable, Sequence
    from typing import Any

LEAST_SAVED = 4
"""Imports of a module that a process more has to save."""
ROUNDS = 2
ENDS_WITHIN_S = 0.02
LOOKS_EACH_S = 0.25
IMPORTED, READY, FAILED = b"i", b"r", b"f"
"""What a process says to the one that forked it: the first and the last with a module's name behind."""
PIPE_SIZE = 65536
_HERE = os.path.abspath(__file__)


class Edges:
    """Which module asked for which, by what was run in this process and those that it was forked from.

    Import statements are watched, those too that find their module imported. What an extension module asks for runs
    none; so each module that is executed also counts as asked for by the one that was being executed.
    """

    def __init__(self, ours: Iterable[str]) -> None:
        self.packages = {name.partition(".")[0] for name in ours}
        self.asked: dict[str, set[str]] = {}
        self.took_s: dict[str, float] = {}
        self._executed: list[str] = []
        self._import = builtins.__import__
        self._import_module = importlib.import_module

    def watch(self) -> None:
        """From here on."""
        builtins.__import__ = self._watched
        importlib.import_module = self._watched_module
        loader: Any
        for loader, method in (
            (SourceFileLoader, "exec_module"),
            (ExtensionFileLoader, "create_module"),
            (ExtensionFileLoader, "exec_module"),
        ):
            setattr(loader, method, self._timed(getattr(loader, method)))

    def reached(self, module: str) -> set[str]:
        """The modules of the project that this one has imported, itself and all packages among them."""
        found: set[str] = set()
        todo = [module]
        while todo:
            one = todo.pop()
            if one not in found:
                found.add(one)
                todo.extend(self.asked.get(one, ()))
                if "." in one:
                    todo.append(one.rpartition(".")[0])
        return found

    def _timed(self, execute: Any) -> Any:
        def timed(loader: Any, module: Any) -> Any:
            name = getattr(module, "__name__", None) or module.name
            if self._executed:
                self._note(self._executed[-1], name)
            self._executed.append(name)
            began = time.monotonic()
            try:
                return execute(loader, module)
            finally:
                self._executed.pop()
                self.took_s[name] = time.monotonic() - began

        return timed

    def _watched(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        found = self._import(name, globals, locals, fromlist, level)
        importer = (globals or {}).get("__name__")
        if importer is not None and self._is_ours(importer):
            base = name
            if level:
                package = globals.get("__package__") or importer
                base = package.rsplit(".", level - 1)[0] if level > 1 else package
                base = "%s.%s" % (base, name) if name else base
            self._note(importer, base)
            for each in fromlist or ():
                self._note(importer, "%s.%s" % (base, each))
        return found

    def _watched_module(self, name: str, package: str | None = None) -> ModuleType:
        found = self._import_module(name, package)
        self._note(sys._getframe(1).f_globals.get("__name__") or "", found.__name__)
        return found

    def _note(self, importer: str, asked: str) -> None:
        if self._is_ours(asked) and self._is_ours(importer):
            self.asked.setdefault(importer, set()).add(asked)

    def _is_ours(self, name: str) -> bool:
        return name.partition(".")[0] in self.packages


class Graph:
    """What modules may import, of those that are not imported yet, and their packages. Sets of modules are bits.

    ``closure``: all that importing a module may import, itself too. ``users``: those of ``tried`` that may import it.
    ``unshareable``: what is in a cycle that can be entered at more than one place.
    """

    def __init__(self, asked: dict[str, set[str]], tried: Iterable[str]) -> None:
        self.asked = asked
        below = self._left(tried)
        self.names = sorted(below)
        self.bit = {name: 1 << place for place, name in enumerate(self.names)}
        self.closure: dict[str, int] = {}
        self.users: dict[str, int] = dict.fromkeys(self.names, 0)
        self.unshareable = 0
        components = _components(below)
        for component in components:  # each comes after those that it reaches
            bits = self.bits(component)
            if len(component) > 1 and not _is_entered_from_above(component):
                self.unshareable |= bits
            for each in {each for name in component for each in below[name]}:
                bits |= self.closure.get(each, 0)
            self.closure.update(dict.fromkeys(component, bits))
        for name in tried:
            if name in self.users:
                self.users[name] |= self.bit[name]
        for component in reversed(components):
            bits = 0
            for name in component:
                bits |= self.users[name]
            for name in component:
                self.users[name] = bits
                for each in below[name]:
                    self.users[each] |= bits

    def candidates(self) -> list[str]:
        """What may be worth sharing, that of the most modules first; of those what brings the most others with it."""
        found = [(_count(self.users[name]), _count(self.closure[name]), name) for name in self.names]
        return [name for users, size, name in sorted(found, reverse=True) if self.is_worth(users, size)]

    @staticmethod
    def is_worth(users: int, size: int) -> bool:
        """Whether one more process costs less than importing ``size`` modules again for each but one."""
        return (users - 1) * size >= LEAST_SAVED

    def bits(self, names: Iterable[str]) -> int:
        """The set of those of ``names`` that are left."""
        found = 0
        for name in names:
            found |= self.bit.get(name, 0)
        return found

    def members(self, bits: int) -> list[str]:
        """The names in a set."""
        return [name for name in self.names if self.bit[name] & bits]

    def _left(self, tried: Iterable[str]) -> dict[str, set[str]]:
        """What each asks for, of those that ``tried`` reach and that are not imported."""
        found: dict[str, set[str]] = {}
        todo = list(tried)
        while todo:
            name = todo.pop()
            if name in found or name in sys.modules or name not in self.asked:
                continue
            parent = name.rpartition(".")[0]
            found[name] = self.asked[name] | ({parent} if parent in self.asked else set())
            todo.extend(found[name])
        return {name: {each for each in below if each in found} for name, below in found.items()}


class Walk:
    """Tries modules, and shares between them what they all import."""

    def __init__(self, plan: dict[str, Any], results: str) -> None:
        self.asked = {name: set(asked) for name, asked in plan["graph"].items()}
        self.timeout_s = plan["timeout_s"]
        self.host, self.files = plan["host"], [plan["file"], results]
        self.results = results
        self.edges = Edges(self.asked)
        self.tokens = os.pipe()
        self.running: list[tuple[int, int]] = []
        os.set_blocking(self.tokens[0], False)
        os.write(self.tokens[1], b"t" * max(plan["jobs"] - 1, 0))

    def run(self, modules: Iterable[str]) -> None:
        """Try all; those that found more than they asked for again, without sharing that, and at last from nothing."""
        self.edges.watch()
        self.share(modules, set())
        needless: set[str] = set()
        for _ in range(ROUNDS):
            unproven = self.unproven()
            needless.update(name for found in unproven.values() for name in found)
            self.share(unproven, needless & self.asked.keys())
        for name in sorted(self.unproven()):
            self.leaf(name)

    # --- sharing ------------------------------------------------------------------------------------------------------

    def share(self, modules: Iterable[str], bad: set[str]) -> None:
        """Try modules from this process's state. ``bad``: those that nobody can be forked from."""
        graph = Graph(self.asked, modules)
        left, unfit = graph.bits(modules), graph.unshareable | graph.bits(bad)
        for shared in graph.candidates():
            inside, closure = graph.users[shared] & left, graph.closure[shared]
            while not closure & unfit and graph.is_worth(_count(inside), _count(closure)):
                failed = self.branch(shared, graph.members(inside), bad)
                if failed is None:
                    left &= ~inside
                    break
                bad.add(failed)
                unfit |= graph.bits([failed])
        for name in sorted(modules):
            if name in sys.modules:
                seconds = self.edges.took_s.get(name, 0)
                self.write(self.proven({"module": name, "outcome": "imported", "seconds": seconds}))
            elif graph.bit[name] & left:
                self.leaf(name)
        self.wait_for_all()

    def branch(self, shared: str, inside: list[str], bad: set[str]) -> str | None:
        """Try ``inside`` in a process that has imported ``shared``; the module that could not be, if any."""
        concurrent = self.take_token()
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            self.begin()
            failed = self.grow(shared, inside, bad, tell)
            if failed is None:
                _say(tell, READY)
                self.share(inside, set(bad))
                if concurrent:
                    self.give_token()
            else:
                _say(tell, FAILED, failed)
            os._exit(0)
        os.close(tell)
        word, on = IMPORTED, shared
        while word == IMPORTED:
            heard = self.heard(ready, pid)
            for line in heard.splitlines() if heard else [b""]:
                word, on = line[:1], line[1:].decode() or on
        if word != READY:
            os.close(ready)
            _end(pid)
            if concurrent:
                self.give_token()
            return on
        if concurrent:
            self.running.append((pid, ready))
        else:
            self.wait(pid, ready)
        return None

    def grow(self, shared: str, inside: list[str], bad: set[str], tell: int) -> str | None:
        """Import ``shared``, then what all of ``inside`` import that are not imported yet; what is not fit, if any."""
        todo = [shared]
        while todo:
            for name in todo:
                _say(tell, IMPORTED, name)
                if name not in sys.modules and not _is_fit(name):
                    return name
            graph = Graph(self.asked, inside)
            tried, unfit = graph.bits(inside), graph.unshareable | graph.bits(bad)
            needed = [
                name for name in graph.names if not tried & ~graph.users[name] and not graph.closure[name] & unfit
            ]
            todo = sorted(needed, key=lambda name: _count(graph.closure[name])) if tried else []
        return None

    # --- one module ---------------------------------------------------------------------------------------------------

    def leaf(self, name: str) -> None:
        """Try one module in a process of its own."""
        ready, tell = os.pipe()
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.close(ready)
            self.begin()
            me = os.getpid()
            verdict = attempt(name)
            if os.getpid() != me:  # it forked, and did not end what it made
                os._exit(0)
            self.write(self.proven(verdict))
            _say(tell, READY)
            os._exit(0)
        os.close(tell)
        word = self.heard(ready, pid)
        os.close(ready)
        status = _end(pid)
        verdict = {"module": name, "seconds": time.monotonic() - began}
        if word is None:
            self.write({**verdict, "outcome": "timeout"})
        elif word == b"" and os.WIFSIGNALED(status):
            self.write({**verdict, "outcome": "crash", "signal": os.WTERMSIG(status)})
        elif word == b"":
            self.write({**verdict, "outcome": "exit", "status": os.WEXITSTATUS(status)})

    def proven(self, verdict: dict[str, Any]) -> dict[str, Any]:
        """The verdict, with what was imported for others and is not asked for by this module or what it imports."""
        if verdict["outcome"] == "imported":
            reached = self.edges.reached(verdict["module"])
            verdict["unasked"] = [name for name in self.asked if name in sys.modules and name not in reached]
        return verdict

    def unproven(self) -> dict[str, list[str]]:
        """Modules that found imported what they did not ask for, and what, by their last verdicts."""
        with open(self.results, encoding="utf-8") as lines:
            verdicts = [json.loads(line) for line in lines]
        last = {verdict["module"]: verdict.get("unasked") for verdict in verdicts}
        return {name: found for name, found in last.items() if found}

    # --- processes ----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """In a process that was just forked: a group of its own, so that it is ended with all that it has started."""
        os.setpgid(0, 0)
        self.running = []

    def heard(self, ready: int, pid: int) -> bytes | None:
        """The byte that the process says; b"" if it ended without, None if it takes too long."""
        ends = time.monotonic() + self.timeout_s
        while time.monotonic() < ends:
            if select.select([ready], [], [], LOOKS_EACH_S)[0]:
                return os.read(ready, PIPE_SIZE)
            self.look_at_host(pid)
        return None

    def wait(self, pid: int, ready: int) -> None:
        """Until it has ended, and with it its end of the pipe, unless something that it started keeps that."""
        while not os.waitpid(pid, os.WNOHANG)[0]:
            if select.select([ready], [], [], LOOKS_EACH_S)[0]:
                os.waitpid(pid, 0)
                break
            self.look_at_host(None)
        os.close(ready)
        _kill_group(pid)

    def look_at_host(self, pid: int | None) -> None:
        """Whoever asked for all this may be gone: then nobody reads what comes of it.

        ``pid``: what cannot see to that itself, as it runs somebody's code.
        """
        try:
            os.kill(self.host, 0)
        except ProcessLookupError:
            if pid is not None:
                _end(pid)
            self.clean_up()
            os._exit(1)

    def clean_up(self) -> None:
        """In place of the host: remove its folder. The last process of ours finds nobody who still writes there."""
        for remove, path in [*((os.unlink, file) for file in self.files), (os.rmdir, os.path.dirname(self.files[0]))]:
            try:
                remove(path)
            except OSError:
                pass  # another process was first, or will be last

    def take_token(self) -> bool:
        """Whether one more process may run beside this one."""
        try:
            return bool(os.read(self.tokens[0], 1))
        except BlockingIOError:
            return False

    def give_token(self) -> None:
        """It runs no more."""
        os.write(self.tokens[1], b"t")

    def wait_for_all(self) -> None:
        """Until all branches that run beside this process have ended."""
        if self.running:
            self.give_token()  # who waits does nothing
            for pid, ready in self.running:
                self.wait(pid, ready)
            self.running = []
            while not self.take_token():
                select.select([self.tokens[0]], [], [], LOOKS_EACH_S)
                self.look_at_host(None)

    def write(self, verdict: dict[str, Any]) -> None:
        """In one call, at the file's end: other processes write there too."""
        with open(self.results, "ab", buffering=0) as file:
            file.write(json.dumps(verdict).encode() + b"\n")


def _say(tell: int, word: bytes, name: str = "") -> None:
    os.write(tell, word + name.encode() + b"\n")


def _is_fit(name: str) -> bool:
    """Import it, for others to be forked from here: False where it fails, or starts what a fork would not have."""
    me = os.getpid()
    try:
        importlib.__import__(name)
    except BaseException:  # noqa: BLE001 - whatever it raises: each that needs it will be tried by itself
        fits = False
    else:
        fits = threading.active_count() == 1 and name in sys.modules
    if os.getpid() != me:  # it forked, and did not end what it made
        os._exit(0)
    return fits


def attempt(name: str) -> dict[str, Any]:
    """Import it; what came of it."""
    before = len(sys.modules)
    began = time.monotonic()
    try:
        importlib.__import__(name)
    except BaseException as problem:  # noqa: BLE001 - whatever a module raises is its verdict
        found = _told(problem)
        found["outcome"] = "exit" if isinstance(problem, SystemExit) else "raised"
    else:
        found = {"outcome": "imported" if name in sys.modules else "raised", "type": "ImportError"}
        if found["outcome"] == "raised":
            found["message"] = "it is not in sys.modules after its import"
    found["module"] = name
    found["seconds"] = time.monotonic() - began
    found["imported"] = len(sys.modules) - before
    return found


def _told(problem: BaseException) -> dict[str, Any]:
    frames = []
    for frame, line in traceback.walk_tb(problem.__traceback__):
        code = frame.f_code
        if code.co_filename != _HERE and not code.co_filename.startswith("<frozen importlib"):
            frames.append([code.co_filename, line, code.co_name, frame.f_globals.get("__name__") or ""])
    found = {
        "type": type(problem).__name__,
        "kinds": [each.__name__ for each in type(problem).__mro__],
        "message": _text(problem)[:2000],
        "frames": frames[-60:],
        "name": getattr(problem, "name", None)
        if isinstance(problem, (ImportError, NameError, AttributeError))
        else None,
        "at": getattr(problem, "lineno", None) if isinstance(problem, SyntaxError) else None,
        "file": getattr(problem, "filename", None) if isinstance(problem, SyntaxError) else None,
    }
    if isinstance(problem, KeyError) and problem.args:
        found["name"] = str(problem.args[0])
    cause = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
    found["cause"] = "%s: %s" % (type(cause).__name__, _text(cause)[:500]) if cause is not None else None
    return found


def _text(problem: BaseException) -> str:
    try:
        return str(problem)
    except Exception:  # noqa: BLE001 - of a class of the project's
        return "(its text cannot be told)"


def _end(pid: int) -> int:
    """Its group is killed, as a module may have left processes in it; its exit status."""
    deadline = time.monotonic() + ENDS_WITHIN_S
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done or time.monotonic() > deadline:
            break
        time.sleep(0.0005)
    _kill_group(pid)
    return status if done else os.waitpid(pid, 0)[1]


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _count(bits: int) -> int:
    return bin(bits).count("1")


def _is_entered_from_above(cycle: Sequence[str]) -> bool:
    """Whether all who import any of them import the same one of them first: the package of the others."""
    top = min(cycle, key=lambda name: (name.count("."), name))
    return all(each == top or each.startswith(top + ".") for each in cycle)


def _components(below: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components, each after those that it reaches. Tarjan's algorithm, without recursion."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on: set[str] = set()
    found: list[list[str]] = []
    for root in sorted(below):
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        on.add(root)
        work = [(root, iter(sorted(below[root])))]
        while work:
            one, left = work[-1]
            fresh = next((each for each in left if each not in index or each in on), None)
            if fresh is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[one])
                if low[one] == index[one]:
                    place = stack.index(one)
                    found.append(stack[place:])
                    on.difference_update(stack[place:])
                    del stack[place:]
            elif fresh in index:
                low[one] = min(low[one], index[fresh])
            else:
                index[fresh] = low[fresh] = len(index)
                stack.append(fresh)
                on.add(fresh)
                work.append((fresh, iter(sorted(below[fresh]))))
    return found


def main(plan_file: str, results: str) -> None:
    """Do as the plan says."""
    with open(plan_file, encoding="utf-8") as file:
        plan = json.load(file)
    plan["file"] = plan_file
    sys.path[:1] = plan["path"]  # the first was this script's folder
    sys.argv = [""]
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    walk = Walk(plan, results)
    carry_out(walk, plan)
    walk.look_at_host(None)
    os._exit(0)


def carry_out(walk: Walk, plan: dict[str, Any]) -> None:
    """Try the modules, alone or together; or say which of what is to be imported before them cannot be."""
    if not plan["share"]:
        name = plan["modules"][0]
        if hasattr(os, "fork"):  # so that somebody looks at the clock, and at whether the host is there
            walk.leaf(name)
        else:
            walk.write(attempt(name))
        return
    cold = []
    for name, asked in plan["warm"]:
        threads = threading.active_count()
        try:
            importlib.__import__(name, fromlist=asked)
        except BaseException:  # noqa: BLE001 - who imports it will say so
            cold.append(name)
        if threading.active_count() > threads or not walk.edges.packages.isdisjoint(sys.modules):
            cold.append(name)
            break
    if cold:  # what it left half-done would be found by all: begin again without
        walk.write({"cold": cold})
    else:
        walk.run(plan["modules"])


if __name__ == "__main__":
    main(*sys.argv[1:])
