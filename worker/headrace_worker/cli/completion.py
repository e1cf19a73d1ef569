"""`headrace completion`: prints the script by which a shell completes commands and options."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete


class _Fish(FishComplete):
    """click's script, but for descriptions that have a comma."""

    source_template = FishComplete.source_template.replace("string split ", "string split --max 1 ")


_SHELLS = {"bash": BashComplete, "zsh": ZshComplete, "fish": _Fish}
_VARIABLE = "_HEADRACE_COMPLETE"
"""What click reads: with it set, `headrace` prints completions and runs nothing."""


@click.command(short_help="Print the completions of headrace for bash, zsh or fish.")
@click.argument("shell", type=click.Choice([*_SHELLS]))
def completion(shell: str) -> None:
    """Print the script by which a shell completes the commands and options of headrace.

    bash reads it in ~/.bashrc, zsh in ~/.zshrc after compinit, and fish from its folder of completions.

    \b
    Examples:
      eval "$(headrace completion bash)"
      headrace completion fish > ~/.config/fish/completions/headrace.fish
    """
    root = click.get_current_context().find_root().command
    click.echo(_SHELLS[shell](root, {}, "headrace", _VARIABLE).source())
