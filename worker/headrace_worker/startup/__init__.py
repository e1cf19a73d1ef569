"""What is checked before a worker starts: the server, the worker's rights, each script.

Here: checks that refuse a start and name what is missing, so that no run fails later.
Not here: the start itself.
Imports: app, logs, membership, protocol.
"""
