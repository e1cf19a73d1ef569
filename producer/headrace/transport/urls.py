"""Reads the URL of a server, of a service that sentinels watch, or of a cluster, and says what is wrong with one.

Nothing is connected. What an error shows of a URL is without its secrets.
"""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from headrace.errors import ConfigurationError

SCHEMES = (
    "redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
)  # fmt: skip
SERVER_PORT = 6379
SENTINEL_PORT = 26379
_LONGEST_S = 3_600.0

Address = tuple[str, int]

_SENTINEL_OPTIONS = {"sentinel_username": "username", "sentinel_password": "password"}
_IGNORED = frozenset(
    {
        "protocol", "decode_responses", "encoding", "encoding_errors", "legacy_responses", "max_connections",
        "health_check_interval", "retry_on_timeout", "retry_on_error", "single_connection_client", "socket_read_size",
        "timeout",
    }
)  # fmt: skip
"""Options of redis-py's that would undo what Headrace needs: one URL can serve several programs of one application."""
_VERSIONS = {"tlsv1.2": ssl.TLSVersion.TLSv1_2, "tlsv1.3": ssl.TLSVersion.TLSv1_3}
_SWITCH = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}


class Target(msgspec.Struct, frozen=True):
    """What a URL says.

    Attributes:
        scheme: one of SCHEMES.
        hosts: the server, the sentinels, or some nodes of the cluster; none of a Unix socket.
        options: those of a connection, as redis-py names them, user, password, database and path among them.
        service: the name under which sentinels watch the service.
        sentinel_login: user and password for the sentinels, as redis-py names them.
    """

    scheme: str
    hosts: tuple[Address, ...]
    options: dict[str, Any]
    service: str = ""
    sentinel_login: dict[str, str] = {}

    @property
    def is_tls(self) -> bool:
        """Connections speak TLS."""
        return self.scheme.startswith("rediss")

    @property
    def is_unix(self) -> bool:
        """The server listens on a Unix socket."""
        return self.scheme == "unix"

    @property
    def is_cluster(self) -> bool:
        """The hosts are nodes of a cluster."""
        return self.scheme.endswith("+cluster")

    @property
    def is_watched(self) -> bool:
        """The hosts are sentinels."""
        return self.scheme.endswith("+sentinel")

    def at(self, host: Address) -> Target:
        """Return what is said of one node of the cluster."""
        return msgspec.structs.replace(self, scheme="rediss" if self.is_tls else "redis", hosts=(host,))


class _Fault(ValueError):
    """What is wrong with a URL; `quoted` are the parts of it that the message shows."""

    def __init__(self, message: str, *quoted: str) -> None:
        self.quoted = quoted
        super().__init__(message)


def read_url(url: object) -> Target:
    """Return what the URL says; raise ConfigurationError that says what is wrong with it."""
    if not isinstance(url, str):
        raise ConfigurationError(f"url must be a text such as 'redis://host:6379/0', not {type(url).__name__}")
    try:
        return _read(url)
    except _Fault as fault:
        # Without its cause, which repeats parts of the URL: where a password is not encoded, parts of that.
        reason = _reason(url, fault)
    raise ConfigurationError(f"{without_secrets(url)!r} is no URL of a server: {reason}")


