"""Who a worker is, what it holds, and whether it lives.

Here: what all loops of a worker share, what runs them, and what judges them before the lease is renewed.
Not here: what the loops do.
Imports: app, logs, protocol, tasks.
"""
