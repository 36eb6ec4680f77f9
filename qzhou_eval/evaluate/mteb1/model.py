"""The encoder as mteb sees a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mteb.encoder_interface import PromptType
from mteb.model_meta import ModelMeta

from qzhou_eval import interruption
from qzhou_eval.encode.chunk_store import ChunkStore
from qzhou_eval.encode.text_encoder import TextEncoder
from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.evaluate.memo import Memo
from qzhou_eval.recipe.resolution import ResolvedRecipe
from qzhou_eval.suite.instructions import Side
from qzhou_eval.suite.suite import TaskSpec

SIDES: dict[PromptType, Side] = {
    PromptType.query: Side.QUERY,
    PromptType.passage: Side.DOCUMENT,
}

SEVERAL_CALLS = ("STS", "Clustering", "Summarization")
"""Types whose tasks mteb encodes in several calls, in which texts may come again."""

PromptOf = Callable[[str, Side | None], str]
"""Task name and side to the string put before a text."""


class MtebModel:
    """Puts each task's prompt on and hands the texts to the encoder."""

    def __init__(
        self,
        encoder: TextEncoder,
        prompt_of: PromptOf,
        specs: Mapping[str, TaskSpec],
        meta: ModelMeta,
    ) -> None:
        self.encoder = encoder
        self.prompt_of = prompt_of
        self.specs = specs
        self.mteb_model_meta = meta
        self.stores: dict[str, ChunkStore | None] = {}
        """Where the vectors of a task are kept on disk, by its name."""
        self._memo = Memo()
        self._one_at_a_time = threading.Lock()

    def forget(self) -> None:
        """Forget the vectors of the task that is over."""
        self._memo.forget()

    def encode(
        self,
        sentences: Sequence[str],
        *,
        task_name: str,
        prompt_type: PromptType | None = None,
        batch_size: int = 32,
        **_: Any,
    ) -> Vectors:
        """Encode `sentences` for `task_name`.

        Returns:
            Vectors, shape (len(sentences), width), float32.

        Raises:
            VectorError: a vector is not finite or all zero.
            Stopped: a signal asked to.
        """
        side = SIDES[prompt_type] if prompt_type is not None else None
        texts = list(sentences)
        prompt = self.prompt_of(task_name, side)
        label = f"{task_name} {side.value}" if side else task_name
        kind = self.specs[task_name].type

        def encode(some: list[str]) -> Vectors:
            # Between calls nothing is lost by stopping: those before are on disk.
            interruption.check()
            store = self.stores.get(task_name)
            with self._one_at_a_time:
                return self.encoder.encode(
                    some, prompt=prompt, batch_size=batch_size, label=label, store=store
                )

        if not self.encoder.exact and kind in SEVERAL_CALLS:
            return self._memo.encode(task_name, prompt, texts, encode)
        if kind != "PairClassification":
            return encode(texts)
        # mteb hands over the elements of a set, whose order changes from process to process
        # with Python's string hashing; sorted, they give the same batches in every run.
        order = sorted(range(len(texts)), key=texts.__getitem__)
        vectors = encode([texts[i] for i in order])
        result = np.empty_like(vectors)
        result[order] = vectors
        return result


def model_meta(resolved: ResolvedRecipe, encoder: TextEncoder, revision: str) -> ModelMeta:
    """Return mteb's record of the model; what we do not know stays None."""
    parameters = encoder.parameters
    return ModelMeta(
        name=resolved.model_name,
        revision=revision,
        release_date=None,
        languages=None,
        n_parameters=parameters.count,
        memory_usage_mb=round(parameters.bytes / 2**20),
        max_tokens=resolved.recipe.max_length,
        embed_dim=encoder.width,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name="cosine",
        use_instructions=bool(resolved.recipe.instruction_set),
        training_datasets=None,
    )
