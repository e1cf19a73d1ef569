"""The duties of the one leader: due times, dead workers, the end of retention.

Here: loops that work while this worker leads.
Not here: which worker leads: the lease knows.
Imports: logs, membership, protocol, streams.
"""
