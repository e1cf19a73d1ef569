"""Starts all tasks, timers, callbacks and threads of a process. No other room starts any.

Here: what becomes of them when they end, when a signal comes, or when the process is forked.
Not here: what they do.
Imports: logs.
"""
