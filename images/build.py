"""Build the service images from Debian's packages, for machines that can pull none.

Run as ``python3 images/build.py`` (or ``make images``). What is already built from the same files is passed
over. Needs nothing but the standard library, ``docker`` with buildx, and, for the first base, ``debootstrap``.
"""

# ruff: noqa: T201 - a command talks to its user
from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

HERE = Path(__file__).resolve().parent
SUITE = "trixie"
HASH_LABEL = "realstack.image.hash"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CA_VARIABLES = ("REALSTACK_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True)
class Image:
    """One image: its folder here, its tag, and the variable by which the compose file takes it."""

    folder: str
    tag: str
    variable: str


BASE = f"realstack/debian:{SUITE}"
IMAGES = (
    Image("postgres", "realstack/postgres:17", "REALSTACK_POSTGRES_IMAGE"),
    Image("redis", "realstack/redis:8", "REALSTACK_REDIS_IMAGE"),
    Image("python", "realstack/python:3.13", "REALSTACK_PYTHON_IMAGE"),
)
BASE_MARK = b"# --- base"


class BuildError(Exception):
    """An image could not be built; the sentence says which, and what to do."""


def main(argv: list[str] | None = None) -> int:
    """Build what is missing; print the variables that make the compose file use it."""
    options = _options().parse_args(argv)
    if options.env:
        print("\n".join(f"{image.variable}={image.tag}" for image in IMAGES))
        return 0
    chosen = [image for image in IMAGES if not options.names or image.folder in options.names]
    try:
        base_hash = ensure_base(options.mirror, force=options.force)
        for image in chosen:
            ensure_image(image, base_hash, network=options.network, force=options.force)
    except BuildError as problem:
        print(f"images: {problem}", file=sys.stderr)
        return 2
    print("To use them:")
    print("\n".join(f"  export {image.variable}={image.tag}" for image in chosen))
    return 0


def ensure_base(mirror: str | None, *, force: bool) -> str:
    """Make the base image if it is not here; return the hash of what it is made from."""
    wanted = _hash(SUITE, (HERE / "build.py").read_bytes().rsplit(BASE_MARK, 1)[1])
    if not force and _label(BASE) == wanted:
        print(f"images: {BASE} is here")
        return wanted
    mirror = mirror or host_mirror()
    with tempfile.TemporaryDirectory(prefix="realstack-base-") as folder:
        _bootstrap(mirror, Path(folder) / "root")
        _import(Path(folder) / "root", wanted)
    return wanted


def ensure_image(image: Image, base_hash: str, *, network: str, force: bool) -> None:
    """Build ``image`` unless one is here that was built from the same files on the same base."""
    folder = HERE / image.folder
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    wanted = _hash(base_hash, *(path.name for path in files), *(path.read_bytes() for path in files))
    if not force and _label(image.tag) == wanted:
        print(f"images: {image.tag} is here")
        return
    print(f"images: building {image.tag}")
    command = ["docker", "buildx", "build", "--load", "--progress=plain", f"--network={network}"]
    command += ["--tag", image.tag, "--label", f"{HASH_LABEL}={wanted}", "--build-arg", f"BASE={BASE}"]
    for name in PROXY_VARIABLES:
        if os.environ.get(name):
            command += ["--build-arg", name]
    if bundle := ca_bundle():
        command += ["--secret", f"id=ca,src={bundle}"]
    _run(
        [*command, str(folder)],
        remedy="see its output above; behind a proxy or a mirror, images/README.md tells what to set.",
    )


def host_mirror(apt: Path = Path("/etc/apt")) -> str:
    """The Debian mirror that this machine itself uses, by its apt's settings.

    :raises BuildError: this machine is no Debian with a mirror of the main archive.
    """
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*"))):
        if path.suffix not in (".list", ".sources") or not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            found = re.match(r"(?:URIs:\s*|deb\s+(?:\[[^\]]*\]\s+)?)(\S+)", line)
            if found and re.search(r"/debian/?$", found[1]):
                return found[1]
    raise BuildError(
        "this machine's apt knows no Debian mirror. Name one: REALSTACK_DEBIAN_MIRROR=URL, or --mirror URL."
    )


def ca_bundle() -> Path | None:
    """The bundle of certificates that this machine was told to trust, if it was told any."""
    named = next((os.environ[name] for name in CA_VARIABLES if os.environ.get(name)), None)
    path = Path(named or "/etc/ssl/certs/ca-certificates.crt")
    return path if path.is_file() else None


# --- base: what follows is part of the base image's hash


def _bootstrap(mirror: str, root: Path) -> None:
    if os.geteuid() != 0:
        raise BuildError("the base image is made by debootstrap, which needs root: run this with sudo.")
    if shutil.which("debootstrap") is None:
        raise BuildError("debootstrap is missing: apt-get install debootstrap.")
    print(f"images: bootstrapping Debian {SUITE} (a minute or two)")
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates"]
    if KEYRING.is_file():
        command.append(f"--keyring={KEYRING}")
    _run([*command, SUITE, str(root), mirror], remedy="see its output above; --mirror names another mirror.")
    for leftover in ("var/lib/apt/lists", "var/cache/apt", "var/log", "usr/share/doc", "usr/share/man"):
        for path in (root / leftover).glob("*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (root / "etc/apt/apt.conf.d/80container").write_text(
        'APT::Install-Recommends "false";\nAcquire::Languages "none";\nDPkg::Use-Pty "0";\n'
    )
    (root / "etc/dpkg/dpkg.cfg.d/80container").write_text(
        "path-exclude /usr/share/doc/*\npath-exclude /usr/share/man/*\nforce-unsafe-io\n"
    )
    # Packages must not start servers while an image is built.
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    (root / "etc/resolv.conf").write_text("")


def _import(root: Path, wanted: str) -> None:
    settings = (f"LABEL {HASH_LABEL}={wanted}", 'CMD ["bash"]', "ENV DEBIAN_FRONTEND=noninteractive")
    with subprocess.Popen(["tar", "-C", str(root), "--numeric-owner", "-c", "."], stdout=subprocess.PIPE) as tar:
        _run(
            ["docker", "import", *(word for setting in settings for word in ("--change", setting)), "-", BASE],
            stdin=tar.stdout,
            remedy="see its output above.",
        )
    if tar.returncode:
        raise BuildError(f"tar of the base failed with exit status {tar.returncode}.")
    print(f"images: {BASE} is made")


def _run(command: list[str], *, remedy: str, stdin: IO[bytes] | None = None) -> None:
    """Run it quietly; its output is shown if it fails."""
    try:
        ran = subprocess.run(
            command,
            check=False,
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except FileNotFoundError as problem:
        raise BuildError(f"{command[0]} is not installed.") from problem
    if ran.returncode:
        print(*ran.stdout.splitlines()[-40:], sep="\n", file=sys.stderr)
        raise BuildError(f"{' '.join(command[:3])} failed with exit status {ran.returncode}: {remedy}")


def _label(tag: str) -> str | None:
    template = f'{{{{index .Config.Labels "{HASH_LABEL}"}}}}'
    try:
        found = subprocess.run(
            ["docker", "image", "inspect", "--format", template, tag], capture_output=True, text=True, check=False
        )
    except FileNotFoundError as problem:
        raise BuildError("docker is not installed.") from problem
    if found.returncode and "no such image" not in found.stderr.lower():
        raise BuildError(f"the Docker engine does not answer: {found.stderr.strip()}")
    return found.stdout.strip() or None


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(image.folder for image in IMAGES)} (all)")
    parser.add_argument("--force", action="store_true", help="build even what is here")
    parser.add_argument("--env", action="store_true", help="only print the variables, as NAME=VALUE")
    parser.add_argument("--mirror", default=os.environ.get("REALSTACK_DEBIAN_MIRROR"), help="the Debian mirror")
    parser.add_argument(
        "--network",
        default=os.environ.get("REALSTACK_BUILD_NETWORK", "host"),
        help="the network of builds: host (default), or default",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
