"""Codecs for tests: a keyed one made of the standard library, and one that fails. Neither is encryption for use."""

from __future__ import annotations

import hashlib
import hmac


class WrongKey(Exception):
    """The bytes are not of this key, or are bound to something else."""


class Scrambler:
    """Hide what it gets, and open only what has its own tag over the data and over what that is bound to."""

    def __init__(self, key: bytes = b"the key") -> None:
        self._key = key

    def encode(self, data: bytes, bound_to: bytes) -> bytes:
        return self._tag(data, bound_to) + self._scramble(data)

    def decode(self, data: bytes, bound_to: bytes) -> bytes:
        opened = self._scramble(data[16:])
        if not hmac.compare_digest(data[:16], self._tag(opened, bound_to)):
            raise WrongKey("not sealed here")
        return opened

    def _tag(self, data: bytes, bound_to: bytes) -> bytes:
        return hashlib.blake2b(bound_to + b"\0" + data, key=self._key, digest_size=16).digest()

    def _scramble(self, data: bytes) -> bytes:
        stream = hashlib.shake_256(self._key).digest(len(data))
        return (int.from_bytes(data) ^ int.from_bytes(stream)).to_bytes(len(data))


class Broken(Scrambler):
    """Open, but never seal."""

    def encode(self, data: bytes, bound_to: bytes) -> bytes:  # noqa: ARG002 - what a codec is given
        raise WrongKey("the key service is away")


SCRAMBLER = Scrambler()
