"""Chaos: real workers and producers under a seeded schedule of faults, and the checker of what they have made.

`python -m tests.faults.chaos --seed 7 --duration 300`, or `make chaos SEED=7 DURATION=300`.
"""
