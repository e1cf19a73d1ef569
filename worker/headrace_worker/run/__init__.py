"""From a run to its outcome: fetch, execute, settle.

Here: what a run's function is given, and what comes of it.
Not here: which runs there are.
Imports: app, logs, membership, protocol, streams, tasks.
"""
