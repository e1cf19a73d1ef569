"""Carries calls to one server and brings their replies back: the only room that knows redis-py.

Here: connections, URLs, deadlines and retries, and the one place where errors of redis-py and the system become ours.
Not here: what a call means, and which node of a cluster gets it.
Imports: calls.
"""
