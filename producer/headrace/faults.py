"""Turns what redis-py and the server say went wrong into our errors. The one place that does."""

from __future__ import annotations

import re

import redis.exceptions as theirs

from headrace.errors import (
    ConnectionFailed,
    HeadraceError,
    OutOfMemory,
    PermissionMissing,
    ServerError,
    ServerNotReady,
    StreamExhausted,
    UnsupportedServer,
)

# redis-py takes the code off these; a subclass stands before its parent.
_CODE_OF: dict[type[Exception], str] = {
    theirs.NoScriptError: "NOSCRIPT",
    theirs.BusyLoadingError: "LOADING",
    theirs.ReadOnlyError: "READONLY",
    theirs.OutOfMemoryError: "OOM",
    theirs.NoPermissionError: "NOPERM",
    theirs.MasterDownError: "MASTERDOWN",
    theirs.ClusterDownError: "CLUSTERDOWN",
    theirs.TryAgainError: "TRYAGAIN",
}
# Inside a script the code stands somewhere in the text: "ERR Error running script (…): -OOM command …".
_CODE = re.compile(
    r"\b(NOSCRIPT|OOM|NOPERM|NOGROUP|LOADING|READONLY|MASTERDOWN|UNBLOCKED|TRYAGAIN|CLUSTERDOWN"
    r"|BUSY|NOREPLICAS|MISCONF|UNKILLABLE|WRONGTYPE)\b"
)
# A right that is missing inside a script is said in words alone: Redis >= 7 and Valkey; Redis 6.2.
_REFUSED_INSIDE = re.compile("ACL failure in script|The user executing the script can't")
# How most servers (Redis from 6.2.6 on, Valkey 8) refuse a long command on a connection that has shown no password.
_LONG_UNAUTHENTICATED = "Protocol error: unauthenticated"
# A script names the stream; the server itself does not.
_EXHAUSTED = re.compile(
    r"EXHAUSTED (\S+)|exhausted the last possible ID|equal or smaller than the target stream top item"
)
_CERTIFICATE = re.compile(r"certificate verify failed: (.+?)(?: \(_ssl\.c:\d+\))?\.?$", re.MULTILINE)
_WAITS = frozenset(
    {
        "LOADING", "READONLY", "MASTERDOWN", "UNBLOCKED", "TRYAGAIN", "CLUSTERDOWN", "BUSY", "UNKILLABLE",
        "NOREPLICAS", "MISCONF", "NOAUTH", "NOGROUP", "MAXCLIENTS",
    }
)  # fmt: skip


class ScriptMissing(HeadraceError):
    """The server does not know the script's SHA1; it is sent whole then. Never leaves the transport."""


class Redirected(ServerError):
    """The server is a node of a cluster, and another one serves the slot, for good or, if `is_ask`, for this call."""

    def __init__(self, slot: int, host: str, port: int, *, is_ask: bool) -> None:
        self.slot, self.host, self.port, self.is_ask = slot, host, port, is_ask
        super().__init__(
            f"the server is a node of a Redis Cluster, and {host}:{port} serves the keys; "
            "name the cluster by redis+cluster://host:port instead"
        )


def code_of(exc: BaseException) -> str:
    """Returns the server's word for what went wrong, or an empty text."""
    if type(exc) is theirs.ConnectionError and isinstance(exc.__cause__, theirs.RedisError):
        exc = exc.__cause__  # what a new connection of redis.asyncio was told
    for kind, code in _CODE_OF.items():
        if isinstance(exc, kind):
            return code
    if isinstance(exc, theirs.AuthenticationError):
        return "NOAUTH" if "required" in str(exc).lower() else "WRONGPASS"
    if _LONG_UNAUTHENTICATED in str(exc):
        return "NOAUTH"
    if "max number of clients reached" in str(exc):
        return "MAXCLIENTS"
    found = _CODE.search(str(exc))
    if found is None:
        return "NOPERM" if _REFUSED_INSIDE.search(str(exc)) else ""
    return found[1]


def translate(exc: Exception) -> HeadraceError:
    """Returns our error for one of redis-py's or the socket's; ours are returned as they are."""
    if (ours := _ours(exc)) is not None:
        return ours
    if (exhausted := _EXHAUSTED.search(str(exc))) is not None:
        return StreamExhausted(
            f"the stream {exhausted[1] or 'that this writes to'} takes no entry any more: something else has "
            "written the last entry id that there is; docs/operations.md says how it is mended"
        )
    code = code_of(exc)
    if code == "NOSCRIPT":
        return ScriptMissing(str(exc))
    if code == "OOM":
        return OutOfMemory(
            "the server is at its maxmemory and took nothing of this call; let workers drain it, or raise maxmemory"
        )
    if code == "NOPERM":
        return PermissionMissing(f"the server's user may not do this: {exc}; deploy/acl lists the rights it needs")
    if code == "WRONGPASS":
        return PermissionMissing(f"the server does not take the user and password of the URL: {exc}")
    if code == "WRONGTYPE":
        return ServerError(
            f"a key of this namespace has a type that Headrace did not give it: {exc}; "
            "some other program writes here, so use another namespace or database"
        )
    if code in _WAITS:
        return ServerNotReady(code, f"the server can't do this at the moment ({code}): {exc}")
    if isinstance(exc, theirs.ConnectionError | theirs.TimeoutError | OSError):
        return _unreached(exc)
    return _refusal(exc)


def _refusal(exc: Exception) -> ServerError:
    if isinstance(exc, theirs.AskError):
        return Redirected(exc.slot_id, exc.host, exc.port, is_ask=not isinstance(exc, theirs.MovedError))
    if "unknown command" in str(exc).lower():
        return UnsupportedServer(f"the server lacks a command; Headrace needs Redis >= 6.2 or Valkey >= 7.2: {exc}")
    return ServerError(f"the server refused: {exc}")


def _unreached(exc: Exception) -> ConnectionFailed:
    refused = _CERTIFICATE.search(str(exc))
    if refused is None:
        return ConnectionFailed(f"the server can't be reached, or the line was cut: {exc}")
    return ConnectionFailed(
        f"the server's certificate is not accepted: {refused[1]}; "
        "ssl_ca_certs= in the URL names the file of the authority that has signed it"
    )


def _ours(exc: Exception) -> HeadraceError | None:
    """Returns the error that is ours already; redis.asyncio makes one of its own of whatever a connect raises."""
    for known in (exc, exc.__cause__):
        if isinstance(known, HeadraceError):
            return known
    return None
