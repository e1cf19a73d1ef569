"""Carries calls to one server and brings their replies back: the only room that knows redis-py.

Here: connections, URLs, deadlines, waits and retries; the one place where errors of redis-py become ours.
Not here: what a call means, and which node of a cluster gets it.
Imports: calls.
"""
