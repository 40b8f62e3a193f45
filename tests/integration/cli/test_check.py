"""`realstack check`: what it prints, and what its exit codes say."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from tests.integration.cli.conftest import Shop

BROKEN = "from shop.pricing import totl\n"


@pytest.fixture
def code(shop: Shop) -> Shop:
    """A package without a fault, in the project that the command runs in."""
    shop.write("shop/__init__.py", "")
    shop.write("shop/pricing.py", "def total(): return 1\n")
    shop.write("tests/test_shop.py", "import nothing_of_the_kind\n")
    return shop


def test_without_findings_the_exit_code_is_0(code: Shop) -> None:
    done = code.call("check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing found." in done.stdout
    assert "imports: 2 checked" in done.stdout


def test_with_findings_it_is_1_and_each_has_its_place_rule_and_mend(code: Shop) -> None:
    code.write("shop/cart.py", BROKEN)
    done = code.call("check", "imports")
    assert done.returncode == 1
    for word in ("shop/cart.py", "missing-name", "shop.pricing", "did you mean total?"):
        assert word in done.stdout


def test_every_format_has_the_finding(code: Shop) -> None:
    code.write("shop/cart.py", BROKEN)
    found = json.loads(code.call("check", "--format", "json").stdout)
    assert [each["rule"] for each in found["findings"]] == ["missing-name"]
    assert (
        json.loads(code.call("check", "--format", "sarif").stdout)["runs"][0]["results"][0]["ruleId"] == "missing-name"
    )
    assert code.call("check", "--format", "github").stdout.startswith("::error file=shop/cart.py,line=1")
    assert len(ET.fromstring(code.call("check", "--format", "junit").stdout).findall(".//failure")) == 1  # noqa: S314


def test_two_runs_give_the_same_bytes(code: Shop) -> None:
    code.write("shop/cart.py", BROKEN)
    code.write("shop/other.py", "import shop.nowhere\n")
    first = code.call("check", "--format", "json").stdout
    assert first == code.call("check", "--format", "json").stdout


def test_what_is_allowed_with_a_reason_is_no_finding_and_without_one_it_is(code: Shop) -> None:
    code.write(
        "shop/cart.py", f"{BROKEN.strip()}  # realstack: allow[missing-name] because it comes with the next release\n"
    )
    assert code.call("check").returncode == 0
    code.write("shop/cart.py", f"{BROKEN.strip()}  # realstack: allow[missing-name]\n")
    done = code.call("check")
    assert done.returncode == 1
    assert "allowance-without-reason" in done.stdout
    assert "missing-name" in done.stdout


def test_an_allowance_of_what_is_no_more_is_a_finding(code: Shop) -> None:
    code.write("shop/cart.py", "x = 1  # realstack: allow[missing-name] because it was so\n")
    done = code.call("check")
    assert done.returncode == 1
    assert "allowance-unused" in done.stdout


def test_the_settings_say_which_packages_and_what_is_left_out(code: Shop) -> None:
    code.write("shop/cart.py", BROKEN)
    code.write("pyproject.toml", '[tool.realstack.check]\npackages = ["shop"]\nexclude = ["cart.py"]\n')
    assert code.call("check").returncode == 0
    assert code.call("check", "--exclude", "nothing").returncode == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["coverages"], "no gate 'coverages'"),
        (["--format", "yaml"], "no format 'yaml'"),
        (["--package", "shelf"], "the package 'shelf' is neither"),
        (["--python", "no/python"], "no interpreter at"),
        (["--python", "shop/pricing.py"], "cannot be run"),
    ],
)
def test_what_cannot_run_is_one_error_and_exit_code_2(code: Shop, words: list[str], says: str) -> None:
    done = code.call("check", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_an_unknown_key_in_the_settings_names_the_nearest(code: Shop) -> None:
    code.write("pyproject.toml", '[tool.realstack.check]\npackage = ["shop"]\n')
    done = code.call("check")
    assert done.returncode == 2
    assert "'packages'" in done.stderr


def test_a_project_without_a_package_says_how_to_name_one(shop: Shop) -> None:
    done = shop.call("check")
    assert done.returncode == 2
    assert "--package" in done.stderr
