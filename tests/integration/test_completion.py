"""Shells complete the commands of headrace by the script that it prints. Each is tried where it is installed."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import pytest

from headrace_worker.cli.root import root
from tests.support.commands import Headrace, fails
from tests.support.processes import ROOT
from tests.support.waiting import wait_until

INTERACTIVE = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(headrace completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit && compinit -u; eval "$(headrace completion zsh)"'),
}


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which `headrace` is a command."""
    command = tmp_path / "bin" / "headrace"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m headrace_worker.cli "$@"\n')
    command.chmod(0o755)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "HOME": str(tmp_path), "TERM": "xterm"}


@contextmanager
def typing(shell: list[str], env: dict[str, str], log: Path) -> Iterator[int]:
    """Run an interactive shell on a terminal, which writes to the log; yield the descriptor to type into."""
    ours, theirs = pty.openpty()
    with (
        log.open("wb") as output,
        subprocess.Popen(
            shell, stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=ROOT, start_new_session=True
        ) as process,
    ):
        os.close(theirs)
        copier = subprocess.Popen(["cat"], stdin=ours, stdout=output)
        try:
            yield ours
        finally:
            process.kill()
            os.close(ours)
            copier.kill()
            copier.wait()


@pytest.mark.parametrize("shell", INTERACTIVE)
def test_a_shell_completes_commands(shell: str, env: dict[str, str], tmp_path: Path) -> None:
    """A noun, a verb and an option, after a tab."""
    command, set_up = INTERACTIVE[shell]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    log = tmp_path / "terminal"
    with typing(command, env, log) as keyboard:
        os.write(keyboard, f"{set_up}; echo rea''dy\n".encode())
        wait_until(lambda: "\nready" in log.read_text(errors="replace"), 30, what="a shell that has read the script")
        for typed, completed in (("del", "headrace delayed"), ("li", "headrace delayed list"), ("--unt", "--until")):
            os.write(keyboard, f"{'headrace ' if typed == 'del' else ''}{typed}\t".encode())
            wait_until(partial(is_shown, completed, log), 30, what=completed)


def is_shown(text: str, log: Path) -> bool:
    return text in shown(log)


def shown(log: Path) -> str:
    """Return what a terminal shows since its shell is ready, without its control codes."""
    text = log.read_bytes().decode(errors="replace").rpartition("ready")[2]
    return re.sub(r".\x08", "", re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text).replace("\a", ""))


def test_fish_completes_commands(env: dict[str, str], headrace: Headrace) -> None:
    """With their descriptions."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = headrace("completion", "fish").stdout
    asks = "complete -C 'headrace del'; complete -C 'headrace delayed list --unt'; complete -C 'headrace stats --js'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"{script}\n{asks}"],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("delayed\t")
    assert "--until" in done.stdout
    assert json_option_help() in done.stdout


def json_option_help() -> str:
    """Return a description that has a comma, as it stands in the help."""
    (found,) = [each for each in root.commands["stats"].params if each.name == "as_json"]
    assert isinstance(found, click.Option)
    assert found.help
    assert "," in found.help
    return found.help


def test_a_shell_that_is_not_known(headrace: Headrace) -> None:
    """Exit code 2; the line names those that are."""
    fails(headrace("completion", "tcsh"), 2, "bash", "zsh", "fish")
