"""The operating system's process that a worker is, and the one that watches over several.

Here: what a process loads, logs and obeys, its children, and its exit.
Not here: what a worker does.
Imports: app, logs, protocol, tasks, worker.
"""
