"""What a worker brings into a partition, and what stays as it is for as long as the worker runs."""

from __future__ import annotations

import msgspec

from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace_worker.app.app import App
from headrace_worker.config import WorkerConfig
from headrace_worker.membership.timed_codec import TimedCodec
from headrace_worker.protocol import reading
from headrace_worker.protocol.delivery import Stream
from headrace_worker.protocol.leases import Registration


class WorkerSetup(msgspec.Struct, frozen=True):
    """The app and the settings of a worker, and what follows from them in one partition.

    Attributes:
        partitions: all of the namespace's.
        keys: those of the partition.
        queues: the streams that this worker reads.
        registration: what the worker subscribes to, for the server.
        codec: the app's, timed; None if the app has none.
        seal: seals and opens with that codec.
    """

    app: App
    config: WorkerConfig
    url: str
    partitions: Partitions
    keys: Keys
    queues: tuple[Stream, ...]
    registration: Registration
    codec: TimedCodec | None
    seal: Seal | None

    @classmethod
    def of(cls, app: App, partitions: Partitions, url: str, config: WorkerConfig, *, partition: int = 0) -> WorkerSetup:
        """Return what this app and these settings mean in one of the partitions."""
        keys = partitions.all[partition]
        names = config.queues if config.queues is not None else app.queues
        queues = tuple(reading.queue_stream(keys, app.name, name) for name in names)
        registration = Registration.of(app, names)
        codec = None if app.codec is None else TimedCodec(app.codec)
        seal = Seal.of(codec, keys.namespace)
        return cls(app, config, url, partitions, keys, queues, registration, codec, seal)

    @property
    def block_ms(self) -> int:
        """How long a read of this worker waits at most."""
        return round(self.config.block_s * 1000)
