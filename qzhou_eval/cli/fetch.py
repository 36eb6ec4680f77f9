"""``qzhou-eval fetch``: datasets and models, at their pinned commits, for use without the hub."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qzhou_eval.cli.fetch_options import WhatOptions, WhereOptions
from qzhou_eval.cli.options import comma_separated, expand

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from qzhou_eval.fetch.fetching import Fetched
    from qzhou_eval.fetch.needs import Bundle
    from qzhou_eval.fetched import Record
    from qzhou_eval.suite.suite import TaskSpec

NOT_ALL = 1


@expand
def fetch(
    options: WhatOptions,
    where: WhereOptions,
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[cmteb] [mteb] | TASK... | SUITE.toml",
            help="Suites, mteb task names, or one suite file.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Get datasets and models at their pinned commits, verified, for runs without the hub.

    An interrupted fetch goes on where it stopped when the same command is given again.
    """
    from rich.console import Console

    from qzhou_eval.errors import UserError

    console = Console(highlight=False)
    if where.verify:
        if what or options != WhatOptions() or where.output_dir or where.source:
            raise UserError("--verify DIR stands alone: it fetches nothing")
        return _verify(console, where.verify)
    if not what and not options.model:
        raise UserError("name what to fetch: cmteb, mteb, tasks, a suite file, or --model ORG/NAME")
    if options.revision and not options.model:
        raise UserError("--revision is the commit of a model, and no --model is named")
    if not where.output_dir:
        raise UserError("name the folder to fetch into: --output-dir DIR")
    _check_folders(where.output_dir, where.source)
    _set_up_libraries(copying=where.source is not None)
    specs = _specs(Console(stderr=True), what or [], options)
    return _fetch(console, specs, options, where, where.output_dir)


def _fetch(
    console: Console,
    specs: tuple[TaskSpec, ...],
    options: WhatOptions,
    where: WhereOptions,
    root: Path,
) -> int:
    """Fetch what `specs` read, and the model; return the exit code."""
    from qzhou_eval.fetch.fetching import Fetch
    from qzhou_eval.fetch.place import Place
    from qzhou_eval.fetch.source import FolderSource, HubSource
    from qzhou_eval.fetch.watching import Stop

    bundles = _bundles(console, specs, options)
    place, stop = Place(root), Stop()
    with place.alone(), _watching(console) as watch:
        source = FolderSource(where.source, watch, stop) if where.source else HubSource(watch, stop)
        job = Fetch(
            place,
            source,
            watch,
            stop,
            jobs=where.jobs,
            trust_remote_code=options.trust_remote_code,
        )
        results = job.run(bundles, lambda result: _tell(watch, result))
    return _close(console, root, results)


def _bundles(console: Console, specs: tuple[TaskSpec, ...], options: WhatOptions) -> list[Bundle]:
    from qzhou_eval.errors import UserError
    from qzhou_eval.fetch.needs import dataset_bundles, model_bundle
    from qzhou_eval.recipe.library import published_revision

    if own := [spec.name for spec in specs if spec.layout]:
        console.print(f"Tasks of your own, whose data you have: {', '.join(own)}", markup=False)
    bundles = dataset_bundles(specs)
    if options.model:
        if Path(options.model).expanduser().exists():
            raise UserError(f"--model {options.model} is here already; fetch takes a hub name")
        revision = options.revision or published_revision(options.model)
        bundles.append(model_bundle(options.model, revision))
    return bundles


def _specs(waiting: Console, what: list[str], options: WhatOptions) -> tuple[TaskSpec, ...]:
    """Return the chosen tasks, completed from mteb."""
    from qzhou_eval.errors import UserError
    from qzhou_eval.suite.library import BUILT_IN, built_in, suite_from_arguments
    from qzhou_eval.suite.suite import Suite, with_tasks

    if not what:
        if options.tasks or options.types:
            raise UserError("--tasks and --types choose from a suite, and none is named")
        return ()
    named = [word for word in what if word in BUILT_IN]
    others = [word for word in what if word not in BUILT_IN]
    suites = [built_in(word) for word in named]
    suites += [suite_from_arguments(others)] if others else []
    tasks = {task.name: task for suite in suites for task in suite.tasks}
    suite = suites[0] if len(suites) == 1 else Suite(" ".join(what), tuple(tasks.values()))
    with waiting.status("Reading mteb's task definitions ..."):
        from qzhou_eval.evaluate.mteb1.tasks import complete
    suite = with_tasks(suite, map(complete, suite.tasks))
    return suite.select(comma_separated(options.tasks), comma_separated(options.types))


