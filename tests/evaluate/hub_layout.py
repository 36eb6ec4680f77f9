"""Small folders in hub layout for tasks of the suites, of every type, from the demo's items."""

import json
from pathlib import Path

from qzhou_eval.suite.library import built_in

DEMO = built_in("demo").datasets_dir / "demo"


def demo_rows(name):
    with (DEMO / name).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(folder: Path, configs: dict[str, dict[str, list]]) -> None:
    """Write a dataset whose README lists `configs`: config name to split to rows."""
    lines = ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            path = folder / config / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            path.write_text(text, encoding="utf-8")
            lines += [f"  - split: {split}", f"    path: {config}/{split}.jsonl"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


def renamed(rows, **names):
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


CMTEB_TASKS = (
    "EcomRetrieval",
    "T2Reranking",
    "Ocnli",
    "CLSClusteringS2S",
    "BQ",
    "TNews",
)
MTEB_TASKS = (
    "SCIDOCS",
    "AskUbuntuDupQuestions",
    "TwitterSemEval2015",
    "BiorxivClusteringP2P.v2",
    "TwentyNewsgroupsClustering.v2",
    "STS13",
    "STS22.v2",
    "MTOPDomainClassification",
    "MassiveIntentClassification",
    "SummEvalSummarization.v2",
)
"""One task or more of every type, layout and loader that the suites have."""


def make_datasets(root: Path) -> Path:
    """Write folders for `CMTEB_TASKS` and `MTEB_TASKS` below `root` and return it."""
    chinese, english = root / "C-MTEB", root / "mteb"
    # Chinese retrieval: corpus and queries are splits, the judgements a dataset of their own.
    corpus, queries = (
        demo_rows("retrieval-zh/corpus.jsonl"),
        demo_rows("retrieval-zh/queries.jsonl"),
    )
    write(chinese / "EcomRetrieval", {"default": {"corpus": corpus, "queries": queries}})
    qrels = demo_rows("retrieval-zh-qrels/test.jsonl")
    write(chinese / "EcomRetrieval-qrels", {"default": {"dev": qrels}})
    write(chinese / "T2Reranking", {"default": {"dev": demo_rows("reranking-zh/test.jsonl")}})
    pairs = demo_rows("pairclassification-zh/test.jsonl")
    nli = renamed(pairs, sentence1="sent1", sentence2="sent2")
    write(chinese / "OCNLI", {"default": {"validation": nli}})
    clusters = demo_rows("clustering-zh/test.jsonl")
    write(chinese / "CLSClusteringS2S", {"default": {"test": clusters}})
    write(chinese / "BQ", {"default": {"test": demo_rows("sts-zh/test.jsonl")}})
    train, test = (demo_rows(f"classification-zh/{split}.jsonl") for split in ("train", "test"))
    write(chinese / "TNews-classification", {"default": {"train": train, "validation": test}})

    # English retrieval: three configs, the BEIR layout.
    write(
        english / "scidocs",
        {
            "default": {"test": demo_rows("retrieval-en/qrels/test.jsonl")},
            "corpus": {"corpus": demo_rows("retrieval-en/corpus.jsonl")},
            "queries": {"queries": demo_rows("retrieval-en/queries.jsonl")},
        },
    )
    reranking = {"default": {"test": demo_rows("reranking-en/test.jsonl")}}
    write(english / "askubuntudupquestions-reranking", reranking)
    pairs = demo_rows("pairclassification-en/test.jsonl")
    tweets = renamed(pairs, sentence1="sent1", sentence2="sent2")
    write(english / "twittersemeval2015-pairclassification", {"default": {"test": tweets}})
    # mteb embeds 4 % of these sets.
    fast = demo_rows("clustering-en/test.jsonl") * 12
    write(english / "biorxiv-clustering-p2p", {"default": {"test": fast}})
    write(english / "twentynewsgroups-clustering", {"default": {"test": clusters * 6}})
    sts = demo_rows("sts-en/test.jsonl")
    write(english / "sts13-sts", {"default": {"test": sts}})
    # Fast loading reads one config with a language column.
    languages = [{**row, "lang": lang} for lang in ("en", "de") for row in sts]
    write(english / "sts22-crosslingual-sts", {"default": {"test": languages}})
    train, test = (demo_rows(f"classification-en/{split}.jsonl") for split in ("train", "test"))
    write(english / "mtop_domain", {"en": {"train": train, "test": test}})
    splits = {"train": train, "test": test}
    both = {
        split: [{**row, "lang": lang} for lang in ("en", "de") for row in rows]
        for split, rows in splits.items()
    }
    write(english / "amazon_massive_intent", {"default": both})
    write(english / "summeval", {"default": {"test": demo_rows("summarization-en/test.jsonl")}})
    return root
