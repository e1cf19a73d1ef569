"""A codec that encrypts payloads with AES-GCM, under keys that can be rotated."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class AesGcm:
    """Seals with the first of its keys and opens with any of them.

    What is stored is: length of the key's id, the id, a random nonce, the ciphertext with its tag.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """The codec is ready; `keys` are of 16, 24 or 32 bytes, by their ids, the newest first."""
        self._ciphers = {key_id.encode(): AESGCM(key) for key_id, key in keys.items()}
        self._newest = next(iter(self._ciphers))

    @classmethod
    def from_environment(cls) -> AesGcm:
        """Read SEALING_KEYS: `<id>:<key in base64>`, several with commas between them, the newest first."""
        pairs = (each.split(":") for each in os.environ["SEALING_KEYS"].split(","))
        return cls({key_id: base64.b64decode(key) for key_id, key in pairs})

    def encode(self, data: bytes, bound_to: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self._newest].encrypt(nonce, data, bound_to)
        return bytes([len(self._newest)]) + self._newest + nonce + sealed

    def decode(self, data: bytes, bound_to: bytes) -> bytes:
        key_id, rest = data[1 : 1 + data[0]], data[1 + data[0] :]
        if key_id not in self._ciphers:
            raise KeyError(f"it was sealed with key {key_id.decode(errors='replace')!r}, which is not among ours")
        return self._ciphers[key_id].decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], bound_to)


codec = AesGcm.from_environment()
