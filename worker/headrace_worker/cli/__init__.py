"""The command line: commands parse, call the library and print. `main` is the entry point `headrace`."""

from headrace_worker.cli.root import root as main

__all__ = ["main"]
