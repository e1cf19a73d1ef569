"""Carries calls to the nodes of a cluster, as `transport` does to one server.

Here: slots, the map of who serves them, and what becomes of calls while it changes.
Not here: what one connection does.
Imports: calls, transport.
"""
