"""The calls of a worker to the server, and the meaning of entries and answers. Pure.

Here: one module for each duty: its calls, and the readers of their replies.
Not here: when to call.
Imports: app.
"""
