"""What the author of an app writes: apps, jobs, triggers, filters, retries; and the routes made from them. Pure.

Here: definitions and their checks.
Not here: their execution.
Imports: no other room.
"""
