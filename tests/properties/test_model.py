"""Whatever happens in a namespace, in whatever order, the server holds what the model says, and all of it drains."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from headrace_worker.dev.embedded import EmbeddedServer
from tests.properties.model.machine import Machine

_PHASES = [phase for phase in Phase if phase is not Phase.shrink or os.environ.get("HEADRACE_SHRINK")]
"""A failure is shown as it was found: to make it smaller takes minutes; HEADRACE_SHRINK=1 does it."""


def _run(server: EmbeddedServer, namespace: str, *, examples: int, steps: int) -> None:
    class OnServer(Machine):
        url = server.url
        namespace_name = namespace

    profile = settings(
        phases=_PHASES,
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(OnServer, settings=profile)


def test_the_server_holds_what_the_model_says(server: EmbeddedServer, namespace: str) -> None:
    """After every step, and nothing is open or left over once everything has drained."""
    _run(server, namespace, examples=150, steps=50)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_server_holds_what_the_model_says_for_long(server: EmbeddedServer, namespace: str) -> None:
    """The same with many more steps."""
    _run(server, namespace, examples=1_500, steps=60)
