"""What a checkpoint's own files say about how it is run."""

from __future__ import annotations

from typing import Any

from qzhou_eval.recipe.checkpoint import Checkpoint

# Flags of a sentence-transformers 1_Pooling/config.json, and the pooling each stands for.
POOLING_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last_token",
    "pooling_mode_cls_token": "bos_token",
}
# A tokenizer with no limit of its own carries a number like 1e30.
NO_LIMIT = 10**6


def detect(checkpoint: Checkpoint, limit: int) -> dict[str, Any]:
    """Return the recipe fields the checkpoint's files decide.

    Args:
        checkpoint: The checkpoint whose files are read.
        limit: The recipe's own max_length, which a detected one does not exceed.

    Returns:
        Field name to plain value, for `override`; fields the files say nothing of are left out.

    """
    found: dict[str, Any] = {"trust_remote_code": checkpoint.wants_remote_code}
    files, config = checkpoint.side_files, checkpoint.config

    flags = files.get("1_Pooling/config.json") or {}
    chosen = [name for flag, name in POOLING_FLAGS.items() if flags.get(flag)]
    if len(chosen) == 1:
        found["pooling"] = chosen[0]

    modules = files.get("modules.json")
    if modules:
        found["normalize"] = any(str(m.get("type", "")).endswith("Normalize") for m in modules)
        prompts = (files.get("config_sentence_transformers.json") or {}).get("prompts") or {}
        if not any(prompts.values()):
            # A sentence-transformers model that names no prompts was trained without them.
            found["instruction_set"] = ""

    tokenizer = files.get("tokenizer_config.json") or {}
    if tokenizer.get("padding_side") in ("left", "right"):
        found["padding_side"] = tokenizer["padding_side"]

    stated = [
        (files.get("sentence_bert_config.json") or {}).get("max_seq_length"),
        tokenizer.get("model_max_length"),
    ]
    lengths: list[float] = [n for n in stated if isinstance(n, int | float) and 0 < n < NO_LIMIT]
    if lengths:
        found["max_length"] = int(min(limit, *lengths))

    dtype = config.get("torch_dtype") or config.get("dtype")
    if dtype in ("float32", "float16", "bfloat16"):
        found["dtype"] = dtype
    return found
