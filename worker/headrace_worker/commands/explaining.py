"""Prints which jobs get an event, and why the others do not: for an event that was sent, and before it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from headrace import DamagedEntry
from headrace_worker.inspect.explanation import Answer, Explanation
from headrace_worker.terminal.controls import note_paused
from headrace_worker.terminal.output import brief_value, print_json, print_note, print_table, printable, shown

_WORDS = {"matches": "yes", "fails": "no", "disabled": "no", "unknown": "unknown"}
_STATES = {
    "delayed": "it is delayed: routes may be others when it is due",
    "pending": "it is pending: no worker has dispatched it yet",
    "canceled": "it is canceled: no job gets it",
}


def print_explanation(said: Explanation, *, all_jobs: bool, as_json: bool) -> bool:
    """Print what was explained; return whether a job gets the event.

    Args:
        all_jobs: for people, list jobs that subscribe to other names as well.
    """
    if as_json:
        print_json(_document(said))
    else:
        _print(said, all_jobs=all_jobs)
    return any(each.verdict in ("matches", "unknown") for each in said.answers) and said.status != "canceled"


def _document(said: Explanation) -> dict[str, Any]:
    """Return the explanation with values of the payload cut short, as text."""
    fields = msgspec.structs.asdict(said)
    fields["answers"] = [msgspec.structs.replace(each, failure=_cut(each)) for each in said.answers]
    return fields


def _cut(answer: Answer) -> Any:
    failure = answer.failure
    if failure is None or failure.is_missing:
        return failure
    return msgspec.structs.replace(failure, found=brief_value(failure.found))


def _print(said: Explanation, *, all_jobs: bool) -> None:
    named = [each for each in said.answers if not _is_elsewhere(each)]
    listed = said.answers if all_jobs else named
    if listed:
        rows = sorted(listed, key=lambda each: (each.verdict == "fails", _is_elsewhere(each)))
        print_table(("job", "gets it", "why"), ((each.job, _WORDS[each.verdict], _why(each, said)) for each in rows))
        if said.earlier:
            print_note(_earlier(said))
    elif said.to_job is not None:
        click.echo(f"it is for job {printable(said.to_job)} alone, which is not registered{_hint(said)}")
    else:
        click.echo(f"no job subscribes to {said.name!r}{_hint(said)}")
    if said.to_job is not None and listed:
        print_note(f"it is for job {said.to_job} alone, whatever the triggers say")
    elif count := len(said.answers) - len(listed):
        jobs = "1 job subscribes" if count == 1 else f"{count} jobs subscribe"
        print_note(f"{jobs} to other events; --json lists them")
    if said.sealed is not None:
        print_note(f"its contents can't be opened here, so filters are not tried: {said.sealed}")
    if said.status in _STATES:
        print_note(_STATES[said.status])
    getting = [each.controls for each in said.answers if each.verdict in ("matches", "unknown")]
    note_paused({each.queue: each for each in getting}.values())
    print_damaged(said.damaged)


def _is_elsewhere(answer: Answer) -> bool:
    return answer.failure is not None and answer.failure.condition in ("name", "job")


def _earlier(said: Explanation) -> str:
    return f"an earlier release had {', '.join(map(printable, said.earlier))} for it: headrace app routes"


def _hint(said: Explanation) -> str:
    """Return what was there, or may be meant, of a name that no job has."""
    if said.earlier:
        return f"; {_earlier(said)}"
    return f"; did you mean {' or '.join(map(printable, said.near_names))}?" if said.near_names else ""


def _why(answer: Answer, said: Explanation) -> str:
    failure = answer.failure
    parts = []
    if failure is not None:
        found = "missing" if failure.is_missing else brief_value(failure.found)
        parts.append(f"{failure.path} is {found}, wanted {failure.wanted}")
    if answer.disabled is not None:
        reason = f": {answer.disabled.reason}" if answer.disabled.reason else ""
        parts.append(f"disabled since {shown(answer.disabled.since)}{reason}")
    if answer.verdict == "unknown":
        parts.append("filters are not tried")
    if failure is None and not answer.has_worker:
        parts.append("no live worker has the job")
    if answer.run is not None:
        parts.append(f"its run is {answer.run}")
    elif answer.verdict == "matches" and said.status in ("dispatched", "settled"):
        parts.append("no run: it did not match when the event was dispatched")
    return "; ".join(parts) or "-"


def print_damaged(damaged: Sequence[DamagedEntry]) -> None:
    """Name routes that can't be read, on standard error."""
    for each in damaged:
        print_note(f"app {each.id}, {each.error}")
