"""Run the conformance suites against one fake LLM.

    python -m conformance [NAME ...]        NAME: a folder of ``clients``; all of them if none is named

Each client has its own environment below ``.venv-conformance``, made once and again when its ``requirements.txt`` or
this interpreter changes. Exit code 0: all passed · 1: a test failed · 2: an environment could not be made.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
CLIENTS = HERE / "clients"
ENVIRONMENTS = HERE.parent / ".venv-conformance"

# What keeps these libraries from the internet, which they would wait for.
OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


def main() -> int:
    """Run what was asked for, and say how it went."""
    parser = argparse.ArgumentParser(
        prog="conformance", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    known = sorted(path.parent.name for path in CLIENTS.glob("*/requirements.txt"))
    parser.add_argument("names", nargs="*", choices=[*known, []], metavar="NAME", help=", ".join(known))
    parser.add_argument("--pytest", default="", help="further arguments of pytest, in one word")
    chosen = parser.parse_args()
    outcomes: dict[str, str] = {}
    with fake_llm() as url:
        for name in chosen.names or known:
            try:
                python = environment(name)
            except subprocess.CalledProcessError as problem:
                print(f"conformance: the environment of {name} could not be made: {problem}", file=sys.stderr)
                return 2
            began = time.monotonic()
            print(f"\n=== {name}", flush=True)
            code = run(python, name, url, shlex.split(chosen.pytest))
            outcomes[name] = f"{'passed' if code == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s"
    print("\n" + "\n".join(f"{name:16} {said}" for name, said in outcomes.items()))
    return int(any(said.startswith("FAILED") for said in outcomes.values()))


def environment(name: str) -> Path:
    """The interpreter of that client's environment.

    :raises CalledProcessError: what installs it failed.
    """
    folder = ENVIRONMENTS / name
    wanted = CLIENTS / name / "requirements.txt"
    python = folder / "bin" / "python"
    mark = folder / "made-of"
    made_of = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    if mark.is_file() and mark.read_text() == made_of:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    if uv := shutil.which("uv"):
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(wanted)], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)]
        subprocess.run(install, check=True)
    mark.write_text(made_of)
    return python


def run(python: Path, name: str, url: str, arguments: list[str]) -> int:
    """pytest's exit code for that client's tests."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "OLLAMA_"))
    }
    kept.pop("PYTHONPATH", None)
    command = [str(python), "-m", "pytest", "-c", str(HERE / "pytest.ini"), "--rootdir", str(HERE), *arguments]
    return subprocess.run(
        [*command, str(CLIENTS / name)], cwd=HERE, env={**kept, **OFFLINE, "FAKE_LLM_URL": url}, check=False
    ).returncode


@contextmanager
def fake_llm() -> Iterator[str]:
    """The address of one that runs as long as the context."""
    command = [sys.executable, "-m", "fake_llm", "--port", "0", "--log-level", "warning"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101
            yield str(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
