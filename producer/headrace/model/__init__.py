"""Plain values that users hold, and what they may be made of. Pure.

Here: events, records, ids, moments and payloads.
Not here: how they are stored.
Imports: no other room.
"""
