"""What an operator changes in a namespace as a worker could, beyond what every client may.

Here: plans, one module a verb, the values that they return, and the client that runs them.
Not here: the commands, and what a producer may do too: that is the client's own.
Imports: app, errors, protocol.
"""
