"""Code as users write it, over the whole public interface, with the types that checkers have to find in it.

Nothing here is executed. `python -m tests.typing` gives it to mypy and basedpyright, both strict. `assert_type` says
what a call gives. At each mistake stands what has to be reported of it: `type: ignore[…]` by mypy, `pyright: ignore[…]`
by basedpyright. If it is not reported, the comment is unused, which is an error.
"""
