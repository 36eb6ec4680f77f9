"""A loaded model and all that a command wants of it: its encoder, its checks, its pace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch

from qzhou_eval.encode.cost import Shape, matrix_ceiling, read_shape
from qzhou_eval.encode.direction import check_direction
from qzhou_eval.encode.encoder import Encoder, Meter, load_encoder
from qzhou_eval.encode.fast import FastEncoder, fast_encoder
from qzhou_eval.encode.preflight import TEXTS, Preflight, preflight
from qzhou_eval.encode.speed import MeasuredPace, measure_pace
from qzhou_eval.encode.vectors import Vectors
from qzhou_eval.environment import hardware
from qzhou_eval.recipe.resolution import ResolvedRecipe
from qzhou_eval.suite.samples import sample_texts

if TYPE_CHECKING:
    from qzhou_eval.encode.text_encoder import TextEncoder


@dataclass(frozen=True)
class FastLayout:
    """How a model that was made fast lays its batches out.

    Attributes:
        layout: "unpadded" or "padded".
        budget: Most tokens of a forward pass.
        reason: Why, in words for the user.
    """

    layout: str
    budget: int
    reason: str


class Engine(Protocol):
    """A loaded model, in this process or in several actors."""

    @property
    def encoder(self) -> TextEncoder:
        """Turns texts into vectors; another object once the engine was made fast."""
        ...

    @property
    def name(self) -> str:
        """What computes, in words: "CPU", "NVIDIA H100", "8 x NVIDIA H100"."""
        ...

    @property
    def shape(self) -> Shape:
        """The model's sizes.

        Raises:
            UserError: its configuration does not say them.
        """
        ...

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        ...

    @property
    def hardware(self) -> dict[str, Any]:
        """What computes, for the manifest."""
        ...

    def preflight(self, prompts: Mapping[str, str]) -> Preflight:
        """Check the loaded model against its recipe; see `preflight.preflight`."""
        ...

    def check_direction(self) -> None:
        """Check that attention looks as the recipe says, where it says.

        Raises:
            UserError: it looks the other way.
        """
        ...

    def make_fast(self) -> FastLayout:
        """Encode in fast mode from here on."""
        ...

    def pace(self, seconds: float, batch_size: int) -> MeasuredPace:
        """Measure how fast texts are encoded, for about `seconds`."""
        ...

    def ceiling(self, seconds: float) -> float:
        """Measure the operations a second of large matrix products, for about `seconds`."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


@dataclass
class InProcess:
    """A model on one device of this process.

    Attributes:
        resolved: Its recipe and checkpoint.
        encoder: The encoder.
    """

    resolved: ResolvedRecipe
    encoder: Encoder

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.encoder.backbone.device

    @property
    def name(self) -> str:
        """The GPU's name, or "CPU"."""
        on_gpu = self.device.type == "cuda"
        return torch.cuda.get_device_name(self.device) if on_gpu else "CPU"

    @property
    def shape(self) -> Shape:
        """The model's sizes, as its loaded configuration has them."""
        return read_shape(self.encoder.backbone.model.config, self.resolved.model_name)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, as loaded."""
        return self.encoder.backbone.tokenizer

    @property
    def hardware(self) -> dict[str, Any]:
        """The device of this process."""
        return hardware(self.device)

    def preflight(self, prompts: Mapping[str, str]) -> Preflight:
        """Check the loaded model against its recipe."""
        return preflight(self.encoder, self.resolved, prompts)

    def check_direction(self) -> None:
        """Check that attention looks as the recipe says."""
        check_direction(self.encoder.backbone, self.resolved.recipe.attention_direction)

    def make_fast(self) -> FastLayout:
        """Encode in fast mode from here on; twice is once."""
        reason = "as before"
        if not isinstance(self.encoder, FastEncoder):
            choice = fast_encoder(self.encoder)
            self.encoder, reason = choice.encoder, choice.reason
        return FastLayout(self.encoder.layout.value, self.encoder.budget, reason)

    def pace(self, seconds: float, batch_size: int) -> MeasuredPace:
        """Measure how fast texts of both languages are encoded."""
        # Turn about, so that every passage has both languages.
        texts = [text for pair in zip(*sample_texts().values(), strict=False) for text in pair]
        return measure_pace(self.encoder, texts, seconds=seconds, batch_size=batch_size)

    def ceiling(self, seconds: float) -> float:
        """Measure matrix products in the recipe's dtype."""
        return matrix_ceiling(self.device, self.resolved.recipe.dtype, seconds)

    def sample_vectors(self) -> Vectors:
        """Return the vectors of preflight's texts; the meter is left as it was."""
        probe = replace(self.encoder, meter=Meter())
        return probe.encode(TEXTS, batch_size=len(TEXTS))

    def close(self) -> None:
        """Nothing to do: the model goes with the process."""


def load_in_process(resolved: ResolvedRecipe, device: torch.device) -> InProcess:
    """Load the model onto a device of this process.

    Raises:
        UserError: it does not load, or the device cannot run it.
    """
    return InProcess(resolved, load_encoder(resolved.checkpoint, resolved.recipe, device))
