"""The command `headrace`: its errors and exit codes, and the commands that run or describe an app, or send events.

Here: a command parses, calls the library, and prints.
Not here: anything that another program could not call without a terminal.
Imports: app, commands, dev, inspect, logs, metrics, operate, process, startup, tasks, terminal, worker.
"""

from headrace_worker.cli.entry import main

__all__ = ["main"]
