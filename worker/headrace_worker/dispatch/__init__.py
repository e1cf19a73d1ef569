"""From an event to its runs.

Here: matching events against the routes, and the order of their keys.
Not here: anything of a run's function.
Imports: app, logs, membership, protocol, streams, tasks.
"""
