"""Retries the runs of dead letters: many at once; a failure does not hold up the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from headrace import Client, HeadraceError, RunRecord

_PAGE = 200


class Retried(msgspec.Struct, frozen=True):
    """The result for one dead letter: `run` is queued again, or `error` says why it is not."""

    id: str
    run: RunRecord | None = None
    error: HeadraceError | None = None


class NoRun(HeadraceError):
    """The dead letter holds an entry that could not be read, so there is no run to retry."""

    def __init__(self, entry_id: str, reason: str) -> None:
        self.entry_id = entry_id
        super().__init__(f"dead letter {entry_id!r} ({reason}) belongs to no run, so nothing can be retried")


class Letter(msgspec.Struct, frozen=True, gc=False):
    """What a retry needs of a dead letter, without the contents."""

    id: str
    run_id: str | None
    reason: str
    job: str | None


class NoLetters(HeadraceError):
    """No dead letter is of the job that was named; the message names those that have some."""

    def __init__(self, job: str, jobs: Iterable[str]) -> None:
        self.job = job
        self.jobs = sorted(jobs)
        others = f"; there are some of {', '.join(self.jobs)}" if self.jobs else ", nor of any other"
        super().__init__(f"there is no dead letter of job {job!r}{others}")


def letters_of(client: Client, job: str) -> Sequence[Letter]:
    """Return the dead letters of a job, `<app>/<job id>`, as `all_letters` does.

    Raises:
        NoLetters: there is none.
    """
    letters = all_letters(client)
    chosen = [letter for letter in letters if letter.job == job]
    if not chosen:
        raise NoLetters(job, {letter.job for letter in letters if letter.job is not None})
    return chosen


def all_letters(client: Client) -> Sequence[Letter]:
    """Return every present dead letter, oldest first.

    So runs of an ordering key begin again in the order in which they failed. All letters are read before the first
    retry: a run that fails once more meanwhile has a new letter, which is not among them.
    """
    letters: list[Letter] = []
    cursor: str | None = None
    while True:
        page = client.list_dead_letters(cursor=cursor, limit=_PAGE)
        letters += [Letter(each.id, each.run_id, each.reason, each.job) for each in page.items]
        cursor = page.cursor
        if cursor is None:
            letters.reverse()
            return letters


def retry_ids(client: Client, ids: Iterable[str]) -> Iterator[Retried]:
    """Retry each run, and yield its result; an id names a dead letter or its run."""
    for each in ids:
        try:
            is_run = ":" in each
            yield Retried(each, run=client.retry_run(each) if is_run else _retry(client, _letter(client, each)))
        except HeadraceError as exc:
            yield Retried(each, error=exc)


def retry_letters(client: Client, letters: Iterable[Letter]) -> Iterator[Retried]:
    """Retry each letter's run in order, and yield its result."""
    for letter in letters:
        try:
            yield Retried(letter.id, run=_retry(client, letter))
        except HeadraceError as exc:
            yield Retried(letter.id, error=exc)


def _letter(client: Client, entry_id: str) -> Letter:
    found = client.get_dead_letter(entry_id)
    return Letter(found.id, found.run_id, found.reason, found.job)


def _retry(client: Client, letter: Letter) -> RunRecord:
    if letter.run_id is None:
        raise NoRun(letter.id, letter.reason)
    return client.retry_run(letter.run_id)
