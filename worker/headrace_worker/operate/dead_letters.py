"""Retries the runs of many dead letters; a failure does not hold up the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headrace import Client, DeadLetter, HeadraceError, Page, RunNotRetryable, RunRecord


class NoRun(HeadraceError):
    """The dead letter holds an entry that could not be read, so there is no run to retry."""

    def __init__(self, entry_id: str, reason: str) -> None:
        self.entry_id = entry_id
        super().__init__(f"dead letter {entry_id!r} ({reason}) belongs to no run, so nothing can be retried")


class NoLetters(HeadraceError):
    """No dead letter is of the job that was named; the message names those that have some."""

    def __init__(self, job: str, jobs: Iterable[str]) -> None:
        self.job = job
        self.jobs = sorted(jobs)
        others = f"; there are some of {', '.join(self.jobs)}" if self.jobs else ", nor of any other"
        super().__init__(f"there is no dead letter of job {job!r}{others}")


def require_job(client: Client, job: str) -> None:
    """Raise NoLetters unless the newest dead letters have one of this job; it was misspelt, most likely."""
    jobs = {group.job for group in client.dead_letter_groups().items if group.job is not None}
    if job not in jobs:
        raise NoLetters(job, jobs)


def _if_canceled(result: RunRecord | HeadraceError) -> RunRecord | HeadraceError:
    """Return the result; for a canceled run an error that names the command that retries it."""
    if isinstance(result, RunNotRetryable) and result.status == "canceled":
        return RunNotRetryable(result.run_id, result.status, "'headrace runs retry --canceled' does it all the same")
    return result


class LetterRuns:
    """The runs of dead letters, which are remembered as their list is read."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._runs: dict[str, str | None] = {}
        self._reasons: dict[str, str] = {}

    def note(self, page: Page[DeadLetter]) -> Page[DeadLetter]:
        """Remember the runs of a page, and return it."""
        for letter in page.items:
            self._note(letter)
        return page

    def retry(self, ids: Sequence[str]) -> list[RunRecord | HeadraceError]:
        """Retry the run of each, and return its record or why it is not retried; an id names a letter or its run."""
        found = {each: self._run_of(each) for each in ids}
        runs = {each: run for each, run in found.items() if isinstance(run, str)}
        results = dict(zip(runs, map(_if_canceled, self._client.retry_runs(runs.values())), strict=True))
        results |= {each: error for each, error in found.items() if isinstance(error, HeadraceError)}
        return [results[each] for each in ids]

    def once(self, ids: Sequence[str]) -> list[str]:
        """Return the ids, without those that name the run of one before."""
        first: dict[str, str] = {}
        for each in ids:
            run = self._run_of(each) if len(ids) > 1 else each
            first.setdefault(run if isinstance(run, str) else each, each)
        return list(first.values())

    def look(self, each: str) -> RunRecord | HeadraceError:
        """Return the record of the run that would be retried, or why it can't be."""
        run = self._run_of(each)
        return self._client.get_run(run) if isinstance(run, str) else run

    def _run_of(self, each: str) -> str | HeadraceError:
        if ":" in each:
            return each
        try:
            if each not in self._runs:
                self._note(self._client.get_dead_letter(each))
        except HeadraceError as exc:
            return exc
        return self._runs[each] or NoRun(each, self._reasons[each])

    def _note(self, letter: DeadLetter) -> None:
        self._runs[letter.id], self._reasons[letter.id] = letter.run_id, letter.reason
