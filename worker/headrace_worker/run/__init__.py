"""From a run to its outcome: fetch, execute, settle.

Here: what a run's function receives, and the outcome of the run.
Not here: which runs there are.
Imports: app, logs, membership, protocol, streams, tasks.
"""
