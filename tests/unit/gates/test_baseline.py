"""What a code base already had is let pass, may only become fewer, and is kept in a file."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realstack.errors import BaselineUnusable
from realstack.gates.baseline import VERSION, Baseline, Key, Stale
from realstack.gates.finding import Finding

GATES = ("imports", "names", "all")
FINDINGS = st.lists(
    st.builds(
        Finding,
        path=st.sampled_from(["a.py", "b/c.py"]),
        line=st.integers(0, 9),
        gate=st.sampled_from(GATES),
        rule=st.sampled_from(["missing-name", "missing-module"]),
        symbol=st.sampled_from(["", "a.b"]),
        says=st.just("It is not there."),
    )
)
RAN = st.sets(st.sampled_from(GATES))
BASELINES = st.builds(Baseline, st.dictionaries(st.builds(Key, *[st.text()] * 4), st.integers(1, 10**6)))


def finding(line: int, symbol: str = "a.b", gate: str = "imports") -> Finding:
    return Finding("a.py", line, gate, "missing-name", symbol, "It is not there.")


def key(symbol: str = "a.b", gate: str = "imports") -> Key:
    return Key(gate, "missing-name", "a.py", symbol)


@settings(deadline=None)
@given(FINDINGS, st.randoms(use_true_random=False))
def test_the_baseline_of_findings_knows_them_all_on_whatever_lines(findings: list[Finding], chance: Random) -> None:
    moved = [dataclasses.replace(each, line=chance.randrange(100), says="Otherwise said.") for each in findings]
    compared = Baseline.of(findings).compare(moved, gates_run=GATES)
    assert (compared.new, compared.known, compared.stale) == ((), tuple(sorted(moved)), ())


@settings(deadline=None)
@given(FINDINGS, FINDINGS, RAN)
def test_what_is_found_is_new_or_known_and_never_more_known_than_counted(
    before: list[Finding], now: list[Finding], ran: set[str]
) -> None:
    baseline = Baseline.of(before)
    compared = baseline.compare(now, gates_run=ran)
    known = Counter(map(Key.of, compared.known))
    assert sorted((*compared.new, *compared.known)) == sorted(now)
    assert list(compared.new) == sorted(compared.new)
    assert known == Counter(map(Key.of, before)) & Counter(map(Key.of, now))
    assert {each.key: each.too_many for each in compared.stale} == {
        name: count - known[name] for name, count in baseline.counts.items() if name.gate in ran and count > known[name]
    }


@settings(deadline=None)
@given(FINDINGS, FINDINGS, RAN)
def test_shrinking_takes_what_is_stale_and_adds_nothing(
    before: list[Finding], now: list[Finding], ran: set[str]
) -> None:
    baseline = Baseline.of(before)
    shrunk = baseline.shrunk(now, gates_run=ran)
    stale = {each.key: each.too_many for each in baseline.compare(now, gates_run=ran).stale}
    lowered = {name: count - stale.get(name, 0) for name, count in baseline.counts.items()}
    assert shrunk.counts == {name: count for name, count in lowered.items() if count > 0}
    assert shrunk.compare(now, gates_run=ran).new == baseline.compare(now, gates_run=ran).new


def test_of_several_equals_the_last_by_line_are_new() -> None:
    baseline = Baseline.of([finding(7), finding(8)])
    compared = baseline.compare([finding(30), finding(10), finding(4), finding(20)], gates_run=["imports"])
    assert [each.line for each in compared.new] == [20, 30]
    assert [each.line for each in compared.known] == [4, 10]


def test_an_entry_that_is_found_less_often_tells_how_many_it_has_too_many() -> None:
    baseline = Baseline.of([finding(1), finding(2), finding(3), finding(1, "gone"), finding(1, "gone", "names")])
    found = [finding(9)]
    assert baseline.compare(found, gates_run=["imports"]).stale == (Stale(key(), 2), Stale(key("gone"), 1))
    assert baseline.shrunk(found, gates_run=["imports"]) == Baseline({key(): 1, key("gone", "names"): 1})


@settings(deadline=None)
@given(BASELINES)
def test_what_was_written_is_read_again_and_written_alike(baseline: Baseline) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first.json"), Path(folder, "second.json")
        baseline.write(first)
        again = Baseline.read(first)
        Baseline(dict(reversed(list(again.counts.items())))).write(second)
        assert again == baseline
        assert first.read_bytes() == second.read_bytes()
        assert len(first.read_bytes().splitlines()) == len(baseline.counts) + 3


def test_the_file_has_a_sorted_line_for_each_entry_that_no_other_entry_changes(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    entries = [key("a"), key("b"), key("ä\n"), key("a", "names")]
    Baseline(dict.fromkeys(reversed(entries), 2)).write(path)
    whole = path.read_bytes().decode("ascii").split("\n")
    assert whole == [
        "[",
        '{"gate": "imports", "rule": "missing-name", "path": "a.py", "symbol": "a", "count": 2},',
        '{"gate": "imports", "rule": "missing-name", "path": "a.py", "symbol": "b", "count": 2},',
        '{"gate": "imports", "rule": "missing-name", "path": "a.py", "symbol": "\\u00e4\\n", "count": 2},',
        '{"gate": "names", "rule": "missing-name", "path": "a.py", "symbol": "a", "count": 2},',
        '{"version": 1}',
        "]",
        "",
    ]
    for number, entry in enumerate(entries, start=1):
        Baseline(dict.fromkeys(set(entries) - {entry}, 2)).write(path)
        assert path.read_text().split("\n") == whole[:number] + whole[number + 1 :]


def test_a_write_that_fails_leaves_what_was_there_and_nothing_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "baseline.json"
    Baseline({key(): 1}).write(path)

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BaselineUnusable, match="No space left on device") as caught:
        Baseline({key(): 2}).write(path)
    assert caught.value.remedy
    assert Baseline.read(path) == Baseline({key(): 1})
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_renamed_into_its_place(tmp_path: Path) -> None:
    path, kept = tmp_path / "baseline.json", tmp_path / "kept.json"
    Baseline({key(): 1}).write(path)
    kept.hardlink_to(path)
    Baseline({key(): 2}).write(path)
    assert (Baseline.read(kept), Baseline.read(path)) == (Baseline({key(): 1}), Baseline({key(): 2}))


def test_a_baseline_that_is_not_there_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BaselineUnusable, match=r"There is no baseline .*gone\.json") as gone:
        Baseline.read(tmp_path / "gone.json")
    with pytest.raises(BaselineUnusable, match="cannot be read: Is a directory") as folder:
        Baseline.read(tmp_path)
    assert all(caught.value.remedy for caught in (gone, folder))


ENTRY = {**key()._asdict(), "count": 1}
END = {"version": VERSION}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is no JSON: Expecting value"),
        ("[{]", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        (b"\xff\xff", "is no JSON"),
        ({}, "no list that ends with the version"),
        (END, "no list that ends with the version"),
        ([], "no list that ends with the version"),
        ([ENTRY], "no list that ends with the version"),
        ([ENTRY, "version"], "no list that ends with the version"),
        ([{"kind": "new"}, {"version": 2}], "has the format 2; this realstack reads 1"),
        ([{"version": True}], "has the format true;"),
        ([ENTRY, "text", END], "Entry 2 of the baseline"),
        ([{**ENTRY, "count": 0}, END], "Entry 1 of the baseline"),
        ([{**ENTRY, "count": True}, END], "Entry 1 of the baseline"),
        ([{**ENTRY, "count": 1.0}, END], "Entry 1 of the baseline"),
        ([{**ENTRY, "symbol": None}, END], "Entry 1 of the baseline"),
        ([{**ENTRY, "line": 3}, END], "Entry 1 of the baseline"),
        ([key()._asdict(), END], "Entry 1 of the baseline"),
        ([ENTRY, {**ENTRY, "count": 2}, END], "has an entry twice: imports missing-name a.py a.b"),
        ("[\n<<<<<<< HEAD\n=======\n", "baseline.json:2: the baseline holds the mark of a merge conflict"),
        ("[\n=======\n]\n", "baseline.json:2: the baseline holds the mark"),
        ("[\r\n\r\n>>>>>>> theirs\r\n]", "baseline.json:3: the baseline holds the mark"),
        ("[\n||||||| 45cd0e5\n]", "baseline.json:2: the baseline holds the mark"),
    ],
)
def test_what_is_no_baseline_is_told_with_a_remedy(tmp_path: Path, content: object, says: str) -> None:
    path = tmp_path / "baseline.json"
    written = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    with pytest.raises(BaselineUnusable) as caught:
        Baseline.read(path)
    assert says in caught.value.problem
    assert str(path) in caught.value.problem
    assert caught.value.remedy


def test_marks_within_an_entry_are_no_conflict(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    Baseline({key("<<<<<<< a\n======="): 1}).write(path)
    assert Baseline.read(path) == Baseline({key("<<<<<<< a\n======="): 1})
