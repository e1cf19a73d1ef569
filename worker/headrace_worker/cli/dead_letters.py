"""Takes dead letters up again: many at once, and one failure does not hold up the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from headrace import Client, HeadraceError, RunRecord

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


class Letter(msgspec.Struct, frozen=True, gc=False):
    """What it takes to retry a dead letter, without its contents."""

    id: str
    run_id: str | None
    reason: str


def all_letters(client: Client, job: str | None = None) -> Sequence[Letter]:
    """Return every dead letter of now, oldest first; only those of a job, `<app>/<job id>`, if one is named.

    Runs of an ordering key so begin again in the order in which they failed. All are read before the first is retried:
    one that fails once more meanwhile has a new letter, which is none of these.
    """
    letters: list[Letter] = []
    cursor: str | None = None
    while True:
        page = client.list_dead_letters(cursor=cursor, limit=_PAGE)
        letters += [Letter(each.id, each.run_id, each.reason) for each in page.entries if job in (None, each.job)]
        cursor = page.cursor
        if cursor is None:
            letters.reverse()
            return letters


def retry_ids(client: Client, ids: Iterable[str]) -> Iterator[Retried]:
    """Yields what became of each; an id is that of a dead letter or of its run."""
    for each in ids:
        try:
            is_run = ":" in each
            yield Retried(each, run=client.retry_run(each) if is_run else _retry(client, _letter(client, each)))
        except HeadraceError as exc:
            yield Retried(each, error=exc)


def retry_letters(client: Client, letters: Iterable[Letter]) -> Iterator[Retried]:
    """Yields what became of each, in their order."""
    for letter in letters:
        try:
            yield Retried(letter.id, run=_retry(client, letter))
        except HeadraceError as exc:
            yield Retried(letter.id, error=exc)


def _letter(client: Client, entry_id: str) -> Letter:
    found = client.get_dead_letter(entry_id)
    return Letter(found.id, found.run_id, found.reason)


def _retry(client: Client, letter: Letter) -> RunRecord:
    if letter.run_id is None:
        raise NoRun(letter.id, letter.reason)
    return client.retry_run(letter.run_id)
