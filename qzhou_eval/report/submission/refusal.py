"""What is told where a folder cannot be exported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from qzhou_eval.errors import UserError, one_line_text, plain

LONGEST = 4000
"""Characters of a problem: files may quote whole books, but every task of a suite is named."""


class NotExportedError(UserError):
    """A folder that the results repository would not take.

    Attributes:
        folder: The folder, as it was given.
        problems: All that is wrong with it, a line each, with what mends it.
    """

    def __init__(self, folder: object, problems: Iterable[str]) -> None:
        self.folder = plain(folder)
        self.problems = tuple(one_line_text(p, limit=LONGEST) for p in dict.fromkeys(problems))
        super().__init__(f"{self.heading}: {'; '.join(self.problems)}")

    @property
    def heading(self) -> str:
        """One line above the problems."""
        count = len(self.problems)
        problems = "1 problem" if count == 1 else f"{count} problems"
        return f"{self.folder}: not exported, nothing was written; {problems}"


def by_reason(reasons: Mapping[str, Sequence[str]], total: int) -> list[str]:
    """Return a line per reason, with the tasks that share it.

    Args:
        reasons: Task to what is wrong with its result.
        total: Number of tasks that were looked at; where all share a reason they are not named.
    """
    tasks: dict[str, list[str]] = {}
    for task, own in reasons.items():
        for reason in dict.fromkeys(own):
            tasks.setdefault(reason, []).append(task)
    return [
        f"{named(found) if len(found) < total or total < 4 else f'all {total} tasks'}: {reason}"
        for reason, found in tasks.items()
    ]


def named(tasks: Iterable[str]) -> str:
    """Return tasks' names as a list in words."""
    return ", ".join(tasks)
