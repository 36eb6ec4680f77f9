"""What a killed run does again, and what it costs to be able to go on.

    python benchmarks/resume.py --datasets-dir ../shared/datasets

Killed: a run of the command line over one retrieval task of 100,000 documents (real sentences, a
tiny random model: what is done again does not depend on the weights) is left alone once; once more
it is killed (SIGKILL) when 90 % of its chunks are on disk, and started again. What it then encodes,
how long that takes beside the whole, and whether the result files have the same scores, byte for
byte.

Cost: with the packaged all-MiniLM-L6-v2, the same call with and without a store of chunks, turn
about, as ratios; and what it takes to name, write and read back one chunk of 3,200 vectors of 3,584
numbers in bfloat16. Writes ``resume-cpu.json``. The ratio may come out as anything, and so may the
number of texts encoded again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from random_model import SMALL, trained_tokenizer
from transformers import Qwen2Config, Qwen2Model

from qzhou_eval.cli.demo import RECIPE, packaged_model
from qzhou_eval.encode.chunk_store import Chunk, ChunkStore, Space
from qzhou_eval.encode.encoder import load_encoder
from qzhou_eval.environment import deciding_packages, hardware
from qzhou_eval.files import read_json, write_json
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import resolve

CPU = torch.device("cpu")
CHUNK, WIDTH = 3200, 3584
QUERIES = 200
TINY = {**SMALL, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1}
SUITE = """name = "resume"
datasets_dir = "data"
[[tasks]]
name = "Resumed"
type = "Retrieval"
layout = "beir"
dataset = "bench/resumed"
languages = ["eng-Latn"]
"""


def sentences(datasets_dir: Path) -> Iterator[str]:
    """Yield real sentences: of SciFact's abstracts, then of Chinese pairs."""
    with gzip.open(datasets_dir / "mteb/scifact/corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield from re.split(r"(?<=[.!?]) ", json.loads(line)["text"])
    for name in ("LCQMC/test", "ATEC/test", "ATEC/validation"):
        path = datasets_dir / f"C-MTEB/{name}.jsonl.gz"
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                yield from (row["sentence1"], row["sentence2"])


def write_task(folder: Path, datasets_dir: Path, documents: int) -> int:
    """Write suite and data below `folder`; return how many documents there are."""
    texts = [text for text in dict.fromkeys(sentences(datasets_dir)) if len(text) > 5][:documents]
    step = len(texts) // QUERIES
    data = folder / "data" / "bench" / "resumed"
    data.mkdir(parents=True)
    rows = {
        "corpus": [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts)],
        "queries": [{"_id": f"q{i}", "text": texts[step * i][::-1]} for i in range(QUERIES)],
        "qrels": [
            {"query-id": f"q{i}", "corpus-id": f"d{step * i}", "score": 1} for i in range(QUERIES)
        ],
    }
    for name, own in rows.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in own)
        (data / f"{name}.jsonl").write_text(text, encoding="utf-8")
    files = {"corpus": ("corpus", "corpus"), "queries": ("queries", "queries")}
    files["default"] = ("test", "qrels")
    head = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: {split}\n    path: {name}.jsonl\n"
        for config, (split, name) in files.items()
    )
    (data / "README.md").write_text(f"---\nconfigs:\n{head}---\n")
    (folder / "suite.toml").write_text(SUITE)
    return len(texts)


def write_model(folder: Path, texts: list[str]) -> None:
    """Write a small checkpoint with random weights."""
    torch.manual_seed(0)
    model = Qwen2Model(Qwen2Config(**TINY))
    model.save_pretrained(folder / "model")
    trained_tokenizer(texts, SMALL["vocab_size"]).save_pretrained(folder / "model")


