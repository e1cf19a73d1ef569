"""What is tried before a worker starts: the server, its rights, its scripts.

Here: checks that refuse a start by name, where a run would fail later.
Not here: the start itself.
Imports: app, logs, membership, protocol.
"""
