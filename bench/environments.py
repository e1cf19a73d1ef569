"""Makes the environments of the runner and of each peer under `.bench/`, pinned and with hashes. Standard library only.

A stamp beside each says what it was made of; one that was cut short, copied or is out of date is made anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".bench"
"""Where everything that a run makes is; ignored by git."""
REQUIREMENTS = ROOT / "bench" / "requirements"
NODE_SOURCE = ROOT / "bench" / "peers" / "bullmq"
PACKAGES = ("producer", "worker")
RUNNER = "headrace"
"""The environment of the runner, of Headrace and of the limit."""


class Missing(Exception):
    """What a peer needs is not on this machine, so it is skipped; the text says what."""


class SetupFailed(Exception):
    """An environment could not be made; the text is the end of what the tool said."""


def python(name: str, at_least: tuple[int, int] | None = None) -> Path:
    """Return the Python of an environment that has what `requirements/<name>.txt` pins.

    Args:
        at_least: the Python that the peer needs, where it is more than the runner's own may be.

    Raises:
        Missing: there is no such Python on this machine.
        SetupFailed: it could not be installed.
    """
    base = sys.executable if at_least is None else _find_python(at_least)
    requirements = REQUIREMENTS / f"{name}.txt"
    environment = HOME / name
    found = environment / "bin" / "python"
    made_of = [str(environment), _version(base), requirements.read_text()]
    if name == RUNNER:
        made_of += [(ROOT / package / "pyproject.toml").read_text() for package in PACKAGES]
    if not _is_made_of(environment, made_of):
        print(f"Setting up {environment.relative_to(ROOT)} (once)", flush=True)
        _run([base, "-m", "venv", "--clear", str(environment)])
        install = [str(found), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
        _run([*install, "--no-deps", "--require-hashes", "-r", str(requirements)])
        if name == RUNNER:
            for package in PACKAGES:
                _run([*install, "--no-deps", "--no-build-isolation", "-e", package])
        _stamp(environment, made_of)
    return found


def node(name: str) -> list[str]:
    """Return the command that runs the side of a peer on Node, with what its lock file pins.

    Raises:
        Missing: Node or npm is not on this machine.
        SetupFailed: it could not be installed.
    """
    for tool in ("node", "npm"):
        if not _answers([tool, "--version"]):
            raise Missing(f"{tool} is not installed")
    environment = HOME / name
    made_of = [str(environment), (NODE_SOURCE / "package-lock.json").read_text()]
    if not _is_made_of(environment, made_of):
        print(f"Setting up {environment.relative_to(ROOT)} (once)", flush=True)
        shutil.rmtree(environment, ignore_errors=True)
        environment.mkdir(parents=True)
        for file in ("package.json", "package-lock.json"):
            shutil.copy(NODE_SOURCE / file, environment)
        # Not `npm ci`: it refuses a lock file without the optional binaries of every other system.
        _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], folder=environment)
        _stamp(environment, made_of)
    shutil.copy(NODE_SOURCE / "side.mjs", environment)
    return ["node", str(environment / "side.mjs")]


def _find_python(at_least: tuple[int, int]) -> str:
    for candidate in _pythons():
        version = _version(candidate)
        if version and tuple(int(part) for part in version.split(".")[:2]) >= at_least:
            return candidate
    raise Missing(f"it needs Python {at_least[0]}.{at_least[1]} or later, and none was found; name one in BENCH_PYTHON")


def _pythons() -> Iterator[str]:
    """Yield the Pythons that may be there: the one named, the runner's own, those on the PATH, those of pyenv."""
    if named := os.environ.get("BENCH_PYTHON"):
        yield named
    yield sys.executable
    yield from ("python3.14", "python3.13", "python3.12", "python3")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from (str(path) for path in sorted(pyenv.glob("versions/3.*/bin/python"), reverse=True))


def _version(candidate: str) -> str:
    """Return the version of a Python that can make environments; empty if it is none."""
    probe = "import platform, venv, ensurepip; print(platform.python_version())"
    try:
        answer = subprocess.run([candidate, "-c", probe], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return answer.stdout.strip()


def _answers(command: Sequence[str]) -> bool:
    try:
        subprocess.run(command, capture_output=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _run(command: Sequence[str], folder: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise SetupFailed(f"{' '.join(command[:6])} … ended with {done.returncode}:\n{said}")


def _digest(made_of: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(made_of).encode()).hexdigest()


def _is_made_of(environment: Path, made_of: Sequence[str]) -> bool:
    stamp = environment / ".made-of"
    return stamp.is_file() and stamp.read_text() == _digest(made_of)


def _stamp(environment: Path, made_of: Sequence[str]) -> None:
    (environment / ".made-of").write_text(_digest(made_of))
