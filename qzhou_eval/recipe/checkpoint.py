"""A checkpoint's files, wherever they are: what it says of itself, and what names it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from qzhou_eval.errors import UserError, one_line
from qzhou_eval.files import (
    file_digests,
    is_data_file,
    is_plain_name,
    read_json,
    text_digest,
)
from qzhou_eval.hub import patiently

WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""What weights in one file are called, as the loaders look for them."""
# Modules behind the transformer keep theirs in folders of their own.
MODULE_PATTERNS = ("config.json", *WEIGHT_FILES)
# Of the other files all count (configurations, tokenizer files of any name, code), except what
# training and publishing leave behind.
IGNORED_PATTERNS = (
    ".*",
    "*.md",
    "*.png",
    "*.jpg",
    "*.log",
    "*.bin",
    "*.pt",
    "*.pth",
    "*.h5",
    "*.onnx",
    "*.msgpack",
    "*.safetensors",
    "LICENSE*",
    "NOTICE*",
    "requirements*.txt",
    "trainer_state.json",
    "all_results.json",
    "*_results.json",
)
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Checkpoint:
    """A model checkpoint: a folder here, or a name on the hub at one commit.

    Attributes:
        location: What the loaders are given: a folder, or a hub name.
        name: ``org/name``; ``local/<folder>`` for a folder that does not say.
        revision: Commit on the hub; empty for a folder that does not say.
        content: sha256 over the folder's weights, tokenizer, configurations and code; empty
            for a hub model, whose commit names them.
        config: ``config.json``.
        side_files: Other configuration files by path, those that are there.
        digests: Of a folder, the sha256 of each file that `content` is made of, by path.
        unknown_files: Configuration files of a hub model of which, offline, it is not known
            whether the model has them.
        pinned: Whether the files cannot change under the name: a folder, or a named commit.
    """

    location: str
    name: str
    revision: str
    content: str
    config: dict[str, Any]
    side_files: dict[str, Any]
    digests: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    pinned: bool = True
    unknown_files: tuple[str, ...] = ()

    @property
    def architecture(self) -> str:
        """The model class ``config.json`` names; empty if it names none."""
        names = self.config.get("architectures")
        first = names[0] if isinstance(names, list) and names else ""
        return first if isinstance(first, str) else ""

    @property
    def weights_sha256(self) -> str:
        """Digest of ``model.safetensors`` in a folder; empty elsewhere."""
        return self.digests.get("model.safetensors", "")

    @property
    def is_local(self) -> bool:
        """Whether the checkpoint is a folder here."""
        return bool(self.content)

    @property
    def wants_remote_code(self) -> bool:
        """Whether loading the model or its tokenizer runs Python code of the checkpoint's."""
        tokenizer = self.side_files.get("tokenizer_config.json") or {}
        return bool(self.config.get("auto_map") or tokenizer.get("auto_map"))

    @property
    def foreign_code(self) -> str:
        """Repository of another name that the code would come from; empty if it is its own."""
        tokenizer = self.side_files.get("tokenizer_config.json") or {}
        for name in _texts([self.config.get("auto_map"), tokenizer.get("auto_map")]):
            if "--" in name:
                return name.partition("--")[0]
        return ""

    @property
    def modules(self) -> list[dict[str, Any]]:
        """What ``modules.json`` lists; nothing for a checkpoint without one."""
        listed = self.side_files.get("modules.json")
        return [m for m in listed if isinstance(m, dict)] if isinstance(listed, list) else []

    @property
    def pooling_config(self) -> dict[str, Any] | None:
        """The configuration of its sentence-transformers pooling; None without one."""
        paths = [str(m.get("path")) for m in self.modules if module_kind(m) == "Pooling"]
        config: dict[str, Any] | None = self.side_files.get(
            f"{paths[0] if paths else '1_Pooling'}/config.json"
        )
        return config

    @property
    def sentence_config(self) -> tuple[str, dict[str, Any]]:
        """Name and contents of its ``sentence_bert_config.json``, whatever that is called."""
        for name in ("sentence_bert_config.json", *OLD_SENTENCE_CONFIGS):
            if self.side_files.get(name):
                return name, self.side_files[name]
        return "sentence_bert_config.json", {}

    @property
    def dense_modules(self) -> tuple[str, ...]:
        """Folders of the linear layers behind the pooling, in order."""
        return tuple(str(m.get("path", "")) for m in self.modules if module_kind(m) == "Dense")

    def file(self, path: str) -> Path | None:
        """Return where the checkpoint's file `path` is here, fetched if need be; None without one.

        Raises:
            UserError: the hub cannot be asked.
        """
        if self.is_local:
            local = Path(self.location) / path
            return local if local.is_file() else None
        return _fetch(self.location, path, self.revision)

    @property
    def identity(self) -> dict[str, str]:
        """What stands for the weights in a fingerprint."""
        if self.is_local:
            return {"content": self.content}
        return {"name": self.location, "revision": self.revision}


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in `value`: an auto_map is a table, or a list in older tokenizers."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def module_kind(module: dict[str, Any]) -> str:
    """Return a module's class of a ``modules.json``: "Pooling".

    With its package where that is not sentence-transformers: it then is code of the checkpoint's
    own, whatever it is called.
    """
    kind = str(module.get("type", ""))
    own = kind.startswith("sentence_transformers.")
    return kind.rpartition(".")[2] if own else kind


