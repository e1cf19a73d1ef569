"""What an operator changes in a namespace, beyond the methods of every client.

Here: what needs the rights of a worker, as plans and the clients that run them; what goes through many dead letters.
Not here: how a command asks for it and prints what it did.
Imports: app, doctor, inspect, protocol.
"""
