"""YAML of keys becomes the commands that write them; what cannot be is refused by file, line and key."""

from pathlib import Path

import pytest

from realstack.errors import SeedFailed
from realstack.model import RedisPlan
from realstack.state.redis_seed import read_redis_seed, seed_of


def commands(root: Path, text: str) -> list[tuple[bytes | str | int, ...]]:
    (root / "seed.yaml").write_text(text, encoding="utf-8")
    return [write.command for write in read_redis_seed(RedisPlan(root, ("seed.yaml",)))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("k: v", [("SET", b"k", b"v")]),
        ("k: yes", [("SET", b"k", b"yes")]),
        ("k: 1.50", [("SET", b"k", b"1.50")]),
        ('k: ""', [("SET", b"k", b"")]),
        ("k: !!binary AP8=", [("SET", b"k", b"\x00\xff")]),
        ("1: é", [("SET", b"1", "é".encode())]),
        ("k: [a, 1, on]", [("RPUSH", b"k", b"a", b"1", b"on")]),
        ("k: {f: 1, g: x}", [("HSET", b"k", b"f", b"1", b"g", b"x")]),
        ("k: {type: user, name: x}", [("HSET", b"k", b"type", b"user", b"name", b"x")]),
        ("k: {value: v, ttl_s: 1.5}", [("SET", b"k", b"v"), ("PEXPIRE", b"k", 1500)]),
        (
            "k: {value: {a: 1, b: 2}, ttl_s: 9, field_ttl_s: {b: 0.5}}",
            [
                ("HSET", b"k", b"a", b"1", b"b", b"2"),
                ("PEXPIRE", b"k", 9000),
                ("HPEXPIRE", b"k", 500, "FIELDS", 1, b"b"),
            ],
        ),
        ("k: {type: set, value: [a, b]}", [("SADD", b"k", b"a", b"b")]),
        ("k: {type: zset, value: {a: 1, b: -.inf}}", [("ZADD", b"k", b"1", b"a", b"-inf", b"b")]),
        ("k: {type: zset, value: [[a b, 2]]}", [("ZADD", b"k", b"2", b"a b")]),
        ("k: {type: bitmap, value: [1, 9]}", [("SETBIT", b"k", b"1", 1), ("SETBIT", b"k", b"9", 1)]),
        ("k: {type: hyperloglog, value: [a]}", [("PFADD", b"k", b"a")]),
        ("k: {type: geo, value: {rome: [12.5, 41.9]}}", [("GEOADD", b"k", b"12.5", b"41.9", b"rome")]),
        (
            "k: {type: stream, value: [{a: 1}, {id: 5-1, fields: {b: 2}}], groups: {g: 0}}",
            [
                ("XADD", b"k", b"1-0", b"a", b"1"),
                ("XADD", b"k", b"5-1", b"b", b"2"),
                ("XGROUP", "CREATE", b"k", b"g", b"0"),
            ],
        ),
        ("k: {type: json, value: {a: [1, null]}}", [("JSON.SET", b"k", "$", '{"a": [1, null]}')]),
        ("base: &b {f: 1}\nk: {<<: *b, g: 2}", [("HSET", b"base", b"f", b"1"), ("HSET", b"k", b"f", b"1", b"g", b"2")]),
        ("", []),
    ],
)
def test_every_type_has_its_command(tmp_path: Path, text: str, expected: list[tuple[bytes | str | int, ...]]) -> None:
    assert commands(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nk:", "seed.yaml:2: the key 'k': there is no value"),
        ("a: 1\nk: []", "seed.yaml:2: the key 'k': it is empty"),
        ("k: {type: zet, value: {a: 1}}", "seed.yaml:1: the key 'k': there is no type 'zet'"),
        ("k:\n  type: zset\n  value: {a: x}", "seed.yaml:3: the key 'k': 'x' is not a number"),
        ("k:\n  - [a]", "seed.yaml:2: the key 'k': a list holds plain values only"),
        ("k: {type: set, value: {a: 1}}", "a set is written as a list"),
        ("k: {type: hash, value: [1]}", "a hash is written as a map"),
        ("k: {value: 1, ttl_s: 0}", "a time to live must be more than zero"),
        ("k: {value: 1, ttl_s: .inf}", "a time to live must be at most a thousand years"),
        ("k: {value: 1, ttl_s: .nan}", "'.nan' is not a number"),
        ("k: {value: 1, ttl_s: nan}", "a time to live must be a number"),
        ("k:\n  value: {token: 1}\n  field_ttl_s: {tokn: 1}", "seed.yaml:3: the key 'k': there is no field 'tokn'"),
        ("k:\n  value: {a: 1}\n  field_ttl_s:\n    a: 0", "seed.yaml:4: the key 'k': a time to live must be more than"),
        ("k: {value: {a: 1}, field_ttl_s: 60}", "a hash is written as a map"),
        ("k: {value: [a], field_ttl_s: {a: 60}}", "only a hash has fields with an end of their own"),
        ("k: {value: 1, ttl_s: soon}", "'soon' is not a number"),
        ("k: {type: geo, value: {x: [1]}}", "'x' needs a place"),
        ("k: {type: set, value: [1], groups: {a: 0}}", "only a stream has groups"),
        ("k: 1\nk: 2", "seed.yaml:2: 'k' stands here twice"),
        ("- 1", "seed.yaml:1: the file must be a mapping"),
        ("k: [", "seed.yaml:1: this is not YAML"),
        ("? [a]\n: 1", "a name must be a plain word"),
    ],
)
def test_a_wrong_seed_names_file_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SeedFailed) as caught:
        commands(tmp_path, text)
    assert said in str(caught.value)
    assert caught.value.remedy


