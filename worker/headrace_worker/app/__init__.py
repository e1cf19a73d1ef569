"""What the author of an app writes: apps, jobs, triggers, filters, retries; and the routes that come of them. Pure.

Here: definitions and their checks.
Not here: what executes them.
Imports: no other room.
"""
