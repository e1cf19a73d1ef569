"""For tests of jobs: stand-ins for `io` and `ctx`, one attempt without a server, and everything on a real server.

Here: what a test calls, and what a failing test prints.
Not here: what a worker does; jobs are executed as in production.
Imports: app, dev, logs, membership, protocol, run, tasks, worker.
"""

from headrace_worker.dev.embedded import EmbeddedServer, EmbeddedServerFailed
from headrace_worker.testing.attempt import Attempt, AttemptOptions, acall_job, call_job
from headrace_worker.testing.examples import examples
from headrace_worker.testing.fakes import FakeIO, Sent, SyncFakeIO, a_context, a_run
from headrace_worker.testing.kit import Headrace, RunFailed, Runs, SyncHeadrace
from headrace_worker.testing.settling import NotSettled, run_until_settled

__all__ = [
    "Attempt",
    "AttemptOptions",
    "EmbeddedServer",
    "EmbeddedServerFailed",
    "FakeIO",
    "Headrace",
    "NotSettled",
    "RunFailed",
    "Runs",
    "Sent",
    "SyncFakeIO",
    "SyncHeadrace",
    "a_context",
    "a_run",
    "acall_job",
    "call_job",
    "examples",
    "run_until_settled",
]
