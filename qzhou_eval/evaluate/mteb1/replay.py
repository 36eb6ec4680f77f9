"""Tasks that mteb evaluates itself, with their texts encoded before it asks for them.

So a task can be scored while the devices encode the next one. What mteb will ask for is read off
the task's data; a call that was not foreseen is encoded when it comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mteb.abstasks.AbsTaskClustering import AbsTaskClustering
from mteb.abstasks.AbsTaskClusteringFast import AbsTaskClusteringFast
from mteb.abstasks.AbsTaskPairClassification import AbsTaskPairClassification
from mteb.abstasks.AbsTaskSTS import AbsTaskSTS
from mteb.abstasks.AbsTaskSummarization import AbsTaskSummarization

from qzhou_eval.encode.encoder import Vectors
from qzhou_eval.encode.text_encoder import TextEncoder
from qzhou_eval.evaluate.mteb1.model import SIDES, MtebModel
from qzhou_eval.evaluate.mteb1.scoring import unchanged
from qzhou_eval.evaluate.mteb1.texts import READERS

KINDS = (
    AbsTaskSTS,
    AbsTaskPairClassification,
    AbsTaskClusteringFast,
    AbsTaskClustering,
    AbsTaskSummarization,
)
"""Kinds whose texts can be read without drawing a number that the evaluation would draw."""
PROMPT_TYPES = {side: kind for kind, side in SIDES.items()}


class Recorder:
    """An encoder that remembers what it has encoded."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._known: dict[tuple[str, tuple[str, ...]], Vectors] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, texts: Sequence[str], *, prompt: str = "", **others: Any) -> Vectors:
        """Encode `texts`, (len(texts), width), float32."""
        vectors = self._encoder.encode(texts, prompt=prompt, **others)
        self._known[prompt, tuple(texts)] = vectors
        return vectors

    def replay(self) -> Replay:
        """Return an encoder of the same calls, without the work."""
        return Replay(self._encoder, self._known)


class Replay:
    """An encoder that answers with what was encoded before."""

    exact = True
    """No text is to be looked for in another call: all calls are known."""

    def __init__(
        self, encoder: TextEncoder, known: dict[tuple[str, tuple[str, ...]], Vectors]
    ) -> None:
        self._encoder = encoder
        self._known = known

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode(self, texts: Sequence[str], *, prompt: str = "", **others: Any) -> Vectors:
        """Return the vectors of `texts`, (len(texts), width), float32."""
        found = self._known.get((prompt, tuple(texts)))
        return self._encoder.encode(texts, prompt=prompt, **others) if found is None else found


def foreseen(task: Any) -> bool:
    """Whether what `task` has encoded can be told from its data."""
    kind = next((kind for kind in KINDS if isinstance(task, kind)), None)
    return kind is not None and unchanged(task, kind, "evaluate", "_evaluate_subset")


def encode_ahead(
    task: Any, model: MtebModel, split: str, subsets: Sequence[str], size: int
) -> MtebModel:
    """Encode what evaluating `subsets` of `split` will ask for, in its calls.

    Returns:
        A model that answers those calls at once.
    """
    recorder = Recorder(model.encoder)
    recording = model.with_encoder(recorder)
    read = next(read for kind, read in READERS if isinstance(task, kind))
    for subset in subsets:
        for side, texts in read(task, split, subset):
            kind = PROMPT_TYPES[side] if side else None
            name = task.metadata.name
            recording.encode(texts, task_name=name, prompt_type=kind, batch_size=size)
    return model.with_encoder(recorder.replay())
