"""The compose file's reader: Compose's own rules, and one clear error for each way to break them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from realstack.compose_file import _READ_KEYS, _TOP_KEYS, ComposeProject, document, read_compose_file
from realstack.compose_file.document import Text
from realstack.compose_file.interpolate import RequiredMissingError, read_env_file, substitute
from realstack.errors import ComposeFileError
from realstack.model import Dependency, HealthCheck, Port, ServiceSpec, Volume

ROOT = Path(__file__).parents[2]
Read = Callable[..., ComposeProject]
One = Callable[..., ServiceSpec]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_text(text: str, **environ: str) -> ComposeProject:
        file = tmp_path / "docker-compose.test.yml"
        file.write_text(text, encoding="utf-8")
        return read_compose_file(file, environ)

    return read_text


@pytest.fixture
def one(read: Read) -> One:
    """The only service, whose lines are given without their indent."""

    def read_service(lines: str, name: str = "it", **environ: str) -> ServiceSpec:
        body = "\n".join(f"    {line}" for line in lines.splitlines())
        (spec,) = read(f"services:\n  {name}:\n{body}\n", **environ).services
        return spec

    return read_service


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("$A-$B", "1-"),
        ("${A}${EMPTY}", "1"),
        ("${NONE:-x}/${EMPTY:-x}/${A:-x}", "x/x/1"),
        ("${NONE-x}/${EMPTY-x}/${A-x}", "x//1"),
        ("${NONE:+x}/${EMPTY:+x}/${A:+x}", "//x"),
        ("${NONE+x}/${EMPTY+x}/${A+x}", "/x/x"),
        ("${A:?no}${EMPTY?no}", "1"),
        ("${NONE:-${EMPTY:-${A}}}", "1"),
        ("$$A $${A}", "$A ${A}"),
        ("${NONE:-a:b-c?d}", "a:b-c?d"),
    ],
)
def test_variables_are_filled_in_by_composes_rules(template: str, filled: str) -> None:
    assert substitute(template, {"A": "1", "EMPTY": ""}) == filled


@pytest.mark.parametrize("template", ["${NONE:?}", "${NONE?it}", "${EMPTY:?it}", "${NONE:-${NONE?}}"])
def test_a_required_variable_without_a_value_is_named(template: str) -> None:
    with pytest.raises(RequiredMissingError, match=r"NONE|EMPTY"):
        substitute(template, {"EMPTY": ""})


def test_a_missing_variable_is_an_error_with_its_line_and_where_to_set_it(read: Read) -> None:
    with pytest.raises(ComposeFileError) as caught:
        read("services:\n  db:\n    image: postgres:${VERSION:?which one}\n")
    assert "docker-compose.test.yml:3: the variable VERSION is required and not set: which one." in str(caught.value)
    assert ".env" in caught.value.remedy


def test_a_dollar_that_begins_no_variable_is_an_error_that_tells_to_double_it(read: Read) -> None:
    with pytest.raises(ComposeFileError, match=r":3: a \$ that begins no variable.*\n.*\$\$"):
        read("services:\n  db:\n    image: cost$ \n")


def test_the_env_file_beside_it_fills_variables_in_below_the_environment(read: Read, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TAG=from-file\nOTHER='$TAG kept'\n# nothing\nexport MORE=\"${TAG}\\n!\"\n")
    text = "services:\n  db:\n    image: postgres:${TAG}\n    environment: {O: $OTHER, M: $MORE}\n"
    (spec,) = read(text).services
    assert spec.image == "postgres:from-file"
    assert spec.environment == {"O": "$TAG kept", "M": "from-file\n!"}
    (spec,) = read(text, TAG="from-environment").services
    assert spec.image == "postgres:from-environment"


def test_env_files_know_comments_quotes_and_names_without_a_value(tmp_path: Path) -> None:
    file = tmp_path / "some.env"
    file.write_text("A=1 # one\nB = two words \nC=\nD\nE=a#b\nF='x\ny'\nbroken line\n")
    assert read_env_file(file, {"D": "passed on"}) == {
        "A": "1",
        "B": "two words",
        "C": "",
        "D": "passed on",
        "E": "a#b",
        "F": "x\ny",
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("services:\n  db:\n   image: a\n  \tports: []\n", 4, "cannot start any token"),
        ("services:\n  db: {image: a\n", 3, "expected"),
        ("services:\n  db:\n    image: a\n    image: b\n", 4, "the key 'image' stands twice, first in line 3"),
        ("services:\n  db:\n    image: !reset a\n", 3, "could not determine a constructor"),
        ("services:\n  db:\n    image: a\n    port: []\n", 4, "'port', which Compose does not know"),
        ("services:\n  db:\n    image: a\nservice: {}\n", 4, "'service', which Compose does not know"),
        ("services:\n  db:\n    image: a\n    ports: [http]\n", 4, "ports must be such as 5432"),
        ("services:\n  db:\n    image: a\n    ports:\n    - 70000\n", 5, "from 1 to 65535"),
        ("services:\n  db:\n    image: a\n    depends_on: [dbb]\n", 4, "'dbb', which is not declared"),
        ("services:\n  db:\n    image: a\n    init: 'perhaps'\n", 4, "true or false"),
        ("services:\n  db:\n    image: a\n    healthcheck: {interval: soon}\n", 4, "a duration such as"),
        ("services:\n  db:\n    image: a\n    command: 'echo \"'\n", 4, "a command line"),
        ("services:\n  db:\n    image: a\n    env_file: none.env\n", 4, "No such file"),
        ("services:\n  db:\n    command: a\n", 3, "services.db.image must be given, or build"),
        ("x-realstack: {services: {dbb: {}}}\nservices:\n  db:\n    image: a\n", 1, "'dbb', which is not declared"),
        ("include: [a.yml]\nservices:\n  db:\n    image: a\n", 1, "`include` is not read"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(read: Read, text: str, line: int, words: str) -> None:
    with pytest.raises(ComposeFileError) as caught:
        read(text)
    assert f"docker-compose.test.yml:{line}: " in caught.value.problem.replace("\t", " ")
    assert words in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["", "- a\n", "services:\n", "services: {}\n"])
def test_a_file_without_services_is_refused(read: Read, text: str) -> None:
    with pytest.raises(ComposeFileError):
        read(text)


def test_a_misspelt_key_and_an_unknown_service_name_the_nearest_known_one(read: Read) -> None:
    with pytest.raises(ComposeFileError, match="did you mean 'environment'"):
        read("services:\n  db:\n    image: a\n    enviroment: {}\n")
    with pytest.raises(ComposeFileError, match="did you mean 'postgres'"):
        read("services:\n  postgres: {image: a}\n  app: {image: a, depends_on: [postgers]}\n")


def test_dependencies_in_a_circle_are_an_error(read: Read) -> None:
    with pytest.raises(ComposeFileError, match="a → b → a"):
        read("services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n")


def test_a_file_that_is_not_there_or_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ComposeFileError, match="No such file"):
        read_compose_file(tmp_path / "none.yml", {})
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ComposeFileError, match="UTF-8"):
        read_compose_file(tmp_path / "binary.yml", {})


@pytest.mark.parametrize(
    ("written", "port"),
    [
        ("5432", Port(5432)),
        ("'15432:5432'", Port(5432, 15432)),
        ("127.0.0.1:15432:5432", Port(5432, 15432)),
        ("127.0.0.1::5432", Port(5432)),
        ("'[::1]:15432:5432/tcp'", Port(5432, 15432)),
        ("22:22", Port(22, 22)),
        ("{target: 5432, published: '15432', host_ip: 127.0.0.1, protocol: tcp}", Port(5432, 15432)),
        ("{target: 5432}", Port(5432)),
    ],
)
def test_ports_have_short_and_long_forms(one: One, written: str, port: Port) -> None:
    assert one(f"image: a\nports:\n- {written}").ports == (port,)


def test_what_only_compose_can_honour_is_named_by_its_key(one: One) -> None:
    spec = one(
        "image: a\nprivileged: true\nnetworks: {backend: {}}\nports: [53:53/udp, 3000-3002:3000-3002]\n"
        "healthcheck: {test: x, start_interval: 1s}\nbuild: {context: ., ssh: [default]}\nrestart: 'no'\n"
        "volumes: ['a:/b:nocopy', {type: image, source: x, target: /y}]\nx-mine: 1"
    )
    assert set(spec.unsupported) == {
        "privileged", "networks", "ports (53:53/udp)", "ports (3000-3002:3000-3002)", "healthcheck.start_interval",
        "build.ssh", "volumes (a:/b:nocopy)", "volumes.type (image)",
    }  # fmt: skip


def test_commands_are_lists_or_lines_as_a_shell_splits_them(one: One) -> None:
    assert one("image: a\ncommand: postgres -c 'a b=c'").command == ("postgres", "-c", "a b=c")
    assert one("image: a\nentrypoint: [sh, '-c']").entrypoint == ("sh", "-c")
    assert one("image: a\ncommand: [redis-server, --save, '']").command == ("redis-server", "--save", "")


def test_the_environment_is_a_list_or_a_mapping_above_the_env_files(one: One, tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("A=file\nB=file\n")
    spec = one(
        "image: a\nenv_file: [a.env, {path: none.env, required: false}]\nenvironment: [A=own, PASSED, NOT_SET]",
        PASSED="x",
    )
    assert spec.environment == {"A": "own", "B": "file", "PASSED": "x"}
    spec = one("image: a\nenvironment: {YES: yes, N: 010, EMPTY: '', PASSED: }", PASSED="y")
    assert spec.environment == {"YES": "yes", "N": "010", "EMPTY": "", "PASSED": "y"}


def test_volumes_and_tmpfs_have_short_and_long_forms(one: One, tmp_path: Path) -> None:
    spec = one(
        "image: a\ntmpfs: /one\nvolumes:\n- ./here:/bound:ro\n- named:/named\n- /anonymous\n"
        "- {type: tmpfs, target: /two, tmpfs: {size: 64m}}\n- {type: bind, source: ./x, target: /x, read_only: true}"
    )
    assert spec.tmpfs == ("/one", "/two:size=64m")
    assert spec.volumes == (
        Volume("/bound", str(tmp_path / "here"), read_only=True, bind=True),
        Volume("/named", "named"),
        Volume("/anonymous"),
        Volume("/x", str(tmp_path / "x"), read_only=True, bind=True),
    )


def test_a_volume_that_is_more_than_a_name_is_composes_business(read: Read) -> None:
    (spec,) = read(
        "services:\n  it: {image: a, volumes: ['plain:/a', 'theirs:/b']}\n"
        "volumes: {plain: , theirs: {external: true}}\n"
    ).services
    assert spec.unsupported == ("volumes (theirs)",)


def test_health_checks_are_lines_lists_or_turned_off(one: One) -> None:
    spec = one("image: a\nhealthcheck: {test: pg_isready $$X, interval: 1m30s, timeout: 500ms, retries: 3}")
    assert spec.health_check == HealthCheck(("CMD-SHELL", "pg_isready $X"), interval_s=90, timeout_s=0.5, retries=3)
    assert one("image: a\nhealthcheck: {test: [CMD, a]}").health_check == HealthCheck(("CMD", "a"))
    assert one("image: a\nhealthcheck: {disable: true}").health_check == HealthCheck(("NONE",))


def test_dependencies_carry_their_condition(read: Read) -> None:
    *_, app = read(
        "services:\n  db: {image: a}\n  q: {image: a}\n"
        "  app: {image: a, depends_on: {db: {condition: service_healthy}, q: }}\n"
    ).services
    assert app.depends_on == (Dependency("db", "service_healthy"), Dependency("q"))


def test_builds_have_absolute_paths_arguments_and_secret_files(read: Read, tmp_path: Path) -> None:
    (spec,) = read(
        "services:\n  app:\n    build:\n      context: ./src\n      dockerfile: dev/Dockerfile\n"
        "      args: [A=1, HOME]\n"
        "      secrets: [ca]\nsecrets: {ca: {file: ca.pem}}\n",
        HOME="/home",
    ).services
    assert spec.build is not None
    assert spec.build.context == tmp_path / "src"
    assert spec.build.dockerfile == tmp_path / "src/dev/Dockerfile"
    assert spec.build.args == {"A": "1", "HOME": "/home"}
    assert spec.build.secrets == {"ca": tmp_path / "ca.pem"}
    assert spec.unsupported == ()


def test_anchors_and_merges_are_followed(read: Read) -> None:
    a, b = read(
        "x-base: &base\n  image: redis:8\n  environment: {A: '1'}\n"
        "services:\n  a: *base\n  b: {<<: *base, command: [x]}\n"
    ).services
    assert (a.image, b.image, b.command, b.environment) == ("redis:8", "redis:8", ("x",), {"A": "1"})


@pytest.mark.parametrize(
    ("name", "image", "kind", "port"),
    [
        ("db", "postgres:17", "postgres", 5432),
        ("db", "registry.example.com:5000/team/pgvector:pg17", "postgres", 5432),
        ("db", "postgis/postgis:17-3.5", "postgres", 5432),
        ("cache", "redis/redis-stack:7", "redis", 6379),
        ("cache", "valkey/valkey:9", "redis", 6379),
        ("fake-llm", "anything", "fake_llm", 8080),
        ("queue", "nats:2", "generic", 0),
        ("web", "postgrest/postgrest", "generic", 0),
    ],
)
def test_the_kind_follows_from_name_or_image(one: One, name: str, image: str, kind: str, port: int) -> None:
    spec = one(f"image: {image}", name)
    assert (spec.kind, spec.port) == (kind, port)


def test_what_x_realstack_says_wins_over_what_follows_from_the_image(read: Read) -> None:
    (spec,) = read(
        "x-realstack: {services: {it: {kind: redis, port: 7000}}}\n"
        "services:\n  it: {image: postgres, x-realstack: {port: 7001, x-flag: true, x-word: 'true'}}\n"
    ).services
    assert (spec.kind, spec.port) == ("redis", 7001)
    assert spec.extra == {"kind": "redis", "port": 7001, "x-flag": True, "x-word": "true"}


def test_the_only_service_of_a_kind_is_called_by_its_kind(read: Read) -> None:
    services = read(
        "services:\n  db: {image: postgres}\n  cache-a: {image: redis}\n  cache-b: {image: redis}\n"
    ).services
    assert [spec.name for spec in services] == ["postgres", "cache_a", "cache_b"]
    assert [spec.compose_name for spec in services] == ["db", "cache-a", "cache-b"]


def test_a_generic_services_port_is_its_first_published_or_exposed_one(one: One) -> None:
    assert one("image: nats\nports: [4222, 8222]").port == 4222
    assert one("image: nats\nexpose: ['4222']").port == 4222


def test_the_repositorys_own_declaration_is_read_whole(tmp_path: Path) -> None:
    project = read_compose_file(ROOT / "docker-compose.test.yml", {"REALSTACK_REDIS_PORT": "16379"})
    postgres, redis, fake_llm = project.services
    assert [spec.name for spec in project.services] == ["postgres", "redis", "fake_llm"]
    assert [spec.unsupported for spec in project.services] == [(), (), ()]
    assert (postgres.image, redis.image) == ("postgres:17", "redis:8")
    assert (postgres.ports, redis.ports) == ((Port(5432),), (Port(6379, 16379),))
    assert all(spec.health_check for spec in project.services)
    assert fake_llm.build is not None
    assert fake_llm.build.dockerfile.is_file()
    assert fake_llm.build.secrets == {"ca": Path("/dev/null"), "pip_conf": Path("/dev/null")}


def test_the_declaration_in_the_wheel_is_the_repositorys_own_but_for_the_place_of_the_fake_llm() -> None:
    own = (ROOT / "docker-compose.test.yml").read_text(encoding="utf-8")
    packaged = ROOT / "src/realstack/default-compose.yml"
    place = "      context: ${REALSTACK_FAKE_LLM_CONTEXT:-..}\n"
    assert packaged.read_text(encoding="utf-8") == own.replace("      context: .\n", place)
    *_, fake_llm = read_compose_file(packaged, {}).services
    assert fake_llm.build is not None
    assert fake_llm.build.dockerfile.is_file()


def test_a_machines_own_certificates_are_handed_to_builds_unless_named(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    file = ROOT / "docker-compose.test.yml"
    project = read_compose_file(file, {"SSL_CERT_FILE": str(bundle)})
    assert project.variables["REALSTACK_CA_BUNDLE"] == str(bundle)
    assert "REALSTACK_CA_BUNDLE" not in read_compose_file(file, {"REALSTACK_CA_BUNDLE": "/x"}).variables


@pytest.mark.parametrize(
    ("block", "words", "remedy"),
    [
        ("[1]", "x-realstack must be a mapping, not a list of 1", "correct it"),
        ("{service: {}}", "x-realstack has the unknown key 'service'", "did you mean 'services'?"),
        ("{services: [postgres]}", "x-realstack.services must be a mapping, not a list of 1", "correct it"),
        ("{services: {db: [1]}}", "x-realstack.services.db must be a mapping, not a list of 1", "correct it"),
        ("{services: {db: {bakes: /a}}}", "services.db has the unknown key 'bakes'", "did you mean 'bake'?"),
        ("{services: {db: {kind: postgress}}}", "db.kind must be one of postgres, redis", "did you mean 'postgres'?"),
        ("{services: {db: {kind: [redis]}}}", "db.kind must be one of postgres, redis", "correct it"),
        ("{services: {db: {port: abc}}}", "db.port must be a number from 1 to 65535, not 'abc'", "correct it"),
        ("{services: {db: {port: 70000}}}", "db.port must be a number from 1 to 65535, not '70000'", "correct it"),
        ("{services: {db: {port: true}}}", "db.port must be a number", "correct it"),
        ("{services: {db: {name: ../up}}}", "db.name must be a letter, then", "correct it"),
        ("{services: {db: {bake: true}}}", "db.bake must be a folder inside the image", "correct it"),
        ("{services: {db: {scenarios: {a: b}}}}", "db.scenarios must be a path or a list", "correct it"),
    ],
)
def test_what_is_wrong_in_x_realstack_is_told_with_its_line_and_its_key(
    read: Read, block: str, words: str, remedy: str
) -> None:
    with pytest.raises(ComposeFileError) as caught:
        read(f"services:\n  db: {{image: a}}\nx-realstack: {block}\n")
    assert "docker-compose.test.yml:3: " in caught.value.problem
    assert words in caught.value.problem
    assert remedy in caught.value.remedy


def test_what_a_service_says_of_itself_is_checked_alike(read: Read) -> None:
    with pytest.raises(ComposeFileError, match=r"yml:2: services\.db\.x-realstack has the unknown") as caught:
        read("services:\n  db: {image: a, x-realstack: {prot: 1}}\n")
    assert caught.value.remedy == "did you mean 'port'?"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("? [a, b]\n  ", "a key must be a word, not a list"),
        ("? {a: b}\n  ", "a key must be a word, not a mapping"),
        ("~", "a key must be a word, not nothing"),
        ("../up", "must be named by letters"),
        ("..", "must be named by letters"),
    ],
)
def test_a_service_is_named_by_a_word(read: Read, key: str, words: str) -> None:
    with pytest.raises(ComposeFileError, match=words) as caught:
        read(f"services:\n  {key}: {{image: a}}\n")
    assert "docker-compose.test.yml:2: " in caught.value.problem


def test_two_services_of_one_name_are_refused(read: Read) -> None:
    with pytest.raises(ComposeFileError, match="'a-b' and 'a_b' are both 'a_b' here"):
        read("services:\n  a-b: {image: a}\n  a_b: {image: a}\n")


SHAPES = ["", "x", "''", "1", "true", "[]", "{}", "[[1]]", "[{a: b}]", "{a: [1]}", "{a: {b: [1]}}", "{test: {a: b}}",
          "{db: x}", "{db: [1]}", "[{type: tmpfs, target: /a, tmpfs: [1]}]", "[{type: bind, target: [1], source: {}}]",
          "[~]", "{context: [1], args: {a: [1]}, secrets: [[1]]}", "{context: ., secrets: {a: [1]}}", "[{path: [1]}]",
          "{interval: [1], retries: {a: b}}", "[{target: [1], published: {}}]", "{db: {file: [1]}}"]  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_shape_stands_where_another_belongs_is_read_or_refused_but_never_a_crash(
    read: Read, shape: str
) -> None:
    for key in _READ_KEYS | {"x-realstack"}:
        others = "" if key == "image" else "    image: a\n"
        _read_or_refused(read, f"services:\n  db:\n{others}    {key}: {shape}\n")
    for key in _TOP_KEYS | {"x-realstack"}:
        others = "" if key == "services" else "services: {db: {image: a, volumes: ['db:/a']}}\n"
        _read_or_refused(read, f"{others}{key}: {shape}\n")


def _read_or_refused(read: Read, text: str) -> None:
    with contextlib.suppress(ComposeFileError):
        read(text)


@pytest.mark.parametrize(
    "text",
    [(ROOT / "docker-compose.test.yml").read_text(), "a: &x {b: 'null', c: , 'd': yes}\ne: {<<: *x, f: [1, 0x1, ~]}\n"],
)
def test_libyaml_and_pyyaml_read_the_same(text: str) -> None:
    def written(value: Any) -> Any:
        if isinstance(value, dict):
            return [(written(key), written(one)) for key, one in value.items()]
        if isinstance(value, list):
            return [written(one) for one in value]
        return (value, value.line, value.plain) if isinstance(value, Text) else value

    in_python, fastest = (yaml.load(text, Loader=each) for each in (document._IN_PYTHON, document._FASTEST))  # noqa: S506
    assert written(in_python) == written(fastest)
