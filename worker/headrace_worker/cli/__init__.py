"""The commands: each parses, calls the library, prints.

Here: options, output, errors in the user's words.
Not here: anything that another program could not call without a terminal.
Imports: app, dev, logs, metrics, operate, process, protocol, tasks, worker.
"""

from headrace_worker.cli.entry import main

__all__ = ["main"]
