"""The fetch: list, check the space, bring, verify, count, and only then let it be seen."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.fetch.counting import Rows, check_task
from qzhou_eval.fetch.listing import ListedFile, Listing
from qzhou_eval.fetch.needs import Bundle
from qzhou_eval.fetch.place import Place, faults
from qzhou_eval.fetch.script import convert, find_script
from qzhou_eval.fetch.source import Source
from qzhou_eval.fetch.telling import told_bytes
from qzhou_eval.fetch.watching import Stop, StoppedError, Watcher
from qzhou_eval.fetched import Kind, Record, find_record, write_record
from qzhou_eval.hub import NAP
from qzhou_eval.suite.suite import TaskSpec


@dataclass(frozen=True)
class Fetched:
    """How it went with a bundle.

    Attributes:
        bundle: What was wanted.
        records: What is here of it now, verified; empty if it failed.
        kept: Whether all of it was here before.
        error: What went wrong, in one line; empty if nothing did.
    """

    bundle: Bundle
    records: tuple[Record, ...] = ()
    kept: bool = False
    error: str = ""


@dataclass
class _Work:
    """A bundle on its way.

    Attributes:
        bundle: What is wanted.
        sound: Repositories that are here already, with their records.
        listings: Of those that are not.
        missing: Files to bring, each with the listing it is of.
        left: How many of them are still to come.
    """

    bundle: Bundle
    sound: dict[str, Record] = field(default_factory=dict)
    listings: list[Listing] = field(default_factory=list)
    missing: list[tuple[Listing, ListedFile]] = field(default_factory=list)
    left: int = 0


class Fetch:
    """One fetch into one folder."""

    def __init__(
        self,
        place: Place,
        source: Source,
        watch: Watcher,
        stop: Stop,
        *,
        jobs: int = 4,
        trust_remote_code: bool = False,
    ) -> None:
        """Set up a fetch.

        Args:
            place: The folder.
            source: Where files come from.
            watch: Is shown how it goes.
            stop: Ends it early.
            jobs: Files brought at a time.
            trust_remote_code: Whether datasets' loading scripts may be run.
        """
        self._place = place
        self._source = source
        self._watch = watch
        self._stop = stop
        self._jobs = jobs
        self._trust = trust_remote_code

    def run(self, bundles: list[Bundle], on_done: Callable[[Fetched], None]) -> list[Fetched]:
        """Fetch `bundles`; one that fails does not keep the others.

        Args:
            bundles: What is wanted.
            on_done: Is told how it went, bundle by bundle.

        Raises:
            UserError: there is too little space.
        """
        results: list[Fetched] = []

        def done(result: Fetched) -> None:
            results.append(result)
            on_done(result)

        pool = ThreadPoolExecutor(max_workers=self._jobs)
        try:
            works = self._look(bundles, pool, done)
            self._check_space(works)
            self._bring(works, pool, done)
        except BaseException:
            self._stop.now()  # or the threads would go on to their ends
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            self._place.tidy()
        return results

    def _look(
        self, bundles: list[Bundle], pool: ThreadPoolExecutor, done: Callable[[Fetched], None]
    ) -> list[_Work]:
        """Find out what is here and what is missing; return what there is to do."""
        works = []
        looks = [(bundle, pool.submit(self._look_at, bundle)) for bundle in bundles]
        for bundle, look in looks:
            try:
                while not wait([look], timeout=NAP).done:
                    pass
                work = look.result()
            except Exception as error:
                done(Fetched(bundle, error=one_line(error, limit=600)))
                continue
            if work.listings:
                works.append(work)
                continue
            done(self._guarded(bundle, partial(self._known, work), kept=True))
        return works

    def _look_at(self, bundle: Bundle) -> _Work:
        work = _Work(bundle)
        for wanted in bundle.repositories:
            self._stop.check()
            record = find_record(self._place.root, wanted.kind, wanted.name)
            # At a commit that is here, whole and unchanged, nobody need be asked.
            asked = wanted.is_pinned and record is not None and record.revision == wanted.revision
            if record and asked and not faults(self._place.root, record):
                work.sound[wanted.name] = record
                continue
            listing = self._source.listing(wanted)
            if (
                record
                and not asked
                and record.revision == listing.revision
                and not faults(self._place.root, record)
            ):
                work.sound[wanted.name] = record
                continue
            self._place.check_replaceable(listing, record)
            work.listings.append(listing)
            work.missing += [(listing, file) for file in self._place.missing(listing)]
        work.left = len(work.missing)
        return work

    def _check_space(self, works: Iterable[_Work]) -> None:
        """Tell how much is to come, and make sure that it fits.

        Raises:
            UserError: it does not.
        """
        files = [pair for work in works for pair in work.missing]
        parts = [self._place.part(listing, file.path) for listing, file in files]
        here = sum(part.stat().st_size for part in parts if part.exists())
        total = sum(file.size for _, file in files)
        if not files:
            return
        free = shutil.disk_usage(self._place.root).free
        self._watch.say(
            f"To fetch: {len(files):,} files, {told_bytes(total)}"
            + (f", {told_bytes(here)} of it here already" if here else "")
            + f"; {told_bytes(free)} free"
        )
        if total - here > free:
            raise UserError(
                f"{self._place.root}: {told_bytes(total - here)} are to be fetched, and "
                f"{told_bytes(free)} are free: make room, fetch fewer tasks, or name another "
                "--output-dir"
            )
        self._watch.total(total)
        self._watch.advance(here)

    def _bring(
        self, works: list[_Work], pool: ThreadPoolExecutor, done: Callable[[Fetched], None]
    ) -> None:
        """Bring all files, several at a time; finish each bundle as its last file comes."""
        waiting: dict[Future[None], _Work] = {}
        for work in works:
            for listing, file in work.missing:
                waiting[pool.submit(self._get, listing, file)] = work
        for work in works:
            if not work.left:
                done(self._guarded(work.bundle, partial(self._finish, work)))
        failed: set[int] = set()
        while waiting:
            # Ctrl-C is seen only between naps (see `hub`).
            ready, _ = wait(waiting, timeout=NAP, return_when=FIRST_COMPLETED)
            for future in ready:
                work = waiting.pop(future)
                work.left -= 1
                if id(work) in failed or future.cancelled():
                    continue
                if error := future.exception():
                    failed.add(id(work))
                    for other in [f for f, w in waiting.items() if w is work]:
                        if other.cancel():
                            del waiting[other]
                    done(Fetched(work.bundle, error=one_line(error, limit=600)))
                elif not work.left:
                    done(self._guarded(work.bundle, partial(self._finish, work)))

    def _get(self, listing: Listing, file: ListedFile) -> None:
        """Bring one file to where whole files wait."""
        part = self._place.part(listing, file.path)
        self._source.get(listing, file, part)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        target = self._place.staged(listing.wanted) / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)

    def _guarded(
        self,
        bundle: Bundle,
        finish: Callable[[], tuple[Record, ...]],
        *,
        kept: bool = False,
    ) -> Fetched:
        try:
            return Fetched(bundle, finish(), kept=kept)
        except StoppedError:
            raise
        except Exception as error:  # whatever a reader of some file format throws
            return Fetched(bundle, error=one_line(error, limit=600))

    def _known(self, work: _Work) -> tuple[Record, ...]:
        """Have the records of what is here know of new tasks that read it."""
        records = []
        rows: Rows = {}
        for wanted in work.bundle.repositories:
            record = work.sound[wanted.name]
            if new := [spec for spec in wanted.tasks if spec.name not in record.tasks]:
                rows = rows or self._checked(self._place.root, new)
                record = replace(
                    record,
                    tasks=tuple(sorted({*record.tasks, *(spec.name for spec in new)})),
                    rows={**record.rows, **rows.get(wanted.name, {})},
                )
                write_record(self._place.root, record)
            records.append(record)
        return tuple(records)

    def _finish(self, work: _Work) -> tuple[Record, ...]:
        """Check what has come, let it be seen, and write it down."""
        wanted = work.bundle.repositories[0]
        converted: dict[str, dict[str, str]] = {}
        for listing in work.listings:
            self._place.drop_strangers(listing)
            if listing.wanted.kind is Kind.DATASET:
                converted[listing.wanted.name] = self._plain(listing)
        rows: Rows = {}
        if wanted.kind is Kind.DATASET:
            with self._together(work) as root:
                rows = self._checked(root, wanted.tasks)
        records = dict(work.sound)
        for listing in work.listings:
            name = listing.wanted.name
            records[name] = self._place.publish(
                listing, rows.get(name, {}), converted.get(name) or dict(listing.converted)
            )
        return tuple(records[wanted.name] for wanted in work.bundle.repositories)

    def _plain(self, listing: Listing) -> dict[str, str]:
        """Turn a staged dataset with a loading script into plain files.

        Returns:
            The files it was made of, with digests; nothing if it has no script.

        Raises:
            UserError: it has one, which may not be run or fails.
        """
        from qzhou_eval.evaluate.mteb1.tasks import requirements
        from qzhou_eval.files import file_digests

        wanted, staged = listing.wanted, self._place.staged(listing.wanted)
        script = find_script(staged, wanted.name)
        if script is None:
            return {}
        if not self._trust:
            raise UserError(
                f"{wanted.name}: at its commit it is a loading script, {script.name}, not plain "
                "data: read that script, then let it be run with --trust-remote-code"
            )
        configs = sorted({r.config for spec in wanted.tasks for r in requirements(spec)})
        made = self._place.scratch("script") / "files"
        self._watch.say(f"{wanted.name}: its loading script is run ...")
        convert(staged, made, wanted.name, configs, self._place.scratch("script") / "cache")
        digests = file_digests(staged, [staged / file.path for file in listing.files])
        kept = self._place.scratch("script") / "commit"
        shutil.rmtree(kept, ignore_errors=True)
        staged.rename(kept)
        made.rename(staged)
        return digests

    @contextmanager
    def _together(self, work: _Work) -> Iterator[Path]:
        """Yield a folder in hub layout that has all of a bundle, seen or not."""
        root = self._place.staged_root(Kind.DATASET)
        links = []
        try:
            for name in work.sound:
                wanted = next(w for w in work.bundle.repositories if w.name == name)
                link = root / name
                link.parent.mkdir(parents=True, exist_ok=True)
                if link.is_symlink():
                    link.unlink()
                link.symlink_to(self._place.folder(wanted).resolve(), target_is_directory=True)
                links.append(link)
            yield root
        finally:
            for link in links:
                link.unlink()

    def _checked(self, root: Path, specs: Iterable[TaskSpec]) -> Rows:
        """Check a dataset by its tasks; return the rows they read."""
        rows: Rows = {}
        with _cache_at(self._place.scratch("cache")):
            for spec in specs:
                for name, configs in check_task(root, spec).items():
                    for config, splits in configs.items():
                        rows.setdefault(name, {}).setdefault(config, {}).update(splits)
        return rows


@contextmanager
def _cache_at(folder: Path) -> Iterator[None]:
    """Keep what is cached while checking in `folder`, which is removed: runs cache their own."""
    before = os.environ.get("QZHOU_EVAL_CACHE")
    os.environ["QZHOU_EVAL_CACHE"] = str(folder)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ["QZHOU_EVAL_CACHE"]
        else:
            os.environ["QZHOU_EVAL_CACHE"] = before
