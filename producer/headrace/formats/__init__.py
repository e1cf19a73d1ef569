"""How things are stored in Redis: names of keys, bytes of events and records, seals. Pure.

Here: what a worker of another version has to read.
Not here: commands of the server.
Imports: model.
"""
