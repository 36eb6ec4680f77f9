"""What of the hub's datasets is cached here, commit by commit; never another commit's rows.

Where the hub cannot be asked, datasets 3.2.0 takes of a dataset whatever was cached last, whatever
commit was asked for: with --offline, and just as silently when the hub fails. Here it is given the
commit that is pinned, or an error. A cached loading script is known by its own content, not by a
commit, so data that came of one is not taken from the cache at all.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qzhou_eval.evaluate.local_data import Requirement

DEFAULT = "default"


def cached_configs(name: str, revision: str) -> dict[str, Path]:
    """Return the configs of the dataset `name` that are cached at `revision`, and where."""
    import datasets

    root = Path(datasets.config.HF_DATASETS_CACHE).expanduser() / _cache_name(name)
    found = {}
    for info in root.glob(f"*/*/{revision}/dataset_info.json") if revision else ():
        config = info.parts[-4]
        # Loaded with arguments of its own, a config is cached under a name made of these.
        if _read(info).get("config_name") == config:
            found[config] = info.parent
    return found


def is_cached(name: str, revision: str, requirement: Requirement) -> bool:
    """Whether the cache has, at `revision`, what a task reads of the dataset `name`."""
    configs = cached_configs(name, revision)
    folder = configs.get(requirement.config or _chosen(configs))
    if folder is None:
        return False
    splits = _read(folder / "dataset_info.json").get("splits") or {}
    return set(requirement.splits) <= set(splits)


@contextmanager
def pinned_cache(revisions: Mapping[str, str]) -> Iterator[None]:
    """Let `datasets` take these datasets from its cache at these commits alone, inside this block.

    Args:
        revisions: Hub name to commit; a dataset without one is not looked after.
    """
    import datasets.load

    # By its name: as an attribute the package hides it.
    module: Any = importlib.import_module("datasets.packaged_modules.cache.cache")
    factory: Any = datasets.load.CachedDatasetModuleFactory
    get_module, find = factory.get_module, module._find_hash_in_cache

    def get_pinned(self: Any) -> Any:
        revision = revisions.get(self.name)
        if not revision:
            return get_module(self)
        if not cached_configs(self.name, revision):
            raise FileNotFoundError(f"{self.name} is not cached at {revision}")
        kwargs = {"repo_id": self.name, "dataset_name": self.name.split("/")[-1], "version": "auto"}
        return datasets.load.DatasetModule(module.__name__, "auto", kwargs)

    def find_pinned(dataset_name: str, config_name: str | None, *args: Any, **kwargs: Any) -> Any:
        revision = revisions.get(dataset_name)
        if not revision:
            return find(dataset_name, config_name, *args, **kwargs)
        configs = cached_configs(dataset_name, revision)
        config = config_name or _chosen(configs)
        if config not in configs:
            raise ValueError(
                f"{dataset_name}: config {config_name or 'unnamed'} is not cached at {revision} "
                f"(cached: {', '.join(sorted(configs)) or 'none'})"
            )
        return config, configs[config].parts[-2], revision

    factory.get_module, module._find_hash_in_cache = get_pinned, find_pinned
    try:
        yield
    finally:
        factory.get_module, module._find_hash_in_cache = get_module, find


def _chosen(configs: Mapping[str, Path]) -> str:
    """Return the config that is loaded by no name: the only one, or the one called default."""
    return next(iter(configs)) if len(configs) == 1 else DEFAULT


def _cache_name(name: str) -> str:
    """Return the name of a dataset's folder in the cache, as `datasets` makes it."""
    from datasets.naming import camelcase_to_snakecase

    *org, last = name.split("/")
    return "___".join([*org, camelcase_to_snakecase(last)])


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
