"""`realstack seed capture` as its users run it: from what is up, or from an address, and never over what is there."""

from __future__ import annotations

from tests.integration.cli.conftest import Shop

TABLES = """
CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE runs (id int PRIMARY KEY, owner int REFERENCES users);
INSERT INTO runs SELECT 10 * i, NULL FROM generate_series(1, 3) i;
"""


def test_a_seed_is_captured_from_what_is_up_once_personal_columns_are_decided(shop: Shop) -> None:
    shop.write("db/001.sql", TABLES)
    nothing_up = shop.call("seed", "capture", "-o", "seed.yaml")
    assert (nothing_up.returncode, "[no-environment]" in nothing_up.stderr) == (2, True)
    assert shop.call("up").returncode == 0

    refused = shop.call("seed", "capture", "-o", "seed.yaml", "--table", "users")
    assert refused.returncode == 1
    assert "users.name: its name has 'name'" in refused.stderr
    assert not (shop.path / "seed.yaml").exists()

    masked = shop.call("seed", "capture", "-o", "seed.yaml", "--table", "users", "--mask", "users.name=name")
    assert masked.returncode == 0, masked.stderr
    assert "masked users.name (name)" in masked.stdout
    text = (shop.path / "seed.yaml").read_text()
    assert "Ada" not in text
    assert text.count("- {id:") == 2

    again = shop.call("seed", "capture", "-o", "seed.yaml", "--table", "users", "--unmasked", "users.name")
    assert (again.returncode, "--force" in again.stderr) == (2, True)
    kept = shop.call("seed", "capture", "-o", "out", "--table", "users", "--where", "id = 1", "--unmasked", "*.name")
    assert kept.returncode == 0, kept.stderr
    assert (shop.path / "out" / "1_users.yaml").read_text().endswith("users:\n  - {id: 1, name: Ada}\n")
    none = shop.call("seed", "capture", "-o", "none.yaml", "--table", "users", "--where", "false")
    assert (none.returncode, none.stderr) == (1, "nothing is written: there are no such rows\n")


def test_the_settings_decide_for_everybody_and_an_address_is_read(shop: Shop) -> None:
    shop.write("db/001.sql", TABLES)
    shop.write(
        "pyproject.toml",
        (shop.path / "pyproject.toml").read_text()
        + '[tool.realstack.seed]\nmask = {"*.name" = "hash"}\nexclude = ["runs"]\n',
    )
    assert shop.call("up").returncode == 0
    url = shop.call("env", "--format", "json").stdout.split('"DATABASE_URL": "')[1].split('"')[0]
    shop.environ["REALSTACK_MASK_SALT"] = "the same for all of us"
    texts = []
    for name in ("one.yaml", "two.yaml"):
        captured = shop.call("seed", "capture", "-o", name, "--from-url", url)
        assert captured.returncode == 0, captured.stderr
        texts.append((shop.path / name).read_text())
    assert texts[0] == texts[1]
    assert "runs:" not in texts[0]


def test_an_address_that_leads_nowhere_is_told_without_its_password(shop: Shop) -> None:
    for url in ("postgresql://me:hunter2@127.0.0.1:1/x", "me:hunter2@nowhere", "postgresql://me:hunter2@host:port/x"):
        said = shop.call("seed", "capture", "-o", "seed.yaml", "--from-url", url)
        assert said.returncode == 2
        assert "To mend it:" in said.stderr
        assert "hunter2" not in said.stderr + said.stdout
