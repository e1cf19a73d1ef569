"""`python -m headrace_worker.cli` is `headrace`."""

from headrace_worker.cli import main

main(prog_name="headrace")
