"""`images/build.py` takes a machine's way to the outside from the machine itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "images" / "build.py"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("images_build", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up by name.
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sources.list", "# deb http://old.test/debian x main\ndeb http://mirror.test/debian trixie main\n"),
        ("sources.list", "deb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian trixie main\n"),
        (
            "sources.list.d/debian.sources",
            "Types: deb\nURIs: http://mirror.test/debian\nSuites: trixie\n\n"
            "Types: deb\nURIs: http://mirror.test/debian-security\nSuites: trixie-security\n",
        ),
    ],
)
def test_the_mirror_is_the_one_that_apt_uses(build: ModuleType, tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    (tmp_path / "sources.list.d").mkdir(exist_ok=True)
    (tmp_path / "sources.list.d" / "another.list").write_text("deb http://another.test/tool stable main\n")
    (tmp_path / "sources.list.d" / "backup.list.save").write_text("deb http://old.test/debian x main\n")
    file.write_text(text)
    assert build.host_mirror(tmp_path) == "http://mirror.test/debian"


def test_without_a_mirror_the_error_names_the_variable_that_gives_one(build: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(build.BuildError, match="REALSTACK_DEBIAN_MIRROR"):
        build.host_mirror(tmp_path)


def test_certificates_are_those_that_the_machine_was_told_to_trust(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in build.CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("CURL_CA_BUNDLE", str(bundle))
    assert build.ca_bundle() == bundle
    monkeypatch.setenv("REALSTACK_CA_BUNDLE", str(tmp_path / "none.pem"))
    assert build.ca_bundle() is None


def test_the_variables_are_those_of_the_compose_file(build: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--env"]) == 0
    declared = (SCRIPT.parents[1] / "docker-compose.test.yml").read_text(encoding="utf-8")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(f"${{{line.partition('=')[0]}:-" in declared for line in lines)
