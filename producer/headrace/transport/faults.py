"""Translates the errors of redis-py, the system and the server into Headrace's. The one place that does.

An error reports an answer of the server only if the server has answered.
"""

from __future__ import annotations

import errno
import re

import redis.exceptions as theirs

from headrace.errors import (
    AuthenticationFailed,
    CallBroken,
    CallError,
    HeadraceError,
    PermissionMissing,
    ServerError,
    ServerFull,
    ServerNotReady,
    ServerUnreachable,
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
_TOO_MANY_CLIENTS = "max number of clients reached"
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
_HINTS = {
    "NOAUTH": "; user and password stand in the URL, as in redis://user:password@host:6379/0",
    "READONLY": "; it is a replica: name its master in the URL, or its sentinels ('headrace doctor' says who they are)",
}
_LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
"""What the system says where this process, or its machine, has no room for another connection."""


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
    """Return the server's word for what went wrong, or an empty text."""
    exc = _cause_of(exc)
    for kind, code in _CODE_OF.items():
        if isinstance(exc, kind):
            return code
    if isinstance(exc, theirs.AuthenticationError):
        return "NOAUTH" if "required" in str(exc).lower() else "WRONGPASS"
    if _LONG_UNAUTHENTICATED in str(exc):
        return "NOAUTH"
    if _TOO_MANY_CLIENTS in str(exc):
        return "MAXCLIENTS"
    found = _CODE.search(str(exc))
    if found is None:
        return "NOPERM" if _REFUSED_INSIDE.search(str(exc)) else ""
    return found[1]


def _cause_of(exc: BaseException) -> BaseException:
    """Return what went wrong: redis.asyncio wraps what a connect raises in a ConnectionError."""
    if type(exc) is theirs.ConnectionError and isinstance(exc.__cause__, Exception):
        return exc.__cause__
    return exc


def translate(exc: BaseException, *, is_sent: bool = False) -> HeadraceError:
    """Return our error for one of redis-py's, the system's or this process's; ours are returned as they are.

    Args:
        is_sent: the call was sent, as far as this process knows; what breaks then leaves open what became of it.
    """
    for known in (exc, exc.__cause__):
        if isinstance(known, HeadraceError):
            return known
    cause = _cause_of(exc)
    if _is_answer(cause):
        return _read_answer(cause)
    is_of_line = isinstance(cause, theirs.ConnectionError | theirs.TimeoutError | OSError)
    error = _unreached(exc) if is_of_line else _broken(cause)
    if is_sent:
        error.mark_may_be_done("the call was sent, and whether the server has carried it out is not known")
    return error


def _is_answer(exc: BaseException) -> bool:
    """Tell whether the server has answered with the error; redis-py counts some answers as faults of the line."""
    answers = (theirs.ResponseError, theirs.AuthenticationError, theirs.AuthorizationError, theirs.BusyLoadingError)
    return isinstance(exc, answers) or (isinstance(exc, theirs.ConnectionError) and _TOO_MANY_CLIENTS in str(exc))


def _read_answer(exc: BaseException) -> HeadraceError:
    """Return our error for what the server has answered."""
    if (exhausted := _EXHAUSTED.search(str(exc))) is not None:
        return StreamExhausted(
            f"the stream {exhausted[1] or 'that this writes to'} takes no entry any more: something else has "
            "written the last entry id that there is; docs/operations.md says how it is mended"
        )
    code = code_of(exc)
    if code == "NOSCRIPT":
        return ScriptMissing(str(exc))
    if code in _WAITS:
        return ServerNotReady(code, f"the server can't do this at the moment ({code}): {exc}{_HINTS.get(code, '')}")
    if code == "OOM":
        return ServerFull(
            "the server is at its maxmemory and took nothing of this call; let workers drain it, or raise maxmemory"
        )
    if code == "NOPERM":
        return PermissionMissing(f"the server's user may not do this: {exc}; deploy/acl lists the rights it needs")
    if code == "WRONGPASS":
        return AuthenticationFailed(f"the server does not take the user and password of the URL: {exc}")
    if code == "WRONGTYPE":
        return ServerError(
            f"a key of this namespace has a type that Headrace did not give it: {exc}; "
            "some other program writes here, so use another namespace or database"
        )
    return _refusal(exc)


def _refusal(exc: BaseException) -> ServerError:
    if isinstance(exc, theirs.AskError):
        return Redirected(exc.slot_id, exc.host, exc.port, is_ask=not isinstance(exc, theirs.MovedError))
    if "unknown command" in str(exc).lower():
        return UnsupportedServer(f"the server lacks a command; Headrace needs Redis >= 6.2 or Valkey >= 7.2: {exc}")
    return ServerError(f"the server refused: {exc}")


def _unreached(exc: BaseException) -> ServerUnreachable:
    limit = _own_limit(exc)
    if limit is not None:
        return ServerUnreachable(f"this process can't open another connection: {limit.strerror}")
    refused = _CERTIFICATE.search(str(exc))
    if refused is None:
        return ServerUnreachable(f"the server can't be reached, or the line was cut: {str(exc) or 'no reply in time'}")
    return ServerUnreachable(
        f"the server's certificate is not accepted: {refused[1]}; "
        "ssl_ca_certs= in the URL names the file of the authority that has signed it"
    )


def _own_limit(exc: BaseException) -> OSError | None:
    """Return the system's word for a limit that this process has reached."""
    for each in (exc, exc.__cause__, exc.__context__):
        if isinstance(each, OSError) and each.errno in _LIMITS:
            return each
    return None


def _broken(exc: BaseException) -> CallError:
    """Return our error for what is neither the server's answer nor a fault of the line."""
    if isinstance(exc, theirs.InvalidResponse):
        return UnsupportedServer(f"what answers there does not speak the protocol of Redis: {exc}")
    return CallBroken(f"the call broke off in this process, at {type(exc).__name__}: {exc}")
