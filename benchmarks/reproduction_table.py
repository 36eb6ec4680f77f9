"""Write a run folder's main scores beside the published ones, as a Markdown table.

    python benchmarks/reproduction_table.py results/minilm

reads ``published.csv`` (task, split, subset, main_score, source) and the run folder below the
given folder, and writes ``README.md`` there. Exits with 1 if a score is missing or off.
"""

from __future__ import annotations

import csv
import json
import shlex
import sys
from pathlib import Path

from qzhou_eval.scores.reading import read_task_scores

TOLERANCE = 0.0005


def main(folder: Path) -> int:
    """Write the table of `folder`; return the exit code."""
    [manifest_path] = folder.glob("*/*/run.json")
    run = manifest_path.parent
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    with (folder / "published.csv").open(encoding="utf-8", newline="") as file:
        published = list(csv.DictReader(file))
    lines, off = [], 0
    for row in published:
        scores = read_task_scores(run / f"{row['task']}.json").main_scores
        ours, theirs = scores[row["split"], row["subset"]], float(row["main_score"])
        difference = ours - theirs
        off += abs(difference) > TOLERANCE
        lines.append(
            f"| {row['task']} | {row['split']} | {row['subset']} | {ours:.6f} | {theirs:.6f} | "
            f"{difference:+.6f} | {row['source']} |\n"
        )
    packages, recipe = manifest["environment"]["packages"], manifest["recipe"]
    commands = "".join(f"qzhou-eval {shlex.join(c)}\n" for c in manifest["commands"])
    text = (
        f"# {manifest['model']}: main scores beside the published ones\n\n"
        f"{len(lines)} scores of {len({row['task'] for row in published})} tasks, {off} of them "
        f"further than {TOLERANCE} away. The results themselves are in "
        f"`{run.relative_to(folder).as_posix()}`.\n\n"
        f"Made on {manifest['finished'][:10]} on {manifest['settings']['device']} with Python "
        f"{manifest['environment']['python']}, mteb {packages['mteb']}, torch {packages['torch']}, "
        f"transformers {packages['transformers']}; recipe {recipe['name']} ({recipe['dtype']}, "
        f"{recipe['pooling']} pooling, {recipe['max_length']} tokens, no instructions). "
        "Where the published results have no figure, the one beside ours is what mteb itself "
        "gives for the same model through sentence-transformers.\n\n"
        f"```\n{commands}```\n\n"
        "| Task | Split | Subset | Ours | Published | Difference | Source |\n"
        "| --- | --- | --- | ---: | ---: | ---: | --- |\n" + "".join(lines)
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(f"{folder / 'README.md'}: {len(lines)} scores, {off} off")
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