def test_a_key_may_stand_in_one_file_only(tmp_path: Path) -> None:
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed/2.yaml").write_text("k: 1")
    (tmp_path / "seed/10.yaml").write_text("k: 2")
    with pytest.raises(SeedFailed, match=r"seed/10.yaml:1: the key 'k' stands in seed/2.yaml:1 already"):
        read_redis_seed(RedisPlan(tmp_path, ("seed",)))


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "redis.yaml").write_text("k: 1")
    with pytest.raises(SeedFailed, match=r"did you mean 'redis.yaml'"):
        read_redis_seed(RedisPlan(tmp_path, ("redis.yml",)))


def test_a_name_of_our_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text("a: 1\nrealstack:seal: x")
    with pytest.raises(SeedFailed, match=r"seed.yaml:2: the key 'realstack:seal' has a name of realstack's own"):
        seed_of(RedisPlan(tmp_path, ("seed.yaml",)))


def test_the_seeds_name_tells_values_and_times_apart(tmp_path: Path) -> None:
    def name(text: str) -> str:
        (tmp_path / "seed.yaml").write_text(text)
        return seed_of(RedisPlan(tmp_path, ("seed.yaml",))).name

    fields = [f"a: {{value: {{b: 1, c: 1}}, field_ttl_s: {{{ttl}}}}}" for ttl in ("b: 1", "c: 1", "b: 2", "b: 1, c: 1")]
    texts = [
        *fields,
        "a: 1",
        "a: 2",
        "b: 1",
        "a: {value: 1, ttl_s: 1}",
        "a: {value: 1, ttl_s: 2}",
        "a: [1]",
        "a: 1\nb: 1",
        "",
    ]
    assert len({name(text) for text in texts}) == len(texts)
    assert name("a: 1") == name("# said otherwise\n'a':   1")


def test_times_to_live_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text("a: {value: 1, ttl_s: 1.5}\nb: 1")
    seed = seed_of(RedisPlan(tmp_path, ("seed.yaml",)))
    assert seed.ttls == {b"a": 1500}
    assert [write.command for write in seed.writes] == [("SET", b"a", b"1"), ("SET", b"b", b"1")]


def test_those_of_fields_are_kept_by_key_and_field_and_asked_for_once_a_hash(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text(
        "a: {value: {'': 1, 'k:é': 2, g: 3}, ttl_s: 9, field_ttl_s: {'': 1, 'k:é': 2}}\nb: 1"
    )
    seed = seed_of(RedisPlan(tmp_path, ("seed.yaml",)))
    assert seed.field_ttls == {(b"a", b""): 1000, (b"a", "k:é".encode()): 2000}
    assert [write.command[0] for write in seed.writes] == ["HSET", "HPTTL", "SET"]
    assert seed.kept_ttls == {b"ka": 9000, b"f1:a": 1000, b"f1:a" + "k:é".encode(): 2000}
    below = seed.below(b"rs:")
    assert below.field_ttls.keys() == {(b"rs:a", b""), (b"rs:a", "k:é".encode())}
    assert [write.command[1] for write in below.writes] == [b"rs:a", b"rs:a", b"rs:b"]
