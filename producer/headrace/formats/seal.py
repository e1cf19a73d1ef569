"""Seals what senders and jobs put into events and runs, with a codec that the application gives, and opens it again.

Sealed are an event's payload and context, and a run's error and output. Ids, names, sources, accounts, times and states
stay readable: dispatch and listings go by them. It must not know how anything is stored.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

import msgspec

from headrace.errors import ConfigurationError, SealedEvent

NO_CODEC = (
    "it was sealed by a codec and this process has none; give it the same one (codec=…, on the command line --codec)"
)


class PayloadCodec(Protocol):
    """Makes bytes that others can't read, and reads them again: encryption, say.

    Both methods may be called from several threads at once, and from the event loop, so they must not wait for
    anything. What they raise is reported as the failure of the send, or of the run's attempt.
    """

    def encode(self, data: bytes, bound_to: bytes, /) -> bytes:
        """Return the bytes that are stored for `data`.

        Args:
            data: a payload, context or outcome as msgpack.
            bound_to: what it belongs to: namespace, event and part. It is not stored, and the same is given to
                `decode`; encryption takes it as associated data, so that nothing opens in another's place.
        """
        ...

    def decode(self, data: bytes, bound_to: bytes, /) -> bytes:
        """Return what `encode` was given; raise for bytes that are not from `encode` or are bound to something else."""
        ...


class Seal:
    """A codec at work in one namespace."""

    def __init__(self, codec: PayloadCodec, namespace: str) -> None:
        self._codec = check_codec(codec)
        self._namespace = namespace

    @classmethod
    def of(cls, codec: PayloadCodec | None, namespace: str) -> Self | None:
        """Return the seal of a codec; None where there is none."""
        return None if codec is None else cls(codec, namespace)

    def close(self, data: bytes, *owner: str | None) -> bytes:
        """Return the data sealed; raise whatever the codec does.

        Args:
            owner: what it belongs to; the same must be given to open it.
        """
        sealed: object = self._codec.encode(data, self._bond(owner))
        if not isinstance(sealed, bytes):
            raise TypeError(f"the codec's encode returned {type(sealed).__name__}, not bytes")
        if not sealed:
            raise ValueError("the codec's encode returned no bytes at all, from which nothing could be read again")
        return sealed

    def open(self, sealed: bytes, *owner: str | None) -> bytes:
        """Return the data that was sealed; raise SealedEvent where the codec does not."""
        try:
            data: object = self._codec.decode(sealed, self._bond(owner))
        except BaseException as exc:  # the application's codec may raise anything, and loops of a worker call it
            raise SealedEvent(f"the codec could not open it: {_described(exc)}") from exc
        if not isinstance(data, bytes):
            raise SealedEvent(f"the codec's decode returned {type(data).__name__}, not bytes")
        return data

    def _bond(self, owner: tuple[str | None, ...]) -> bytes:
        return msgspec.msgpack.encode((self._namespace, *owner))


def _described(exc: BaseException) -> str:
    try:
        return f"{type(exc).__name__}: {exc}"
    except BaseException:  # noqa: BLE001 - the exception's own code may raise as well
        return "it raised what can't be described"


def check_codec(codec: Any) -> PayloadCodec:
    """Return the codec, or raise ConfigurationError where it is none."""
    methods = [getattr(codec, name, None) for name in ("encode", "decode")]
    if isinstance(codec, type) or not all(map(callable, methods)):
        raise ConfigurationError(
            f"codec must be an object with encode(data, bound_to) and decode(data, bound_to), not {codec!r}"
        )
    checked: PayloadCodec = codec
    return checked
