"""The duties of the one leader: due times, dead workers, what was kept long enough.

Here: loops that work while this worker leads.
Not here: who leads: that is in the lease.
Imports: logs, membership, protocol, streams.
"""
