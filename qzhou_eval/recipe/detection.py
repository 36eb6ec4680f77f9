"""What a checkpoint's own files say about how it is run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qzhou_eval.errors import UserError
from qzhou_eval.recipe.checkpoint import Checkpoint

# Flags of a sentence-transformers 1_Pooling/config.json, and the pooling each stands for.
POOLING_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last_token",
    "pooling_mode_cls_token": "bos_token",
}
KNOWN_MODULES = ("Transformer", "Pooling", "Normalize")
# Models of learnt absolute positions, and how many of these are used up before the first token.
ABSOLUTE_POSITIONS = {
    "albert": 0,
    "bert": 0,
    "distilbert": 0,
    "electra": 0,
    "nomic_bert": 0,
    "camembert": 2,
    "mpnet": 2,
    "roberta": 2,
    "xlm-roberta": 2,
}
# A tokenizer with no limit of its own carries a number like 1e30.
NO_LIMIT = 10**6


def usable_positions(config: dict[str, Any]) -> int | None:
    """Return the most tokens a model of learnt absolute positions takes; None for any other."""
    used = ABSOLUTE_POSITIONS.get(str(config.get("model_type")))
    positions = config.get("max_position_embeddings")
    return positions - used if used is not None and isinstance(positions, int) else None


def detect(checkpoint: Checkpoint, limit: int, given: Collection[str] = ()) -> dict[str, Any]:
    """Return the recipe fields the checkpoint's files decide.

    Args:
        checkpoint: The checkpoint whose files are read.
        limit: The recipe's own max_length, which a detected one does not exceed.
        given: Fields the user decides, which the files need not.

    Returns:
        Field name to plain value, for `override`; fields the files say nothing of are left out.

    Raises:
        UserError: the files ask for what is not done here, so vectors would silently be others.
    """
    if checkpoint.unknown_files:
        raise UserError(
            f"{checkpoint.name}: offline, and of {', '.join(checkpoint.unknown_files)} it is not "
            "known whether the model has them: run once with the hub, or name a --recipe"
        )
    found: dict[str, Any] = {"trust_remote_code": checkpoint.wants_remote_code}
    files, config = checkpoint.side_files, checkpoint.config

    flags = files.get("1_Pooling/config.json") or {}
    chosen = [name for flag, name in POOLING_FLAGS.items() if flags.get(flag)]
    set_flags = [flag for flag, value in flags.items() if value and flag.startswith("pooling_mode")]
    if len(chosen) == len(set_flags) == 1:
        found["pooling"] = chosen[0]
    elif set_flags and "pooling" not in given:
        raise UserError(
            f"{checkpoint.name}: its 1_Pooling wants {', '.join(set_flags)}, which is not done "
            "here; choose a --pooling if you mean another"
        )

    modules = files.get("modules.json")
    if modules:
        kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
        if foreign := [kind for kind in kinds if kind not in KNOWN_MODULES]:
            raise UserError(
                f"{checkpoint.name}: its modules.json has {', '.join(foreign)}, which is not run "
                "here, so its vectors would be others; name a --recipe file if that is meant"
            )
        found["normalize"] = "Normalize" in kinds
        prompts = (files.get("config_sentence_transformers.json") or {}).get("prompts") or {}
        texts = [str(text) for text in prompts.values() if text]
        foreign_prompts = [text for text in texts if not text.startswith("Instruct:")]
        if foreign_prompts and "instruction_set" not in given:
            raise UserError(
                f"{checkpoint.name}: it names prompts of its own ({foreign_prompts[0]!r}), which "
                "are not put on here: choose --instructions, --no-instructions or a --recipe"
            )
        if not texts:
            # A sentence-transformers model that names no prompts was trained without them.
            found["instruction_set"] = ""

    tokenizer = files.get("tokenizer_config.json") or {}
    if tokenizer.get("padding_side") in ("left", "right"):
        found["padding_side"] = tokenizer["padding_side"]

    stated = [
        (files.get("sentence_bert_config.json") or {}).get("max_seq_length"),
        tokenizer.get("model_max_length"),
        usable_positions(config),
    ]
    lengths: list[float] = [n for n in stated if isinstance(n, int | float) and 0 < n < NO_LIMIT]
    if lengths:
        found["max_length"] = int(min(limit, *lengths))

    dtype = config.get("torch_dtype") or config.get("dtype")
    if dtype in ("float32", "float16", "bfloat16"):
        found["dtype"] = dtype
    return found
