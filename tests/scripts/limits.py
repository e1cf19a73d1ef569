"""A server that is full, or on which a user may not do all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from headrace.calls.call import Call
from headrace.transport.single import Transport
from tests.scripts.cases import Case, Step, seed_bystanders
from tests.scripts.state import Keyspace, Ran

_USER = "limited"


class Limits:
    """Runs cases on a server of its own, each on an empty one, as a user with the rights of the moment."""

    def __init__(self, url: str) -> None:
        self.keyspace = Keyspace(url, "limited")
        self.url = url.replace("unix://", f"unix://{quote(_USER)}:any@")
        self.user = Transport(self.url, attempts=1)

    def close(self) -> None:
        self.user.close()
        self.keyspace.close()

    def arrange(self, case: Case) -> Step:
        """The server holds what the case needs, and nothing else."""
        self.keyspace.empty()
        seed_bystanders(self.keyspace)
        return case.arrange(self.keyspace)

    def allow(self, *rules: str) -> None:
        """The user has these rights and no others."""
        self.keyspace.admin.execute_command("ACL", "SETUSER", _USER, "reset", "resetchannels", "on", "nopass", *rules)

    def end_user(self) -> None:
        """The user is switched off, and its connections end."""
        self.keyspace.admin.execute_command("ACL", "SETUSER", _USER, "off")
        self.keyspace.admin.execute_command("CLIENT", "KILL", "USER", _USER)

    def run(self, call: Call[Any]) -> Ran:
        """Run a call as the user."""
        return self.keyspace.run(call, by=self.user)

    @contextmanager
    def full(self) -> Iterator[None]:
        """The server is at its maxmemory, and evicts nothing."""
        self.keyspace.admin.config_set("maxmemory", 1)
        try:
            yield
        finally:
            self.keyspace.admin.config_set("maxmemory", 0)

    @contextmanager
    def counting(self) -> Iterator[set[str]]:
        """The set holds afterwards the commands that were carried out meanwhile, as ACL rules name them."""
        self.keyspace.admin.config_resetstat()
        used: set[str] = set()
        yield used
        stats: Any = self.keyspace.admin.info("commandstats")
        used |= {name.removeprefix("cmdstat_") for name in stats} - {"config", "config|resetstat"}


def keys_of(call: Call[Any]) -> list[str]:
    """Return the keys that a script's call declares, each once."""
    count = int(call.args[2])
    return list(dict.fromkeys(str(key) for key in call.args[3 : 3 + count]))


def key_rules(keys: Iterable[str]) -> list[str]:
    """Return the rules that allow these keys alone."""
    return [f"~{key}" for key in keys]


_SUBCOMMANDS = ("xgroup|create", "xgroup|delconsumer")


def all_but(command: str) -> list[str]:
    """Return the rules that allow every command but one; Redis 6.2 can't take a subcommand away from its command."""
    whole = command.partition("|")[0]
    return [
        "+@all",
        f"-{whole}",
        *(f"+{other}" for other in _SUBCOMMANDS if other.startswith(whole) and other != command),
    ]