def without_secrets(url: str) -> str:
    """Return the URL as it may be shown."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"//.*@", "//***@", url))


def _reason(url: str, fault: _Fault) -> str:
    """Return what is wrong with a URL, without anything of its user and password."""
    secret = url.partition("//")[2].rpartition("@")[0] + "".join(re.findall(r"password=([^&]*)", url))
    words = re.split(r"[^A-Za-z0-9]+", secret)
    if any(word and word in part for word in words for part in fault.quoted):
        return "a special character in its user or password must be percent-encoded, '/' as %2F"
    return str(fault)


def _read(url: str) -> Target:
    scheme, mark, rest = url.partition("://")
    scheme = scheme.lower()
    if not mark or scheme not in SCHEMES:
        raise _Fault(f"it must begin with one of {', '.join(f'{each}://' for each in SCHEMES)}")
    if "#" in rest:
        raise _Fault("a '#' in it must be percent-encoded, as %23")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    named = {"username": unquote(user), "password": unquote(password)}
    options: dict[str, Any] = {name: value for name, value in named.items() if value}
    service, database = _read_path(scheme, hosts, path, options)
    if database:
        options["db"] = int(database)
    login: dict[str, str] = {}
    for name, value in _read_query(query, scheme):
        if name in _SENTINEL_OPTIONS:
            login[_SENTINEL_OPTIONS[name]] = value
        elif options.setdefault(name, value) != value:
            raise _Fault(f"it says {name} twice")
    if scheme.endswith("+cluster") and options.get("db"):
        raise _Fault("a cluster has database 0 only")
    _check_tls(options)
    return Target(scheme, _read_hosts(scheme, hosts), options, service, login)


def _read_path(scheme: str, hosts: str, path: str, options: dict[str, Any]) -> tuple[str, str]:
    """Return the service and the number of the database; the path of a Unix socket is among the options then."""
    if scheme == "unix":
        if hosts or not path:
            raise _Fault("a socket's path begins with the third slash, as in unix:///run/server.sock", hosts)
        options["path"] = unquote(f"/{path}")
        return "", ""
    service, database = "", path
    if scheme.endswith("+sentinel"):
        service, _, database = path.partition("/")
        if not service:
            raise _Fault("it names no service, as in redis+sentinel://host:26379/service/0")
    if not re.fullmatch(r"[0-9]{0,9}", database):
        raise _Fault(f"{database!r} is no number of a database", database)
    return unquote(service), database


def _read_hosts(scheme: str, hosts: str) -> tuple[Address, ...]:
    if scheme == "unix":
        return ()
    default = SENTINEL_PORT if scheme.endswith("+sentinel") else SERVER_PORT
    if "+" in scheme:
        return tuple(_read_host(host, default) for host in hosts.split(","))
    if "," in hosts:
        raise _Fault("several hosts are those of redis+sentinel:// or redis+cluster://", hosts)
    return (_read_host(hosts or "localhost", default),)


def _read_host(text: str, default: int) -> Address:
    found = re.fullmatch(r"(?:\[([^\[\]]+)\]|([^\[\]:\s]*))(?::([0-9]{0,5}))?", text)
    if found is None or not 0 < int(found[3] or default) < 65_536:
        raise _Fault(f"{text!r} is no host with a port from 1 to 65535; an IPv6 address has brackets", text)
    host = unquote(found[1] or found[2])
    if not host:
        raise _Fault("a host is missing, as in redis+sentinel://host:26379,other:26379/service")
    return host, int(found[3] or default)


def _read_query(query: str, scheme: str) -> list[tuple[str, Any]]:
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name in _IGNORED:
            continue
        if name in found:
            raise _Fault(f"it says {name!r} twice", name)
        found[name] = _read_option(name, text, scheme)
    return list(found.items())


def _read_option(name: str, text: str, scheme: str) -> Any:
    if name in _SENTINEL_OPTIONS and not scheme.endswith("+sentinel"):
        raise _Fault(f"{name} is an option of redis+sentinel:// and rediss+sentinel:// only")
    if name not in _OPTIONS:
        raise _Fault(f"it has no option {name!r}; the options are {', '.join(sorted(_OPTIONS))}", name)
    if name.startswith("ssl_") and not scheme.startswith("rediss"):
        raise _Fault(f"{name} needs TLS, which rediss:// asks for, rediss+sentinel:// and rediss+cluster://")
    read, rule = _OPTIONS[name]
    value = read(text)
    if value is None:
        raise _Fault(f"{name} must be {rule}" + ("" if "password" in name else f", not {text!r}"), text)
    return value


def _as_text(text: str) -> str | None:
    return text or None


def _as_word(text: str) -> str | None:
    return text if text.isascii() and text.isprintable() and text and " " not in text else None


def _as_number(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def _as_seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 < seconds <= _LONGEST_S else None


def _as_demand(text: str) -> str | None:
    word = text.lower().removeprefix("cert_")
    return word if word in ("none", "optional", "required") else None


_TEXT: tuple[Callable[[str], Any], str] = (_as_text, "a text that is not empty")
_SECONDS = (_as_seconds, f"seconds, above 0 and at most {_LONGEST_S:g}")
_YES_OR_NO = (lambda text: _SWITCH.get(text.lower()), "yes or no")

_OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "client_name": (_as_word, "a name without blanks"),
    "db": (_as_number, "the number of a database"),
    "password": _TEXT,
    "sentinel_password": _TEXT,
    "sentinel_username": _TEXT,
    "socket_connect_timeout": _SECONDS,
    "socket_keepalive": _YES_OR_NO,
    "socket_timeout": _SECONDS,
    "ssl_ca_certs": _TEXT,
    "ssl_ca_data": _TEXT,
    "ssl_ca_path": _TEXT,
    "ssl_cert_reqs": (_as_demand, "none, optional or required, as in ssl_cert_reqs=none"),
    "ssl_certfile": _TEXT,
    "ssl_check_hostname": _YES_OR_NO,
    "ssl_ciphers": _TEXT,
    "ssl_keyfile": _TEXT,
    "ssl_min_version": (lambda text: _VERSIONS.get(text.lower()), "TLSv1.2 or TLSv1.3"),
    "ssl_password": _TEXT,
    "username": _TEXT,
}
"""How each option is read, None for what it can't be, and the rule that an error says."""


def _check_tls(options: dict[str, Any]) -> None:
    """Try the files and ciphers out: with bad ones a connection would be tried again and again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = {"ssl_ca_certs": "cafile", "ssl_ca_path": "capath", "ssl_ca_data": "cadata"}
    for name, argument in authorities.items():
        if name in options:
            use = partial(context.load_verify_locations, **{argument: options[name]})
            _try_tls(name, options[name], use)
    if "ssl_ciphers" in options:
        _try_tls("ssl_ciphers", options["ssl_ciphers"], lambda: context.set_ciphers(options["ssl_ciphers"]))
    if "ssl_certfile" in options:
        files = (options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password"))
        _try_tls("ssl_certfile", options["ssl_certfile"], lambda: context.load_cert_chain(*files))


def _try_tls(name: str, value: str, use: Callable[[], object]) -> None:
    try:
        use()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise _Fault(f"{name} can't be used: {reason}: {value!r}", value) from exc
