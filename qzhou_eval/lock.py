"""The lock of the published environment, and how the installed packages stand to it."""

from __future__ import annotations

import platform
import re
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from packaging.markers import Marker

from qzhou_eval.environment import PUBLISHED_PINS, is_version, package_versions
from qzhou_eval.errors import UserError, one_line

PUBLISHED_PYTHON = "3.10.12"
LOCKED_PYTHONS = ("3.10", "3.11", "3.12")
"""Python versions the lock is good for."""
ENTRY = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)\s*(?:;\s*([^\\]+?))?\s*\\?$")


class Standing(str, Enum):
    """How an environment stands to the published one."""

    EXACT = "exact"
    """Every package as locked, under the published Python (3.10, any patch release)."""
    COMPATIBLE = "compatible"
    """The published pins as published; another Python of the lock, or other packages besides."""
    DIFFERS = "differs"
    """A published pin differs, or Python is none of the lock's."""


@dataclass(frozen=True)
class PackageState:
    """One locked package.

    Attributes:
        name: The package.
        locked: Its version in the lock.
        installed: Its version here; empty if it is not installed.
        published: Whether it is one of the published pins.
    """

    name: str
    locked: str
    installed: str
    published: bool

    @property
    def same(self) -> bool:
        """Whether the locked version is installed, whatever build of it."""
        return is_version(self.installed, self.locked)


@dataclass(frozen=True)
class EnvironmentState:
    """An environment beside the lock.

    Attributes:
        python: The Python version here.
        packages: Every package the lock has for this Python and system, by name.
    """

    python: str
    packages: tuple[PackageState, ...]

    @property
    def differing(self) -> list[PackageState]:
        """The packages that are not as locked, the published pins first."""
        return sorted((p for p in self.packages if not p.same), key=lambda p: not p.published)

    @property
    def standing(self) -> Standing:
        """How the environment stands to the published one."""
        minor = self.python.rpartition(".")[0]
        if minor not in LOCKED_PYTHONS or any(p.published for p in self.differing):
            return Standing.DIFFERS
        same_python = minor == PUBLISHED_PYTHON.rpartition(".")[0]
        return Standing.EXACT if same_python and not self.differing else Standing.COMPATIBLE

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain values for JSON."""
        return {
            "standing": self.standing.value,
            "python": {"installed": self.python, "published": PUBLISHED_PYTHON},
            "packages": [{**asdict(p), "same": p.same} for p in self.packages],
        }


def lock_path() -> Path:
    """Return the lock: beside the code, or inside an installed wheel.

    Raises:
        UserError: it is in neither place.
    """
    package = Path(__file__).parent
    for root in (package, package.parent):
        path = root / "requirements" / "leaderboard.txt"
        if path.is_file():
            return path
    raise UserError(f"the lock is missing from {package}: reinstall the package")


def read_lock(path: Path) -> dict[str, str]:
    """Return the versions a lock has for this Python and system, by package.

    Raises:
        UserError: not readable, or it names no package.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable lock: {one_line(error)}") from error
    versions = {}
    for line in text.splitlines():
        if entry := ENTRY.match(line):
            name, version, marker = entry.groups()
            if marker is None or Marker(marker).evaluate():
                versions[name.lower().replace("_", "-")] = version
    if not versions:
        raise UserError(f"{path}: not a lock: it names no package")
    return versions


def environment_state(path: Path | None = None) -> EnvironmentState:
    """Hold the installed packages against the lock.

    Args:
        path: The lock; by default the project's own.
    """
    installed = package_versions()
    locked = read_lock(path or lock_path())
    # The pins count as published even where a lock of another make leaves one out.
    packages = tuple(
        PackageState(name, version, installed.get(name, ""), name in PUBLISHED_PINS)
        for name, version in sorted({**locked, **PUBLISHED_PINS}.items())
    )
    return EnvironmentState(platform.python_version(), packages)