def module_folders(side: dict[str, Any]) -> list[str]:
    """Return the folders of the modules that ``modules.json`` lists, but the checkpoint's own.

    Raises:
        UserError: a module's path leads out of the checkpoint.
    """
    folders = []
    for module in side.get("modules.json") or ():
        path = str(module.get("path", "")) if isinstance(module, dict) else ""
        if path and not is_plain_name(path):
            raise UserError(f"modules.json: {path!r} is not a folder of the checkpoint")
        folders += [path] if path else []
    return folders


def _counts(name: str) -> bool:
    return not any(fnmatch(name, pattern) for pattern in IGNORED_PATTERNS)


# Under one of these names older sentence-transformers checkpoints keep sentence_bert_config.json.
OLD_SENTENCE_CONFIGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
SIDE_FILES = (
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
)


def open_checkpoint(model: str, revision: str = "") -> Checkpoint:
    """Find the checkpoint `model` and read what it says of itself; loads no weights.

    Args:
        model: A folder, or a hub name ``org/name``.
        revision: Commit, branch or tag on the hub. For a folder: the commit it is a copy of,
            taken at its word.

    Raises:
        UserError: there is no such folder or hub model, or it is not a model checkpoint.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return _open_folder(folder.resolve(), revision)
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1 or "\\" in model
    if folder.exists():
        raise UserError(f"--model {model}: a model is a folder with a config.json, not a file")
    if looks_like_path:
        raise UserError(
            f"--model {model}: no such folder; give a checkpoint's folder or a hub name (org/name)"
        )
    return _open_hub(model, revision)


def _open_folder(folder: Path, revision: str) -> Checkpoint:
    config = _read(folder / "config.json", folder)
    if config is None:
        raise UserError(f"--model {folder}: no config.json in it, so it is not a model checkpoint")
    # The loaders take safetensors where there are any.
    found = ([*filter(is_data_file, folder.glob(pattern))] for pattern in WEIGHT_PATTERNS)
    weights = next((paths for paths in found if paths), [])
    if not weights:
        raise UserError(f"--model {folder}: no weights in it (looked for {WEIGHT_PATTERNS[0]})")
    side = {path for path in folder.iterdir() if is_data_file(path) and _counts(path.name)}
    name, commit = _hub_cache_name(folder)
    side_files = {file: _read(folder / file, folder) for file in SIDE_FILES}
    for path in _further_files(side_files):
        side_files[path] = _read(folder / path, folder)
    parts = {
        path
        for module in module_folders(side_files)
        for pattern in MODULE_PATTERNS
        for path in (folder / module).glob(pattern)
        if is_data_file(path)
    }
    try:
        digests = file_digests(folder, {*weights, *side, *parts})
    except OSError as error:
        raise UserError(f"--model {folder}: not readable: {one_line(error)}") from error
    return Checkpoint(
        location=str(folder),
        name=name or f"local/{folder.name}",
        revision=revision or commit,
        content=text_digest(digests),
        config=config,
        side_files=side_files,
        digests=digests,
    )


def _hub_cache_name(folder: Path) -> tuple[str, str]:
    """Read name and commit off a hub cache path, models--ORG--NAME/snapshots/COMMIT."""
    repo = folder.parent.parent.name
    if folder.parent.name == "snapshots" and repo.startswith("models--"):
        return repo.removeprefix("models--").replace("--", "/", 1), folder.name
    return "", ""


def _open_hub(name: str, revision: str) -> Checkpoint:
    path = _fetch(name, "config.json", revision)
    if path is None:
        raise UserError(f"--model {name}: the hub has no config.json for it")
    # The snapshot folder is named by the commit that a branch or tag, or no revision, stands for.
    commit = path.parent.name if COMMIT.fullmatch(path.parent.name) else revision
    side: dict[str, Any] = {}
    unknown = []
    wanted = list(SIDE_FILES)
    for file in wanted:
        side_path = _fetch(name, file, commit)
        side[file] = None if side_path is None else _read(side_path, Path(name))
        if side_path is None and not _known_absent(name, file, commit):
            unknown.append(file)
        if file == SIDE_FILES[-1]:
            wanted += _further_files(side)
    config = _read(path, Path(name)) or {}
    pinned = COMMIT.fullmatch(revision) is not None
    return Checkpoint(name, name, commit, "", config, side, {}, pinned, tuple(unknown))


def _further_files(side: dict[str, Any]) -> list[str]:
    """Return the configuration files that those read so far lead to.

    Raises:
        UserError: a module's path leads out of the checkpoint.
    """
    further = [f"{path}/config.json" for path in module_folders(side)]
    if side.get("modules.json") and side.get("sentence_bert_config.json") is None:
        further += OLD_SENTENCE_CONFIGS
    return [path for path in further if path not in SIDE_FILES]


def _known_absent(name: str, file: str, commit: str) -> bool:
    """Whether the hub once said that the model has no such file at this commit."""
    from huggingface_hub import _CACHED_NO_EXIST, try_to_load_from_cache

    return try_to_load_from_cache(name, file, revision=commit or None) is _CACHED_NO_EXIST


def _fetch(name: str, file: str, revision: str) -> Path | None:
    """Return the local copy of a hub model's small file; None if the model has no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    # Without its config.json there is no model; without the others it may well be one, and a hub
    # that is not to be reached would be waited for at each of them.
    tries = 5 if file == "config.json" else 3
    try:
        found = patiently(
            lambda: hf_hub_download(name, file, revision=revision or None), tries=tries
        )
        return Path(found)
    except LocalEntryNotFoundError as error:
        if file != "config.json":
            return None  # offline, and not among the files that were fetched once
        why = "it is not cached here and the hub could not be reached" + _offline_advice(name)
        cause: Exception = error
    except EntryNotFoundError:
        return None
    except GatedRepoError as error:
        why, cause = "access to it must be asked for on the hub (huggingface-cli login)", error
    except RepositoryNotFoundError as error:
        why, cause = "the hub knows no such model", error
    except RevisionNotFoundError as error:
        why, cause = f"the hub knows no revision {revision} of it", error
    except (HFValidationError, OSError, ValueError) as error:
        why, cause = one_line(error, limit=160), error
    raise UserError(f"--model {name}: no such folder here, and {why}") from cause


