"""The command line: commands parse, call the library and print. `main` is the entry point `headrace`."""

from headrace_worker.cli.entry import main

__all__ = ["main"]