def start(folder: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start a run."""
    words = [sys.executable, "-m", "qzhou_eval", "run", str(folder / "suite.toml"), "--offline"]
    words += ["--model", str(folder / "model"), "--pooling", "mean", "--no-instructions"]
    words += ["--max-length", "64", "--skip-preflight", "--output-dir", str(output)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def outcome(output: Path) -> tuple[dict[str, Any], str]:
    """Return what the manifest says of the task, and its scores as written."""
    [path] = output.rglob("Resumed.json")
    text = path.read_text(encoding="utf-8")
    entry = read_json(path.with_name("run.json"), "manifest")["tasks"]["Resumed"]
    return entry, text[text.index('"scores"') : text.index('"evaluation_time"')]


def killed(folder: Path, documents: int) -> dict[str, Any]:
    """Run the task undisturbed, then kill it at 90 % and go on."""
    whole, again = folder / "whole", folder / "again"
    if start(folder, whole).wait():
        raise RuntimeError("the run that was left alone failed")
    expected, scores = outcome(whole)
    chunks = sum(-(-min(50_000, documents - i) // CHUNK) for i in range(0, documents, 50_000))
    process = start(folder, again)
    while len(list(again.rglob("*.vectors"))) < 0.9 * (chunks + 1):
        if process.poll() is not None:
            raise RuntimeError("the run ended before it was killed")
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    on_disk = sum(path.stat().st_size for path in again.rglob("*.vectors"))
    if start(folder, again).wait():
        raise RuntimeError("the run that went on failed")
    entry, found = outcome(again)
    done_again = entry["texts"] - entry.get("kept_texts", 0)
    return {
        "texts": entry["texts"],
        "chunks": chunks,
        "killed_at": 0.9,
        "bytes_on_disk": on_disk,
        "texts_kept": entry.get("kept_texts", 0),
        "texts_encoded_after_the_kill": done_again,
        "scores_equal": found == scores,
        "left_over": [
            str(p.name) for p in again.rglob("*") if ".work" in p.parts or ".tmp" in p.name
        ],
        "encode_seconds_whole": expected["seconds"]["encode"],
        "encode_seconds_after_the_kill": entry["seconds"]["encode"],
    }


def cost(folder: Path, texts: list[str], repetitions: int) -> dict[str, Any]:
    """Time a call with and without a store, and one large chunk's way to the disk and back."""
    resolved = resolve(open_checkpoint(str(packaged_model())), recipe_name=RECIPE)
    encoder = load_encoder(resolved.checkpoint, resolved.recipe, CPU)
    encoder.encode(texts[:256])
    times: dict[str, list[float]] = {"with": [], "without": []}
    for number in range(repetitions):
        for kind in ("with", "without") if number % 2 else ("without", "with"):
            own = folder / f"store{number}"
            store = ChunkStore(own, "bench", Space(folder, 2**40)) if kind == "with" else None
            started = time.perf_counter()
            encoder.encode(texts, store=store)
            times[kind].append(time.perf_counter() - started)
            shutil.rmtree(own, ignore_errors=True)
    ratios = [one / other for one, other in zip(times["with"], times["without"], strict=True)]
    vectors = torch.nn.functional.normalize(torch.randn(CHUNK, WIDTH)).bfloat16().float().numpy()
    documents = [f"{i} " + "word " * 200 for i in range(CHUNK)]
    steps: dict[str, list[float]] = {"name": [], "write": [], "read": []}
    for number in range(repetitions):
        stores = [ChunkStore(folder / "large", str(number), Space(folder, 2**40)) for _ in "ab"]
        marks = [time.perf_counter()]
        key = stores[0].key(documents, "Query: ", 32)
        marks.append(time.perf_counter())
        stores[0].write(key, Chunk(vectors))
        marks.append(time.perf_counter())
        found = stores[1].read(key, CHUNK, WIDTH)
        marks.append(time.perf_counter())
        if found is None or found.vectors.tobytes() != vectors.tobytes():
            raise RuntimeError("what was read is not what was written")
        for step, begun, ended in zip(steps, marks[:-1], marks[1:], strict=True):
            steps[step].append(ended - begun)
    size = max(path.stat().st_size for path in (folder / "large").iterdir())
    return {
        "texts": len(texts),
        "with_store_over_without": {"median": statistics.median(ratios), "all": ratios},
        "large_chunk": {
            "vectors": CHUNK,
            "width": WIDTH,
            "bytes": size,
            "seconds": {step: statistics.median(own) for step, own in steps.items()},
        },
    }


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--datasets-dir", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        documents = write_task(folder, options.datasets_dir, options.documents)
        with (folder / "data/bench/resumed/corpus.jsonl").open(encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in islice(file, CHUNK)]
        write_model(folder, texts[:2000])
        found = {
            "documents": documents,
            "killed": killed(folder, documents),
            "cost": cost(folder, texts, options.repetitions),
            "hardware": hardware(CPU),
            "packages": deciding_packages(),
        }
    print(json.dumps(found, indent=2))
    write_json(options.output / "resume-cpu.json", found)


if __name__ == "__main__":
    main()
