"""Certificates made for a test, and TLS in front of a server that has none."""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates; `path` is the file of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._build(self._name, self._key, timedelta(days=1), is_authority=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, valid_for: timedelta = timedelta(days=1)) -> Path:
        """Return a file with a certificate for 127.0.0.1 and its key; `valid_for` may be in the past."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._build(subject, key, valid_for, is_authority=False)
        path = self._folder / f"{name}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path

    def _build(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, valid_for: timedelta, *, is_authority: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + valid_for)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if is_authority:
            usage = x509.KeyUsage(
                digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
                decipher_only=False,
            )  # fmt: skip
            builder = builder.add_extension(usage, critical=True)
        else:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


class TlsFront:
    """Listens on a port of loopback with TLS, and passes what comes to a plain one.

    Args:
        clients_of: only clients with a certificate of this authority are let in.
    """

    def __init__(self, port: int, certificate: Path, clients_of: Authority | None = None) -> None:
        self._target = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate)
        if clients_of is not None:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(clients_of.path)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: set[socket.socket] = set()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain = self._listener.accept()[0]
                threading.Thread(target=self._carry, args=(plain,), daemon=True).start()

    def _carry(self, plain: socket.socket) -> None:
        """Carry bytes both ways in one thread, as only one thread may use an SSL socket."""
        with plain, contextlib.suppress(OSError):
            client = self._context.wrap_socket(plain, server_side=True)
            with client, socket.create_connection(("127.0.0.1", self._target)) as server:
                self._sockets |= {client, server}
                for side in (client, server):
                    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                other: dict[socket.socket, socket.socket] = {client: server, server: client}
                while all(_pass_on(source, other[source]) for source in _wait_for_any(client, server)):
                    pass
                self._sockets -= {client, server}


def _wait_for_any(client: ssl.SSLSocket, server: socket.socket) -> list[socket.socket]:
    """Return the sides from which data has come; deciphered data is on no socket any more."""
    if client.pending():
        return [client]
    ready: list[socket.socket] = select.select([client, server], [], [])[0]
    return ready


def _pass_on(source: socket.socket, target: socket.socket) -> bool:
    """Forward what has come from one side; return False when that side has ended."""
    chunk = source.recv(65_536)
    target.sendall(chunk)
    return bool(chunk)
