"""What is told of an export that was written."""

from __future__ import annotations

from qzhou_eval.report.markdown import number
from qzhou_eval.report.submission.choice import Part
from qzhou_eval.report.submission.refusal import named
from qzhou_eval.report.submission.submission import Submission
from qzhou_eval.scores.aggregation import aggregate
from qzhou_eval.scores.result_folder import ResultFolder

REPOSITORY = "github.com/embeddings-benchmark/results"
NEWER = (
    "since July 2026 its maintainers want new results to be of mteb 2, with a run_settings.jsonl "
    "(mteb issue 5031): ask there first, for these are of mteb 1.38.30"
)
"""What was known of the repository when this was written; no check of ours can mend it."""


def summary_lines(submission: Submission, results: ResultFolder) -> list[str]:
    """Return what was written, what to know of it, and what to do next, a line each."""
    identity, placing = submission.identity, submission.placing
    lines = [f"{identity.model} at {identity.revision}"]
    lines += [_part(part, results) for part in submission.chosen.parts]
    if others := submission.chosen.others:
        lines.append(f"Other tasks: {named(task.name for task in others)}")
    written = f"Written: {_counted(list(placing.texts))} into {placing.folder}"
    if placing.there:
        written += f"; there already: {_counted(list(placing.there))}"
    lines.append(written)
    lines += [f"Warning: {warning}" for warning in submission.warnings]
    lines.append(
        f"Next: a pull request to {REPOSITORY} that adds {identity.folder}; the model has to be "
        f"in mteb itself (mteb/models) by then. Mind: {NEWER}"
    )
    return lines


def _part(part: Part, results: ResultFolder) -> str:
    done, total = len(part.tasks), len(part.suite.tasks)
    line = f"{part.suite.name}: {done} of {total} tasks"
    scores = {
        task.name: mean
        for task in part.tasks
        if (found := results.scores(task.name)) is not None
        and (mean := found.mean(task.splits, task.subsets)) is not None
    }
    means = aggregate(part.suite, scores)
    if means.mean_task is None:
        return line
    return (
        f"{line}, Mean(Task) {number(means.mean_task)}, "
        f"Mean(TaskType) {number(means.mean_task_type)}"
    )


def _counted(names: list[str]) -> str:
    """Return "72 task files and model_meta.json"."""
    record = [name for name in names if name == "model_meta.json"]
    count = len(names) - len(record)
    files = [f"{count} task file{'' if count == 1 else 's'}"] if count or not record else []
    return " and ".join([*files, *record])