def _check_folders(target: Path, source: Path | None) -> None:
    """Make sure that both folders can be what they are to be.

    Raises:
        UserError: one cannot.
    """
    from qzhou_eval.errors import UserError
    from qzhou_eval.fetched import RECORDS

    if target.exists() and not target.is_dir():
        raise UserError(f"--output-dir {target}: it is a file; expected a folder")
    if source is None:
        return
    if not (source / RECORDS).is_dir():
        raise UserError(
            f"--from {source}: nothing was fetched there (no folder {RECORDS} in it); expected a "
            "folder that qzhou-eval fetch has filled"
        )
    if target.exists() and source.resolve() == target.resolve():
        raise UserError(f"--from {source} is the --output-dir: name two folders")


def _set_up_libraries(*, copying: bool) -> None:
    """Say to the Hugging Face libraries, before they are imported, what may use the network."""
    import os

    from qzhou_eval.cli.models import be_offline
    from qzhou_eval.errors import UserError

    if copying:
        be_offline()
        return
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE"):
            raise UserError(
                f"{name} is set, so the hub may not be asked: unset it, or copy from a fetched "
                "folder with --from DIR"
            )
    # What is checked here is in folders.
    os.environ["HF_DATASETS_OFFLINE"] = "1"


class _Watch:
    """Shows a fetch: lines for what happens, and on a terminal a bar of bytes."""

    def __init__(self, console: Console, progress: Progress | None) -> None:
        self._console = console
        self._progress = progress
        self._bar: TaskID | None = None

    def total(self, size: int) -> None:
        if self._progress:
            self._bar = self._progress.add_task("Fetching", total=size)

    def advance(self, size: int) -> None:
        if self._progress and self._bar is not None:
            self._progress.advance(self._bar, size)

    def say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False)


@contextmanager
def _watching(console: Console) -> Iterator[_Watch]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    if not console.is_terminal:
        yield _Watch(console, None)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield _Watch(console, progress)


def _tell(watch: _Watch, result: Fetched) -> None:
    """Say how it went with a bundle, a line for each repository of it."""
    if result.error:
        watch.say(f"FAILED  {result.error}")
        return
    for record in result.records:
        watch.say(_line(record) + ("  (here already, sound)" if result.kept else ""))


def _line(record: Record) -> str:
    from qzhou_eval.fetch.telling import told_bytes
    from qzhou_eval.fetched import Kind

    parts = [
        f"{record.name:<44}",
        record.revision[:8],
        f"{len(record.files):>5} files",
        f"{told_bytes(record.bytes):>10}",
    ]
    if record.kind is Kind.DATASET:
        rows = sum(n for splits in record.rows.values() for n in splits.values())
        parts.append(f"{rows:>9,} rows")
    if record.converted:
        parts.append("(converted)")
    return "  ".join(parts)


def _close(console: Console, root: Path, results: list[Fetched]) -> int:
    """Say what is here now and what to do with it; return the exit code."""
    from qzhou_eval.fetched import Kind

    failed = [result for result in results if result.error]
    records = [record for result in results for record in result.records]
    print_line = _Watch(console, None).say
    print_line("")
    if failed:
        print_line(f"{len(failed)} of {len(results)} failed:")
        for result in failed:
            tasks = sorted({s.name for wanted in result.bundle.repositories for s in wanted.tasks})
            read_by = f"{', '.join(tasks)}: " if tasks else ""
            print_line(f"  {read_by}{result.error}")
        again = shlex.join(["qzhou-eval", *sys.argv[1:]])
        print_line(f"Nothing of these was put into {root}. To try them again: {again}")
        return NOT_ALL
    print_line(f"All verified, in {root}. A run without the hub: --offline --datasets-dir {root}")
    for record in records:
        if record.kind is Kind.MODEL:
            print_line(f"With the model: --model {record.name} --revision {record.revision}")
    return 0


def _verify(console: Console, root: Path) -> int:
    """Hold the folder against its records and print what differs; return the exit code."""
    from qzhou_eval.errors import plain
    from qzhou_eval.fetch.place import STAGING
    from qzhou_eval.fetch.verifying import mending, verify

    verified, incomplete = verify(root)
    say = _Watch(console, None).say
    for entry in verified:
        say(f"{_line(entry.record)}  {'BROKEN' if entry.faults else 'sound'}")
        for fault in entry.faults:
            say(f"    {plain(fault)}")
    broken = [entry.record for entry in verified if entry.faults]
    if incomplete:
        names = plain(", ".join(incomplete))
        say(
            f"Incomplete, on their way: {names}; the same fetch again goes on, "
            f"and {root / STAGING} can be removed where none is wanted"
        )
    if not broken:
        say(f"\n{len(verified)} of {len(verified)} sound")
        return NOT_ALL if incomplete else 0
    say(f"\n{len(broken)} of {len(verified)} broken; what mends it, fetching broken files alone:")
    if any("is not of the commit" in fault for entry in verified for fault in entry.faults):
        say("(files that are not of the commit must be moved away first)")
    for command in mending(root, broken):
        say(f"    {command}")
    return NOT_ALL
