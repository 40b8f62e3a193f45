"""Times in seeds count from an instant that the file names, and from nothing else."""

from pathlib import Path

import pytest

from realstack.errors import SeedFailed
from realstack.model import RedisPlan
from realstack.state.redis_seed import read_redis_seed
from realstack.state.seed_times import NotATimeError, instant, time_from
from realstack.state.yaml_nodes import At

BASE = instant("2025-01-31T12:00:00Z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2025-01-31T12:00:00+00:00"),
        ("0", "2025-01-31T12:00:00+00:00"),
        ("-3d", "2025-01-28T12:00:00+00:00"),
        ("now - 3 days", "2025-01-28T12:00:00+00:00"),
        ("+1h30m", "2025-01-31T13:30:00+00:00"),
        ("+ 1 hour 30 minutes", "2025-01-31T13:30:00+00:00"),
        ("-2 weeks", "2025-01-17T12:00:00+00:00"),
        ("-0.5s", "2025-01-31T11:59:59.500000+00:00"),
        ("-250ms", "2025-01-31T11:59:59.750000+00:00"),
    ],
)
def test_a_span_from_the_instant_is_a_time(text: str, expected: str) -> None:
    assert time_from(BASE, text).isoformat() == expected


@pytest.mark.parametrize("text", ["", "3d", "-3", "-1 month", "-2y", "yesterday", "- d", "-1d+1h", "-99999999w"])
def test_what_is_no_span_is_refused(text: str) -> None:
    with pytest.raises(NotATimeError):
        time_from(BASE, text)


def test_an_instant_without_a_zone_is_in_utc() -> None:
    assert instant("2025-01-31 12:00") == BASE
    assert instant("2025-01-31T13:00+01:00") == BASE
    with pytest.raises(NotATimeError):
        instant("now")


def read(root: Path, text: str) -> object:
    (root / "seed.yaml").write_text(text)
    at = At("seed.yaml", SeedFailed)
    node = at.root(root / "seed.yaml")
    assert node is not None
    return at.plain(node)


def test_times_are_frozen_wherever_they_stand(tmp_path: Path) -> None:
    text = "a: &a {at: !time -1d, n: [!epoch 0]}\n$now: 2025-01-31T12:00:00Z\nb: {<<: *a, c: *a}"
    at = {"at": "2025-01-30T12:00:00+00:00", "n": [1738324800]}
    assert read(tmp_path, text) == {"a": at, "b": {**at, "c": at}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: !time -1d", "seed.yaml:2: `!time -1d` counts from an instant that this file does not name"),
        ("$now: soon\nb: 1", "seed.yaml:1: 'soon' is no instant"),
        ("$now: 2025-01-01\nb:\n  - !epoch tomorrow", "seed.yaml:3: 'tomorrow' is no time"),
    ],
)
def test_a_wrong_time_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SeedFailed) as caught:
        read(tmp_path, text)
    assert said in str(caught.value)
    assert caught.value.remedy


def test_redis_seeds_have_times_too(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("$now: 2025-01-31T12:00Z\nat: !time -1d\nz: {type: zset, value: {a: !epoch -1s}}")
    writes = read_redis_seed(RedisPlan(tmp_path, ("s.yaml",)))
    assert [write.command for write in writes] == [
        ("SET", b"at", b"2025-01-30T12:00:00+00:00"),
        ("ZADD", b"z", b"1738324799", b"a"),
    ]
    (tmp_path / "s.yaml").write_text("at: !tmie -1d")
    with pytest.raises(SeedFailed, match="there is no tag !tmie") as caught:
        read_redis_seed(RedisPlan(tmp_path, ("s.yaml",)))
    assert "!time" in caught.value.remedy