def check_here(checkpoint: Checkpoint) -> None:
    """Make sure that the weights of a hub model are cached, for a run that may not ask the hub.

    Raises:
        UserError: they are not, or not all.
    """
    if not weights_here(checkpoint):
        raise UserError(
            f"--model {checkpoint.location}: its weights are not, or not all, cached here at "
            f"{checkpoint.revision}{_offline_advice(checkpoint.location)}"
        )


def weights_here(checkpoint: Checkpoint) -> bool:
    """Whether a checkpoint's weights need not be downloaded: those that the loaders would take.

    Raises:
        UserError: the list of their parts is not readable.
    """
    if checkpoint.is_local:
        return True
    from huggingface_hub import try_to_load_from_cache

    def cached(file: str) -> str:
        path = try_to_load_from_cache(
            checkpoint.location, file, revision=checkpoint.revision or None
        )
        return path if isinstance(path, str) else ""

    for file in WEIGHT_FILES:
        if cached(file):
            return True
        if index := cached(f"{file}.index.json"):
            listed = read_json(Path(index), "index of weights", last_wins=True)
            parts = listed.get("weight_map") if isinstance(listed, dict) else None
            named = [*parts.values()] if isinstance(parts, dict) else []
            return bool(named) and all(isinstance(p, str) and cached(p) for p in named)
    return False


def _offline_advice(name: str) -> str:
    """Return how to get a model that the hub may not be asked for; nothing where it may."""
    from huggingface_hub import constants

    if not constants.HF_HUB_OFFLINE:
        return ""
    return (
        f"; where there is a hub: qzhou-eval fetch --model {name} --output-dir DIR, then run with "
        "--datasets-dir DIR"
    )


def _read(path: Path, owner: Path) -> Any:
    if not is_data_file(path):
        return None
    try:
        value = read_json(path, "configuration file", last_wins=True)
    except UserError as error:
        raise UserError(f"--model {owner}: {error}") from error
    wanted = list if path.name == "modules.json" else dict
    if not isinstance(value, wanted):
        kind = "list" if wanted is list else "table"
        raise UserError(f"--model {owner}: {path.name} is not the {kind} it should be")
    return value
