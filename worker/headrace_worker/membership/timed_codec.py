"""Times the calls of an app's codec, which hold up the event loop, and warns of slow ones."""

from __future__ import annotations

from headrace import PayloadCodec
from headrace_worker.clock import monotonic
from headrace_worker.logs.logger import get_logger

log = get_logger("headrace.codec")

SLOW_S = 0.1
_WARN_EVERY_S = 60.0


class TimedCodec:
    """An app's codec, and whether it is slow.

    Attributes:
        is_slow: the last call was slow, so the event loop should turn before the next one.
    """

    def __init__(self, codec: PayloadCodec) -> None:
        self._codec = codec
        self._warned_at: float | None = None
        self.is_slow = False

    def encode(self, data: bytes, bound_to: bytes, /) -> bytes:
        """Return what the codec does."""
        began_at = monotonic()
        try:
            return self._codec.encode(data, bound_to)
        finally:
            self._record("encode", monotonic() - began_at)

    def decode(self, data: bytes, bound_to: bytes, /) -> bytes:
        """Return what the codec does."""
        began_at = monotonic()
        try:
            return self._codec.decode(data, bound_to)
        finally:
            self._record("decode", monotonic() - began_at)

    def _record(self, call: str, took_s: float) -> None:
        self.is_slow = took_s > SLOW_S
        now = monotonic()
        if not self.is_slow or (self._warned_at is not None and now - self._warned_at < _WARN_EVERY_S):
            return
        self._warned_at = now
        name = type(self._codec).__name__
        line = f"the codec is slow, and nothing else goes on meanwhile: {name}.{call} took {took_s:.1f} s"
        log.warning(
            line,
            codec=name, call=call, seconds=round(took_s, 3),
        )  # fmt: skip
