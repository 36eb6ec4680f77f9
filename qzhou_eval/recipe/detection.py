"""What a checkpoint's own files say about how it is run."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from qzhou_eval.errors import UserError
from qzhou_eval.recipe.checkpoint import Checkpoint, module_kind
from qzhou_eval.recipe.recipe import MOST

# Flags of a sentence-transformers 1_Pooling/config.json, and the pooling each stands for here.
POOLING_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last_token",
    "pooling_mode_cls_token": "bos_token",
}
ORDER = re.compile("Transformer( Pooling( Dense)*)?( Normalize)?")
# Models whose tokens see each other, whatever their attention is called.
BIDIRECTIONAL = (
    "albert",
    "bert",
    "camembert",
    "deberta",
    "deberta-v2",
    "distilbert",
    "electra",
    "ernie",
    "modernbert",
    "mpnet",
    "nomic_bert",
    "roberta",
    "xlm-roberta",
)
KNOWN_MODULES = ("Transformer", "Pooling", "Dense", "Normalize")
# Names a sentence-transformers checkpoint gives its prompts, and the recipe field of each.
PROMPT_NAMES = {
    "query": "query_prefix",
    "document": "document_prefix",
    "passage": "document_prefix",
    "corpus": "document_prefix",
}
# Models of learnt absolute positions, and how many of these are used up before the first token.
ABSOLUTE_POSITIONS = {
    "albert": 0,
    "bert": 0,
    "distilbert": 0,
    "electra": 0,
    "ernie": 0,
    "gpt2": 0,
    "nomic_bert": 0,
    "camembert": 2,
    "mpnet": 2,
    "roberta": 2,
    "xlm-roberta": 2,
}
# A tokenizer with no limit of its own carries a number like 1e30.
NO_LIMIT = MOST


def usable_positions(config: dict[str, Any]) -> int | None:
    """Return the most tokens a model of learnt absolute positions takes; None for any other."""
    used = ABSOLUTE_POSITIONS.get(str(config.get("model_type")))
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    if used is None or type(positions) is not int or positions <= used:
        return None
    return positions - used


@dataclass
class Detected:
    """What a checkpoint's files say.

    Attributes:
        values: Field name to plain value, for `override`; fields the files say nothing of are
            left out.
        origins: Field name to the file that says it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def say(self, name: str, value: Any, origin: str) -> None:
        """Put down that `origin` says `value` of the field `name`."""
        self.values[name] = value
        self.origins[name] = origin


def detect(checkpoint: Checkpoint, limit: int, given: Collection[str] = ()) -> Detected:
    """Return the recipe fields the checkpoint's files decide.

    Args:
        checkpoint: The checkpoint whose files are read.
        limit: The recipe's own max_length, which a detected one does not exceed.
        given: Fields the user decides, which the files need not.

    Raises:
        UserError: the files ask for what is not done here, so vectors would silently be others.
    """
    if checkpoint.unknown_files:
        raise UserError(
            f"{checkpoint.name}: offline, and of {', '.join(checkpoint.unknown_files)} it is not "
            "known whether the model has them: run once with the hub, or name a --recipe"
        )
    found = Detected({"trust_remote_code": checkpoint.wants_remote_code})
    files = checkpoint.side_files
    _detect_pooling(checkpoint, found, given)
    if checkpoint.modules:
        kinds = [module_kind(module) for module in checkpoint.modules]
        if foreign := [kind for kind in kinds if kind not in KNOWN_MODULES]:
            raise UserError(
                f"{checkpoint.name}: its modules.json has {', '.join(foreign)}, which is not run "
                "here, so its vectors would be others; name a --recipe file if that is meant"
            )
        if not ORDER.fullmatch(" ".join(kinds)):
            raise UserError(
                f"{checkpoint.name}: its modules.json has the order {', '.join(kinds)}, and only "
                "Transformer, Pooling, Dense, Normalize is run here"
            )
        _check_loading_arguments(checkpoint)
        found.say("normalize", "Normalize" in kinds, "modules.json")
        # As sentence-transformers has it; "Null" is the published QZhou procedure's.
        found.say("empty_text", "", "modules.json")
        _detect_prompts(checkpoint, found, given)

    tokenizer = files.get("tokenizer_config.json") or {}
    if tokenizer.get("padding_side") in ("left", "right"):
        found.say("padding_side", tokenizer["padding_side"], "tokenizer_config.json")

    name, sentence = checkpoint.sentence_config
    stated = {
        name: sentence.get("max_seq_length"),
        "tokenizer_config.json": tokenizer.get("model_max_length"),
        "config.json": usable_positions(checkpoint.config),
    }
    if stated[name]:  # which then decides alone, but for the positions there are
        del stated["tokenizer_config.json"]
    lengths = {
        file: n
        for file, n in stated.items()
        if isinstance(n, int | float) and not isinstance(n, bool) and 1 <= n < NO_LIMIT
    }
    if lengths:
        shortest = min(lengths, key=lambda file: lengths[file])
        if lengths[shortest] <= limit:
            found.say("max_length", int(lengths[shortest]), shortest)

    if checkpoint.config.get("model_type") in BIDIRECTIONAL:
        found.say("attention_direction", "bidirectional", "config.json")
    dtype = checkpoint.config.get("torch_dtype") or checkpoint.config.get("dtype")
    if dtype in ("float32", "float16", "bfloat16"):
        found.say("dtype", dtype, "config.json")
    return found


