"""Says which partition of its namespace an event belongs to, and has the keys of each. Pure."""

from __future__ import annotations

from binascii import crc_hqx

from headrace.errors import ConfigurationError
from headrace.formats.keys import Keys

MAX_PARTITIONS = 1_024


def check_partitions(count: object) -> int:
    """Return the number of partitions, or raise ConfigurationError that says its rule."""
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_PARTITIONS:
        raise ConfigurationError(f"partitions must be a whole number from 1 to {MAX_PARTITIONS:,}, not {count!r}")
    return count


class Partitions:
    """The partitions of a namespace: one slot of a Redis Cluster each, with keys of its own.

    Attributes:
        all: the keys of each partition, by its number.
        first: those of partition 0, where the namespace keeps how many there are.
    """

    def __init__(self, namespace: str, count: int = 1) -> None:
        self.namespace = namespace
        self.all = tuple(Keys(namespace, number) for number in range(check_partitions(count)))
        self.first = self.all[0]

    def __len__(self) -> int:
        return len(self.all)

    def of(self, text: str) -> Keys:
        """Return the keys of the partition of an ordering key or, for an event that has none, of its id."""
        if len(self.all) == 1:
            return self.first
        return self.all[crc_hqx(text.encode("utf-8", "surrogatepass"), 0) % len(self.all)]

    def part_of(self, limit: int, keys: Keys) -> int:
        """Return a partition's part of a limit that holds for all of them together."""
        return limit // len(self.all) + (keys.partition < limit % len(self.all))

    def but(self, keys: Keys) -> list[Keys]:
        """Return the keys of all partitions but one."""
        return [each for each in self.all if each is not keys]
