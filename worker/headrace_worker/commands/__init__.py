"""The commands of who is on call: they look at events, runs, workers and queues, and act on them. One module a noun.

Here: a command parses, calls a method of the client, and prints.
Not here: what it does on the server.
Imports: app, doctor, inspect, operate, process, terminal.
"""
