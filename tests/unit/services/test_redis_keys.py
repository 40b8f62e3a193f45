"""Keys are found where the server says they stand, in the forms of either protocol and of older servers."""

from typing import Any

import pytest

from realstack.services.redis_keys import CommandKeys, pattern_positions, split_name, stripped_replies


def index(at: int, last: int = 0, step: int = 1, limit: int = 0, *flags: str) -> dict[str, Any]:
    return {
        "flags": list(flags),
        "begin_search": {"type": "index", "spec": {"index": at}},
        "find_keys": {"type": "range", "spec": {"lastkey": last, "keystep": step, "limit": limit}},
    }


def numbered(at: int, first: int = 1) -> dict[str, Any]:
    return {
        "flags": [],
        "begin_search": {"type": "index", "spec": {"index": at}},
        "find_keys": {"type": "keynum", "spec": {"keynumidx": 0, "firstkey": first, "keystep": 1}},
    }


def behind(word: str, start: int, last: int, limit: int) -> dict[str, Any]:
    return {
        "flags": [],
        "begin_search": {"type": "keyword", "spec": {"keyword": word, "startfrom": start}},
        "find_keys": {"type": "range", "spec": {"lastkey": last, "keystep": 1, "limit": limit}},
    }


def command(name: str, *specs: Any, subcommands: Any = (), places: tuple[int, int, int] = (0, 0, 0)) -> CommandKeys:
    return CommandKeys([name, -1, [], *places, [], [], list(specs), list(subcommands)])


@pytest.mark.parametrize(
    ("specs", "words", "keys"),
    [
        ([index(1)], "SET k k", [1]),
        ([index(1, -1)], "DEL a b c", [1, 2, 3]),
        ([index(1, -1, 2)], "MSET a 1 b 2", [1, 3]),
        ([index(1, -2)], "BLPOP a b 0", [1, 2]),
        ([numbered(2)], "EVAL script 2 a b c", [3, 4]),
        ([index(1), numbered(2)], "ZUNIONSTORE to 2 a b", [1, 3, 4]),
        ([behind("STREAMS", 1, -1, 2)], "XREAD COUNT 1 STREAMS a b 0 0", [4, 5]),
        ([behind("STREAMS", 1, -1, 2)], "xread streams a 0", [2]),
        ([index(1), behind("STORE", -2, 0, 0)], "GEO k 1 STORE to", [1, 4]),
        ([index(1, 0, 1, 0, "not_key")], "SSUBSCRIBE channel", []),
        ([numbered(2)], "EVAL script many a", []),
        ([numbered(2)], "EVAL script", []),
        ([behind("STREAMS", 1, -1, 2)], "XREAD a", []),
        ([index(1)], "GET", []),
    ],
)
def test_the_servers_own_description_says_which_words_are_keys(specs: list[Any], words: str, keys: list[int]) -> None:
    assert command("any", *specs).positions(words.split(" ")) == keys


def test_an_older_protocol_has_lists_of_bytes_for_maps() -> None:
    def flat(value: Any) -> Any:
        if isinstance(value, dict):
            return [part for name, each in value.items() for part in (name.encode(), flat(each))]
        return value.encode() if isinstance(value, str) else value

    assert command("mset", flat(index(1, -1, 2))).positions([b"MSET", b"a", b"1", b"b", b"2"]) == [1, 3]


def test_an_older_server_tells_first_and_last_place() -> None:
    old = CommandKeys(["mset", -3, [], 1, -1, 2, []])
    assert old.positions(["MSET", "a", "1", "b", "2"]) == [1, 3]
    assert CommandKeys(["rename", 3, [], 1, 2, 1, []]).positions(["RENAME", "a", "b"]) == [1, 2]
    assert CommandKeys(["ping", 1, [], 0, 0, 0, []]).positions(["PING", "x"]) == []


def test_a_subcommand_has_keys_of_its_own() -> None:
    below = [["xgroup|create", -5, [], 2, 2, 1, [], [], [index(2)], []]]
    known = command("xgroup", subcommands=below)
    assert known.positions(split_name(("XGROUP CREATE", "k", "g"))) == [2]
    assert known.positions(["xgroup", "HELP"]) == []


@pytest.mark.parametrize(
    ("words", "places"),
    [
        ("KEYS a*", [1]),
        ("SCAN 0 MATCH a* COUNT 5", [3]),
        ("SCAN 0 COUNT 5", []),
        ("SORT k BY w_* LIMIT 0 1 GET o_*->f GET # STORE to", [3, 8, 12]),
        ("SORT k BY nosort", []),
        ("GET k", []),
    ],
)
def test_patterns_are_found_where_no_server_tells(words: str, places: list[int]) -> None:
    assert pattern_positions(words.split(" ")) == places


def test_only_our_prefix_is_taken_from_replies() -> None:
    strip = stripped_replies(b"rs:1:")
    assert strip["KEYS"]([b"rs:1:a", b"other", "rs:1:b"]) == [b"a", b"other", "b"]
    assert strip["SCAN"]([b"0", [b"rs:1:a"]]) == [b"0", [b"a"]]
    assert strip["BLPOP"](None) is None
    assert strip["BZPOPMIN"]([b"rs:1:z", b"rs:1:member", b"1"]) == [b"z", b"rs:1:member", b"1"]
    assert strip["XREAD"]([[b"rs:1:s", []]]) == [[b"s", []]]
    assert strip["XREAD"]({b"rs:1:s": []}) == {b"s": []}
    assert strip["XREADGROUP"](None) is None
