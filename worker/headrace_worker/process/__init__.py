"""The operating system's process of a worker, and the process that watches several.

Here: what a process loads, logs and obeys, its children, and its exit.
Not here: what a worker does.
Imports: app, logs, protocol, startup, tasks, worker.
"""
