"""Measures Headrace beside its peers and its limit, and alone: `make bench`, `make bench-headrace`.

The runner (`cli`) lives in one environment, each peer in one of its own: see `environments`. What runs in a peer's
environment is `side`, `tally` and the peer's module in `peers`, and nothing else of this package.
"""
