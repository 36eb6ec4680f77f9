"""Datasets in folders named like the hub: found, checked before a run, cached by content.

datasets 3.2.0 names the cache of a folder whose README lists configs after the folder's base
name and that list, so changed rows, or another folder of the same name, silently give the old
rows. Here every load runs over a cache folder named by the content's digest instead.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.fetched import Kind, find_record
from qzhou_eval.files import cache_root, file_digests, read_data, text_digest
from qzhou_eval.suite.suite import TaskSpec

QRELS = "-qrels"
"""Suffix of the sibling dataset that holds the judgements of a Chinese retrieval task."""

# The largest document of the suites' data has 1 MB; whole corpora have tens of gigabytes.
MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_UNPACKED_BYTES = 256 * 1024**3
# Cards with hundreds of configs have a few hundred kB.
MAX_CARD_BYTES = 4 * 1024 * 1024
MAX_CARD_VALUES = 1_000_000


@dataclass(frozen=True)
class LocalDataset:
    """A dataset's folder below ``--datasets-dir``.

    Attributes:
        name: The dataset's hub name.
        folder: Where it is.
        digest: sha256 over all its files, a ``-qrels`` sibling's included.
        files: Each file's own, by its path below ``--datasets-dir``.
    """

    name: str
    folder: Path
    digest: str
    files: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Requirement:
    """What a task reads of a dataset: these splits of one config.

    Attributes:
        config: Config name; empty for the default one.
        splits: Splits that must be there.
        suffix: Put behind the folder's name ("-qrels"), for a sibling dataset.
    """

    config: str = ""
    splits: tuple[str, ...] = ()
    suffix: str = ""


def find_local(root: Path, name: str) -> LocalDataset | None:
    """Return the dataset `name` below `root`, or None if `root` does not hold it.

    Raises:
        UserError: `name` points outside `root`, or the folder holds no files.
    """
    # By its words: a folder may well be a link to where the data really is.
    if _leads_out(name) or not Path(name).parts:
        raise UserError(f"dataset {name!r} points outside {root}")
    folder = root / name
    try:
        if not folder.is_dir():
            return None
    except OSError as error:
        raise UserError(f"dataset {name}: {one_line(error)}") from error
    files = _files(folder)
    if not files:
        raise UserError(f"dataset {name}: {folder} is empty; expected data files as on the hub")
    sibling = folder.with_name(folder.name + QRELS)
    try:
        digests = file_digests(root, files + (_files(sibling) if sibling.is_dir() else []))
    except OSError as error:
        raise UserError(f"dataset {name}: {one_line(error)}") from error
    return LocalDataset(name, folder, text_digest(digests), digests)


def _leads_out(name: str) -> bool:
    """Whether a path from a file leads elsewhere than below the folder it is put behind."""
    parts = re.split(r"[/\\]", name)
    return Path(name).is_absolute() or ".." in parts or "::" in name or "://" in name


def find_in(
    folders: Iterable[Path], spec: TaskSpec, commits: Mapping[str, str] | None = None
) -> LocalDataset | None:
    """Return the data of `spec` in the first of `folders` that holds it, None to ask the hub.

    Args:
        folders: Where to look.
        spec: The task.
        commits: Every dataset that it reads, with its commit, where more are known than its own.

    Raises:
        UserError: a task of one's own, which no hub knows, and none of the folders holds its data;
            or the folder was fetched, at another commit.
    """
    for root in folders:
        if local := find_local(root, spec.dataset):
            for name, commit in (commits or {spec.dataset: spec.revision}).items():
                _check_commit(root, spec.name, name, commit)
            for own in (spec.dataset, spec.dataset + QRELS):
                _check_as_fetched(root, own, local)
            return local
    if spec.layout:
        raise UserError(f"{spec.name}: its dataset {spec.dataset} is in none of the folders given")
    return None


def _check_commit(root: Path, task: str, name: str, commit: str) -> None:
    """A dataset that was fetched must be of the commit the task reads; others go unasked."""
    record = find_record(root, Kind.DATASET, name)
    if record and commit and record.revision != commit:
        raise UserError(
            f"{task}: {root} holds {name} at commit {record.revision}, and the task reads "
            f"{commit}: fetch it into another folder"
        )


def _check_as_fetched(root: Path, name: str, local: LocalDataset) -> None:
    """What was fetched must still be what the record of it says."""
    record = find_record(root, Kind.DATASET, name)
    if record is None:
        return
    said = {f"{name}/{path}": file.sha256 for path, file in record.files.items()}
    there = {path: digest for path, digest in local.files.items() if path.startswith(f"{name}/")}
    hidden = {path for path in said if any(part.startswith(".") for part in path.split("/"))}
    wrong = sorted(p for p in {*said, *there} - hidden if said.get(p) != there.get(p))
    if wrong:
        raise UserError(
            f"dataset {name}: {root / wrong[0]} is not as it was fetched; qzhou-eval fetch "
            f"--verify {root} tells what is wrong, and how it is mended"
        )


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(
        p for p in found if not any(x.startswith(".") for x in p.parts[len(folder.parts) :])
    )


@contextmanager
def cached_by_content(dataset: LocalDataset) -> Iterator[None]:
    """Let `datasets` cache what it loads under the content's digest, inside this block."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = _content_cache(dataset)
    try:
        yield
    finally:
        datasets.config.HF_DATASETS_CACHE = before


def _content_cache(dataset: LocalDataset) -> Path:
    folder = cache_root() / "datasets" / dataset.digest[:40]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); name another cache folder in "
            "QZHOU_EVAL_CACHE"
        ) from error
    return folder


