"""What an actor is given to load its model with, on whatever node it finds itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from qzhou_eval.environment import package_versions
from qzhou_eval.errors import UserError
from qzhou_eval.recipe.checkpoint import open_checkpoint
from qzhou_eval.recipe.resolution import ResolvedRecipe

if TYPE_CHECKING:
    import torch

    from qzhou_eval.encode.engine import InProcess

ENCODING_PACKAGES = ("numpy", "qzhou-eval", "tokenizers", "torch", "transformers")
"""Packages that a node must have in the version the driver has."""


class Loader(Protocol):
    """Loads a model on a node; is sent to the actors."""

    def check(self) -> None:
        """Check that the node has what the driver has.

        Raises:
            UserError: it has not.
        """
        ...

    def load(self, device: torch.device) -> InProcess:
        """Load the model onto `device`.

        Raises:
            UserError: it does not load there.
        """
        ...


def encoding_versions() -> dict[str, str]:
    """Return the versions of the packages that decide vectors."""
    versions = package_versions()
    return {name: versions.get(name, "") for name in ENCODING_PACKAGES}


@dataclass(frozen=True)
class ModelLoader:
    """Loads the checkpoint of a run by its folder, or by its hub name and commit.

    Attributes:
        resolved: The recipe and the checkpoint as the driver has them.
        versions: The driver's packages.
    """

    resolved: ResolvedRecipe
    versions: Mapping[str, str] = field(default_factory=encoding_versions)

    def check(self) -> None:
        """Check packages and the checkpoint's files.

        Raises:
            UserError: versions differ, the checkpoint is not here, or its files are others.
        """
        here = encoding_versions()
        differing = [
            f"{name} {here[name] or 'missing'}, not {version or 'missing'}"
            for name, version in self.versions.items()
            if here.get(name) != version
        ]
        if differing:
            raise UserError(
                f"has other packages than the command's own machine ({'; '.join(differing)}): "
                "install the same environment on every node"
            )
        expected = self.resolved.checkpoint
        try:
            found = open_checkpoint(expected.location, expected.revision)
        except UserError as error:
            raise UserError(
                f"{error}; every node loads the model itself: give a path that all nodes share, "
                "or a hub name that each has cached or can reach"
            ) from error
        if expected.is_local and found.content != expected.content:
            raise UserError(
                f"--model {expected.location} has other files there than on the command's own "
                "machine (by sha256): copy it anew, or give a path that all nodes share"
            )

    def load(self, device: torch.device) -> InProcess:
        """Load the model onto `device`.

        Raises:
            UserError: it does not load there.
        """
        from qzhou_eval.encode.engine import load_in_process

        return load_in_process(self.resolved, device)
