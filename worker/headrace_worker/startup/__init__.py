"""What happens before a worker takes runs: the server, its rights and each script are checked, the lifespan is entered.

Here: checks that refuse a start and name what is missing, so that no run fails later; the check of an app's definition;
what the app opens and closes.
Not here: the start itself.
Imports: app, logs, membership, protocol, tasks.
"""
