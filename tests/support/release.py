"""The last release of Headrace beside the working tree: its packages, for processes that a test starts."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import ROOT

LAST_RELEASE = "122e97022a8f9807d89e6076b66de2b3a21e782a"
"""The commit of the last release, for a clone without tags; changed with each release. It runs on every server."""
_PACKAGES = {"headrace": "producer", "headrace_worker": "worker"}
_WAYS_OUT = "fetch the history (`git fetch --tags --unshallow`), or run these tests in a clone that has it"


class NoRelease(AssertionError):
    """The last release is not available here, so two versions can't be tested side by side."""


class Release:
    """A release's packages in a folder of their own."""

    def __init__(self, commit: str, folder: Path) -> None:
        self.commit = commit
        self._folder = folder

    @property
    def env(self) -> dict[str, str]:
        """Return the environment in which a process of this interpreter imports the release, not the working tree."""
        return {"PYTHONPATH": os.pathsep.join(str(self._folder / part) for part in _PACKAGES.values())}

    def run(self, *args: str, env: Mapping[str, str], stdin: str = "") -> str:
        """Return the output of a process of this interpreter that imports the release, once it has ended well."""
        command, full_env = [sys.executable, *args], {**os.environ, **env, **self.env}
        done = subprocess.run(
            command, input=stdin, env=full_env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{args} of the last release ended with {done.returncode}:\n{done.stderr}"
        return done.stdout

    def ask(self, env: Mapping[str, str], *calls: Sequence[Any]) -> list[Any]:
        """Return what the release's client answers to each call: a method's name, its arguments, its options."""
        answers: list[Any] = json.loads(self.run("-m", "tests.support.asked", env=env, stdin=json.dumps(calls)))
        return answers


def unpack_last_release(folder: Path) -> Release:
    """Return the last release, unpacked into the folder; raise NoRelease where it can't be had."""
    # A tag of the very commit that is checked out is of this release, not of the last one.
    tags = _git("tag", "--list", "v*", "--merged", "HEAD", "--no-contains", "HEAD", "--sort=-version:refname")
    return unpack_release(tags.decode().split()[0] if tags else LAST_RELEASE, folder)


def unpack_release(commit: str, folder: Path) -> Release:
    """Return the release of a commit, unpacked into the folder; raise NoRelease where it can't be had."""
    if not _is_here(commit):
        _git("fetch", "--quiet", "origin", commit)
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit, *_PACKAGES.values()))) as packages:
        packages.extractall(folder, filter="data")
    release = Release(commit, folder)
    _check(release)
    return release


def _is_here(commit: str) -> bool:
    try:
        _git("cat-file", "-e", f"{commit}^{{commit}}")
    except NoRelease:
        return False
    return True


def _git(*args: str) -> bytes:
    try:
        return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, check=True, timeout=120).stdout
    except (OSError, subprocess.SubprocessError) as exc:
        said = (getattr(exc, "stderr", None) or b"").decode().strip() or exc
        raise NoRelease(f"the last release can't be had: git {' '.join(args)}: {said}; {_WAYS_OUT}") from exc


def _check(release: Release) -> None:
    """Check that the packages of the release are not those of the working tree, which are installed."""
    code = f"import json, {', '.join(_PACKAGES)}; print(json.dumps([p.__file__ for p in ({', '.join(_PACKAGES)})]))"
    for path in json.loads(release.run("-c", code, env={})):
        assert Path(path).is_relative_to(release._folder), f"{path} is imported, not the last release"
