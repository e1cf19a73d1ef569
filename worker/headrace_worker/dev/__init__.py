"""`headrace dev` and its server; not for production.

Here: a server that starts and ends with a process, and reload on change.
Not here: what workers need.
Imports: logs, process, tasks.
"""
