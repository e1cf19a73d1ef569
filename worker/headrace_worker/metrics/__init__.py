"""Metrics for Prometheus, with the extra `metrics`.

Here: what is counted, how the counts are served, and how much waits on the server.
Not here: the steps that are counted.
Imports: app, inspect, logs, membership, protocol, run, tasks.
"""