def own_pooling(checkpoint: Checkpoint) -> list[str]:
    """Return what the checkpoint's 1_Pooling wants: poolings of ours, or flags that are not done.

    More than one means their vectors side by side, which is not done either. The file is read as
    sentence-transformers does: mean pooling is on unless it says otherwise.
    """
    config = checkpoint.pooling_config
    if config is None:
        return []
    if mode := str(config.get("pooling_mode") or "").lower():
        names = (
            f"pooling_mode_{mode}",
            f"pooling_mode_{mode}_tokens",
            f"pooling_mode_{mode}_token",
        )
        return [
            next((POOLING_FLAGS[n] for n in names if n in POOLING_FLAGS), f"pooling_mode {mode}")
        ]
    flags = {"pooling_mode_mean_tokens": True, **config}
    wanted = [flag for flag, value in flags.items() if value and flag.startswith("pooling_mode_")]
    return [POOLING_FLAGS.get(flag, flag) for flag in wanted]


def _check_loading_arguments(checkpoint: Checkpoint) -> None:
    """Refuse what sentence-transformers would load the model with and we do not."""
    name, sentence = checkpoint.sentence_config
    harmless = ("torch_dtype", "dtype", "attn_implementation", "trust_remote_code", "revision")
    for part in ("config_args", "model_args", "tokenizer_args"):
        arguments = sentence.get(part)
        strange = [k for k in arguments if k not in harmless] if isinstance(arguments, dict) else []
        if strange:
            raise UserError(
                f"{checkpoint.name}: its {name} loads the model with {part} {', '.join(strange)}, "
                "which is not done here; put that into config.json, or name a --recipe file"
            )


def _detect_pooling(checkpoint: Checkpoint, found: Detected, given: Collection[str]) -> None:
    wanted = own_pooling(checkpoint)
    if len(wanted) == 1 and wanted[0] in POOLING_FLAGS.values():
        found.say("pooling", wanted[0], "1_Pooling/config.json")
    elif wanted and "pooling" not in given:
        raise UserError(
            f"{checkpoint.name}: its 1_Pooling wants {' and '.join(wanted)}, which is not done "
            "here; choose a --pooling if you mean another"
        )


def _detect_prompts(checkpoint: Checkpoint, found: Detected, given: Collection[str]) -> None:
    """Read the prompts a sentence-transformers checkpoint names for queries and documents."""
    where = "config_sentence_transformers.json"
    config = checkpoint.side_files.get(where) or {}
    named, default = config.get("prompts") or {}, config.get("default_prompt_name") or ""
    texts = [*named.values(), default] if isinstance(named, dict) else [named]
    if not all(isinstance(text, str) for text in texts):
        raise UserError(
            f"{checkpoint.name}: its {where} has prompts that are no texts: expected a table of "
            "names and texts, and the name of the default one"
        )
    prompts = {name: text for name, text in named.items() if text}
    instructed = [text for text in prompts.values() if text.startswith("Instruct:")]
    for text in instructed[:1]:
        # What follows the instruction's line is the template's; some have a space there.
        _, line, tail = text.partition("\n")
        found.say("prompt_template", "Instruct: {instruction}" + line + tail, where)
    if not instructed:
        # One that names no instruction was trained without them.
        found.say("instruction_set", "", where if prompts else "modules.json")
    if "instruction_set" in given:
        return
    for name, text in prompts.items():
        if text in instructed:
            continue
        if name not in PROMPT_NAMES or (default and default not in PROMPT_NAMES):
            raise UserError(
                f"{checkpoint.name}: it names prompts of its own ({name}: {text!r}), and which "
                "task takes which is not known: choose --instructions, --no-instructions or a "
                "--recipe"
            )
        found.say(PROMPT_NAMES[name], text, where)
    if default in prompts and prompts[default] not in instructed:
        # sentence-transformers puts it before every text that is given no other.
        for prefix in ("query_prefix", "document_prefix", "text_prefix"):
            if prefix not in found.values:
                found.say(prefix, prompts[default], where)