def check_local(
    dataset: LocalDataset, requirements: tuple[Requirement, ...]
) -> list[dict[str, int]]:
    """Make sure, before a run, that the folder holds what the task will read, unbroken.

    Returns:
        The rows of each requirement's splits (all of them, where it names none).

    Raises:
        UserError: a listed file, a config or a split is missing, or a line does not parse.
    """
    folders = [dataset.folder]
    folders += [
        dataset.folder.with_name(dataset.folder.name + r.suffix) for r in requirements if r.suffix
    ]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"dataset {dataset.name}: {folder} is missing; its judgements belong there"
            )
        _check_listed_files(dataset, folder)
        _check_no_script(dataset, folder)
    # Reading every line costs seconds a gigabyte; the same content is read only once.
    seal = _content_cache(dataset) / "lines-checked"
    if not seal.exists():
        for folder in folders:
            for path in _files(folder):
                _check_lines(dataset, path)
        seal.touch()
    with cached_by_content(dataset):
        return [_check_splits(dataset, requirement) for requirement in requirements]


def _check_no_script(dataset: LocalDataset, folder: Path) -> None:
    script = folder / f"{folder.name}.py"
    if script.exists():
        raise UserError(
            f"dataset {dataset.name}: {script} is a loading script, which is not run; put data "
            "files there, and a README.md whose head lists the configs"
        )


def _check_listed_files(dataset: LocalDataset, folder: Path) -> None:
    """Every data file that the head of README.md lists must be there."""
    readme = folder / "README.md"
    if not readme.is_file():
        return
    text = read_data(readme, "dataset card", MAX_CARD_BYTES).decode("utf-8", errors="replace")
    parts = text.replace("\r\n", "\n").split("---\n", 2)
    try:
        head = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0].strip() else None
        _check_size(head)
    # Dates and numbers that are none are no errors of YAML's own.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, TypeError) as error:
        raise UserError(f"dataset {dataset.name}: {readme}: {one_line(error)}") from error
    for pattern in sorted(set(_listed_paths(head))):
        if not pattern or _leads_out(pattern):
            raise UserError(
                f"dataset {dataset.name}: {readme} lists {pattern!r}, outside its folder"
            )
        try:
            matches = any(folder.glob(pattern))
        except (ValueError, IndexError, NotImplementedError, OSError):
            matches = False
        if not matches:
            raise UserError(
                f"dataset {dataset.name}: {readme} lists {pattern}, and no such file is there"
            )


def _check_size(head: Any) -> None:
    """Refuse a head whose references to itself make it endless, or millions of values.

    The reader of datasets writes such a value out in full.
    """
    sizes: dict[int, int] = {}

    def size(value: Any) -> int:
        if not isinstance(value, dict | list):
            return 1
        if id(value) not in sizes:
            sizes[id(value)] = MAX_CARD_VALUES  # while it is counted: of one inside itself
            items = value.values() if isinstance(value, dict) else value
            sizes[id(value)] = 1 + sum(map(size, items))
        return sizes[id(value)]

    if size(head) > MAX_CARD_VALUES:
        raise ValueError(f"its head stands for more than {MAX_CARD_VALUES:,} values")


def _listed_paths(head: Any) -> Iterator[str]:
    configs = head.get("configs", []) if isinstance(head, dict) else []
    for config in configs if isinstance(configs, list) else []:
        if not isinstance(config, dict):
            continue
        if config.get("data_dir") not in (None, "", ".", "./"):
            yield str(config["data_dir"])
        entries = config.get("data_files", [])
        for entry in entries if isinstance(entries, list) else [entries]:
            paths = entry.get("path", []) if isinstance(entry, dict) else entry
            for path in paths if isinstance(paths, list) else [paths]:
                yield str(path)


def _check_splits(dataset: LocalDataset, requirement: Requirement) -> dict[str, int]:
    """Load what the task will load: it is cached by content, so loading it again is quick."""
    import datasets

    folder = dataset.folder.with_name(dataset.folder.name + requirement.suffix)
    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        found = datasets.load_dataset(
            str(folder), requirement.config or None, trust_remote_code=False
        )
    except Exception as error:  # whatever a reader of some file format throws
        cause = error.__cause__ or error
        hint = ""
        if requirement.config and not isinstance(error, datasets.exceptions.DatasetGenerationError):
            hint = (
                f"config {requirement.config} is missing, which the head of its README.md must "
                "list with its files: "
            )
        raise UserError(
            f"dataset {dataset.name}: {folder} does not load: {hint}{one_line(cause, limit=160)}"
        ) from error
    finally:
        if bars:
            datasets.enable_progress_bars()
    for split in requirement.splits:
        if split not in found:
            raise UserError(
                f"dataset {dataset.name}: no split {split} in {folder} (it has "
                f"{', '.join(sorted(found)) or 'none'})"
            )
        if not len(found[split]):
            raise UserError(f"dataset {dataset.name}: split {split} in {folder} has no rows")
    return {split: len(found[split]) for split in requirement.splits or found}


def _check_lines(dataset: LocalDataset, path: Path) -> None:
    """Every line of a JSON Lines file must be a JSON object, of a size that data has."""
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        return
    sound = unpacked = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                unpacked += len(line)
                if len(line) > MAX_LINE_BYTES:
                    raise ValueError(f"a line of more than {MAX_LINE_BYTES:,} bytes")
                if unpacked > MAX_UNPACKED_BYTES:
                    raise ValueError(f"more than {MAX_UNPACKED_BYTES:,} bytes")
                if line.strip() and not isinstance(json.loads(line.decode("utf-8")), dict):
                    raise ValueError("not an object")
                sound += 1
    except (ValueError, RecursionError, EOFError, OSError, zlib.error) as error:
        raise UserError(
            f"dataset {dataset.name}: {path} is broken after line {sound}: "
            f"{one_line(error, limit=140)}"
        ) from error
