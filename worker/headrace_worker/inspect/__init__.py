"""What an operator sees of a namespace: for the exporter of metrics, for commands and for pages. Pure.

Here: plans, which yield calls and receive their results, and the values that they return.
Not here: how a value is shown, or when it is read.
Imports: app, protocol.
"""
