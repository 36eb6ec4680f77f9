"""Hold the results of two actors against those of one process, number by number, on real data.

    python benchmarks/device_parity.py --datasets-dir ../shared/datasets
    python benchmarks/device_parity.py --datasets-dir ../shared/datasets --tasks STS13,SciFact

Runs the tasks of ``parity.toml`` through the command line in strict mode with the packaged
all-MiniLM-L6-v2 three times: in one process, by the chunk rule of two devices; over two CPU actors
of a private Ray (``--device cpu,cpu``); and over two nodes of a Ray cluster on this machine
(``--ray-address``). Every number of every result file must be the same; prints how many were, and
writes ``device-parity-cpu.json``. Exits with 1 if one differs, or if a task failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from qzhou_eval.cli.demo import packaged_model
from qzhou_eval.environment import deciding_packages
from qzhou_eval.files import write_json

HERE = Path(__file__).parent
DEVICES = 2


def one_process(arguments: list[str]) -> None:
    """Run the command line here, its chunks cut as for two devices, on the cores of one."""
    import torch

    from qzhou_eval.cli import main
    from qzhou_eval.encode import engine

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // DEVICES))
    load = engine.load_encoder
    engine.load_encoder = lambda *given: load(*given, devices=DEVICES)
    sys.argv = ["qzhou-eval", *arguments]
    main()


def run(name: str, command: list[str], folder: Path) -> dict[str, Any]:
    """Run `command` with results in `folder`; return the scores of every task.

    Raises:
        SystemExit: the run did not end well.
    """
    print(f"\n== {name}", flush=True)
    code = subprocess.run([*command, "--output-dir", str(folder)], check=False).returncode
    if code:
        raise SystemExit(f"{name}: ended with exit code {code}")
    [manifest] = folder.glob("*/*/run.json")
    entries = json.loads(manifest.read_text(encoding="utf-8"))["tasks"]
    read = {task: json.loads((manifest.parent / f"{task}.json").read_text()) for task in entries}
    return {task: result["scores"] for task, result in read.items()}


def numbers(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """Return every single value of nested scores by its path."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        found: dict[tuple[Any, ...], Any] = {}
        for key, part in pairs:
            found |= numbers(part, (*path, key))
        return found
    return {path: value}


def compare(expected: dict[str, Any], found: dict[str, Any]) -> tuple[int, list[str]]:
    """Return how many values there are, and the paths of those that differ."""
    ours, theirs = numbers(found), numbers(expected)
    # By their digits: what is no number on both sides is the same.
    differing = [p for p in {**ours, **theirs} if repr(ours.get(p)) != repr(theirs.get(p))]
    return len(theirs), [" / ".join(map(str, path)) for path in differing]


def main() -> int:
    """Run all three and write the outcome; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--datasets-dir", type=Path, required=True)
    parser.add_argument("--tasks", default="", help="only these, comma-separated")
    parser.add_argument("--without", default="", help="all but these, comma-separated")
    parser.add_argument("--output", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    names = arguments.tasks.split(",") if arguments.tasks else tasks(arguments.without.split(","))
    own = ["run", str(HERE / "parity.toml"), "--offline", "--model", str(packaged_model())]
    own += ["--datasets-dir", str(arguments.datasets_dir), "--tasks", ",".join(names)]
    cli = [sys.executable, "-m", "qzhou_eval", *own]
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory() as scratch:
        here = [sys.executable, __file__, "--one-process", *own]
        expected = run("one process", here, Path(scratch) / "one")
        runs = {
            "two actors": run("two actors", [*cli, "--device", "cpu,cpu"], Path(scratch) / "two")
        }
        cluster = Cluster()
        try:
            for _ in range(DEVICES):
                cluster.add_node(num_cpus=1, object_store_memory=300 * 2**20)
            address = ["--ray-address", cluster.address]
            runs["two nodes"] = run("two nodes", [*cli, *address], Path(scratch) / "nodes")
        finally:
            cluster.shutdown()
    outcome = {}
    for name, scores in runs.items():
        count, differing = compare(expected, scores)
        outcome[name] = {"values": count, "differing": differing}
        print(f"{name}: {count} values of {len(scores)} tasks, {len(differing)} differ")
    write_json(
        arguments.output / "device-parity-cpu.json",
        {
            "tasks": sorted(expected),
            "against": "one process, chunks cut as for two devices",
            "runs": outcome,
            "packages": deciding_packages(),
        },
    )
    return 1 if any(found["differing"] for found in outcome.values()) else 0


def tasks(without: list[str]) -> list[str]:
    """Return the names of the suite's tasks but some."""
    from qzhou_eval.suite.library import suite_from_arguments

    suite = suite_from_arguments([str(HERE / "parity.toml")])
    return [task.name for task in suite.tasks if task.name not in without]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one-process"]:
        one_process(sys.argv[2:])
    sys.exit(main())
