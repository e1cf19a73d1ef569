"""Takes dead letters up again: many at once, and one failure does not hold up the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from headrace import Client, DeadEntry, HeadraceError, RunRecord

_PAGE = 200


class Retried(msgspec.Struct, frozen=True):
    """What became of one: `run` is queued again, or `error` says why it is not."""

    id: str
    run: RunRecord | None = None
    error: HeadraceError | None = None


class NoRun(HeadraceError):
    """The dead letter is of an entry that could not be read, so there is no run to retry."""

    def __init__(self, entry_id: str, reason: str) -> None:
        self.entry_id = entry_id
        super().__init__(f"dead letter {entry_id!r} ({reason}) belongs to no run, so nothing can be retried")


def all_letters(client: Client, job: str | None = None) -> Iterator[DeadEntry]:
    """Yields every dead letter, newest first; only those of a job, `<app>/<job id>`, if one is named."""
    cursor: str | None = None
    while True:
        page = client.list_dead(cursor=cursor, limit=_PAGE)
        yield from (letter for letter in page.entries if job in (None, letter.job))
        cursor = page.cursor
        if cursor is None:
            return


def retry_ids(client: Client, ids: Iterable[str]) -> Iterator[Retried]:
    """Yields what became of each; an id is that of a dead letter or of its run."""
    for each in ids:
        try:
            is_run = ":" in each
            yield Retried(each, run=client.retry_run(each) if is_run else _retry(client, client.get_dead(each)))
        except HeadraceError as exc:
            yield Retried(each, error=exc)


def retry_letters(client: Client, letters: Iterable[DeadEntry]) -> Iterator[Retried]:
    """Yields what became of each."""
    for letter in letters:
        try:
            yield Retried(letter.id, run=_retry(client, letter))
        except HeadraceError as exc:
            yield Retried(letter.id, error=exc)


def _retry(client: Client, letter: DeadEntry) -> RunRecord:
    if letter.run_id is None:
        raise NoRun(letter.id, letter.reason)
    return client.retry_run(letter.run_id)
