"""How the loops read streams, what a worker hears at once, and what becomes of an entry without an outcome.

Here: blocking reads, the one subscription, canceled runs, whose turn it is among several queues, pending entries,
payloads beside their entries, entries re-queued or dead-lettered.
Not here: what the entries are read for.
Imports: logs, membership, protocol, tasks.
"""
