"""What a worker brings into a partition, and what stays as it is for as long as the worker runs."""

from __future__ import annotations

import msgspec

from headrace import ConfigurationError
from headrace.formats.keys import Keys
from headrace.formats.partitions import Partitions
from headrace.formats.seal import Seal
from headrace_worker.app.app import App
from headrace_worker.app.job import Queue
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
        definitions: those of the queues, in the same order.
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
    definitions: tuple[Queue, ...]
    registration: Registration
    codec: TimedCodec | None
    seal: Seal | None

    @classmethod
    def of(cls, app: App, partitions: Partitions, url: str, config: WorkerConfig, *, partition: int = 0) -> WorkerSetup:
        """Return what this app and these settings mean in one of the partitions.

        Raises:
            ConfigurationError: a queue's concurrency is less than the number of partitions.
        """
        keys = partitions.all[partition]
        names = config.queues if config.queues is not None else app.queues
        queues = tuple(reading.queue_stream(keys, app.name, name) for name in names)
        definitions = tuple(_checked(app.queue(name), partitions) for name in names)
        registration = Registration.of(app, names)
        codec = None if app.codec is None else TimedCodec(app.codec)
        seal = Seal.of(codec, keys.namespace)
        return cls(app, config, url, partitions, keys, queues, definitions, registration, codec, seal)

    def limit_of(self, definition: Queue) -> int:
        """Return how many runs of a queue may be in flight in this partition; 0 for any number."""
        return self.partitions.part_of(definition.concurrency, self.keys) if definition.concurrency else 0

    @property
    def block_ms(self) -> int:
        """How long a read of this worker waits at most."""
        return round(self.config.block_s * 1000)


def _checked(queue: Queue, partitions: Partitions) -> Queue:
    if queue.concurrency is not None and queue.concurrency < len(partitions):
        raise ConfigurationError(
            f"queue {queue.name!r} has concurrency={queue.concurrency}, which can't be divided among the "
            f"{len(partitions)} partitions of the namespace: each needs 1 or more"
        )
    return queue
