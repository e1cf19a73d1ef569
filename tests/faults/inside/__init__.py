"""Faults from inside: each function of a worker's process raises or never returns, in turn, and its promise is held.

A worker either works, or ends and lets go. The places are found in the code, so a new one is tried by itself.
Faults of the server and of the network are injected elsewhere in `tests.faults`.
"""
