"""Code as users write it, over the whole public interface, with the types that checkers have to find in it.

Nothing here is executed. `python -m tests.typing` gives it to mypy and basedpyright, both strict: `assert_type` says what
a call gives, and `# type: ignore[…]  # pyright: ignore[…]` stands at a mistake that both have to report.
"""
