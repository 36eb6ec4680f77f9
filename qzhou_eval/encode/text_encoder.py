"""What everything after the encoder asks of it, wherever its model computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from qzhou_eval.encode.chunk_store import ChunkStore
    from qzhou_eval.encode.encoder import Meter, Parameters
    from qzhou_eval.encode.progress import Told
    from qzhou_eval.encode.vectors import Vectors


class TextEncoder(Protocol):
    """Texts to vectors: a model in this process, or one in each of several actors.

    Attributes:
        meter: Texts, tokens and seconds so far.
        told: What progress bars say beside their texts.
    """

    meter: Meter
    told: Told

    @property
    def exact(self) -> bool:
        """Whether vectors are those of the published procedure, bit for bit."""
        ...

    @property
    def learned(self) -> dict[str, int]:
        """What has been found out about the devices, for the manifest."""
        ...

    @property
    def width(self) -> int:
        """Dimensions of a vector."""
        ...

    @property
    def parameters(self) -> Parameters:
        """Number and bytes of the model's parameters."""
        ...

    @property
    def search_device(self) -> torch.device:
        """Where this process may search: the model's device, if that is this process's own."""
        ...

    @property
    def elsewhere(self) -> bool:
        """Whether the model computes on something else than this process's own cores."""
        ...

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str = "",
        batch_size: int = 32,
        label: str = "",
        store: ChunkStore | None = None,
    ) -> Vectors:
        """Encode `texts`, each with `prompt` before it: (len(texts), width), float32.

        Raises:
            VectorError: a vector is not finite or all zero.
            Stopped: a signal asked to; what is done is in the store.
        """
        ...
