"""What runs in a Ray actor: one model on one device, for as long as the run lasts.

This module is imported in the actor's process before its variables are set, so it imports none of
the Hugging Face libraries, which read theirs as they are imported.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qzhou_eval.encode.distributed.scratch import make_scratch, remove_left_behind

if TYPE_CHECKING:
    from qzhou_eval.encode.cost import Shape
    from qzhou_eval.encode.distributed.loading import Loader
    from qzhou_eval.encode.encoder import Meter, Parameters
    from qzhou_eval.encode.engine import InProcess
    from qzhou_eval.encode.vectors import Vectors

FORWARDED = (
    "HF_DATASETS_OFFLINE",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TOKENIZERS_PARALLELISM",
    "TRANSFORMERS_OFFLINE",
)
"""Environment variables that actors take over from the driver. No tokens: they would stand in Ray's
logs, and a node has its own."""


@dataclass(frozen=True)
class Where:
    """Where an actor has been placed.

    Attributes:
        host: The machine's name.
        node: Ray's id of the node.
        pid: Its process.
        gpu: What CUDA_VISIBLE_DEVICES names its GPU by; empty without one.
        cores: Of the machine, as many as may be used.
    """

    host: str
    node: str
    pid: int
    gpu: str
    cores: int


@dataclass(frozen=True)
class Loaded:
    """What an actor tells of the model it has loaded.

    Attributes:
        width: Dimensions of a vector.
        parameters: The model's size.
        shape: The model's sizes; None where its configuration does not say.
        name: What computes.
        hardware: The same for the manifest.
    """

    width: int
    parameters: Parameters
    shape: Shape | None
    name: str
    hardware: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """Vectors of a chunk, and what making them came to.

    Attributes:
        vectors: (texts, width), float32.
        meter: Texts, tokens and seconds of this chunk alone.
        learned: What the encoder has found out about its device.
    """

    vectors: Vectors
    meter: Meter
    learned: dict[str, int]


ASIDE = "aside"
"""Concurrency group of what is answered while a chunk is being encoded."""


class EncoderActor:
    """A model on one device. Its methods are called one after the other, but `under_way`."""

    def __init__(
        self, loader: Loader, kind: str, variables: Mapping[str, str], scratch: str
    ) -> None:
        """Prepare; nothing is loaded yet, so that what is wrong can be told by a call.

        Args:
            loader: Loads the model.
            kind: "cuda", for the GPU that Ray lets this process see, or "cpu".
            variables: Environment variables to set, where this process has them otherwise.
            scratch: Folder for what does not outlive the run; empty for the system's.
        """
        os.environ.update(variables)
        # A checkpoint's own code is copied there to be imported. Actors that share the folder
        # would read each other's half-written files. Killed ones cannot clear up behind them.
        remove_left_behind()
        own = tempfile.mkdtemp(dir=scratch) if scratch else str(make_scratch())
        os.environ["HF_MODULES_CACHE"] = own
        self._loader = loader
        self._kind = kind
        self._engine: InProcess | None = None

    def where(self) -> Where:
        """Return where this is."""
        import ray

        return Where(
            socket.gethostname(),
            ray.get_runtime_context().get_node_id(),
            os.getpid(),
            os.environ.get("CUDA_VISIBLE_DEVICES", "") if self._kind == "cuda" else "",
            # Those it may use, as under Slurm.
            len(os.sched_getaffinity(0)),
        )

    def check(self) -> None:
        """Check that the node has the model and the packages.

        Raises:
            UserError: it has not.
        """
        self._loader.check()

    def load(self, threads: int, *, fast: bool = False) -> Loaded:
        """Load the model.

        Args:
            threads: Of a forward pass on a CPU.
            fast: Make it fast at once, as the actor was that this one stands in for.

        Raises:
            UserError: it does not load here.
        """
        import torch

        from qzhou_eval.errors import UserError

        torch.set_num_threads(threads)
        engine = self._loader.load(torch.device("cuda:0" if self._kind == "cuda" else "cpu"))
        if fast:
            engine.make_fast()
        self._engine = engine
        encoder = engine.encoder
        try:
            shape = engine.shape
        except UserError:
            shape = None
        return Loaded(encoder.width, encoder.parameters, shape, engine.name, engine.hardware)

    def encode(self, texts: Sequence[str], prompt: str, batch_size: int, devices: int) -> Part:
        """Encode `texts`; nothing looks at the vectors here.

        Args:
            texts: A chunk, or all texts of a small call.
            prompt: Put before each.
            batch_size: Texts of a forward pass.
            devices: The device count of the published chunk rule; 1 for what is a chunk already.
        """
        encoder = self._loaded.encoder
        encoder.devices = devices
        before = replace(encoder.meter)
        vectors = encoder.unchecked(texts, prompt=prompt, batch_size=batch_size)
        return Part(vectors, encoder.meter - before, encoder.learned)

    def under_way(self) -> tuple[int, int]:
        """Return the texts and tokens of the present chunk that are done; asked meanwhile."""
        encoder = self._engine.encoder if self._engine else None
        progress = getattr(encoder, "under_way", None)
        return (progress.texts, progress.tokens) if progress else (0, 0)

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of the engine."""
        return getattr(self._loaded, method)(*arguments)

    @property
    def _loaded(self) -> InProcess:
        assert self._engine is not None, "load() comes first"
        return self._engine
