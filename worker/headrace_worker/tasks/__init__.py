"""Starts all that goes on by itself in a process: tasks, timers, callbacks, threads. Nothing else does.

Here: what becomes of them when they end, when a signal comes, or when the process is forked.
Not here: what they do.
Imports: logs.
"""
