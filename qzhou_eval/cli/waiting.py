"""What is printed while another run has the folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def waiter(console: Console) -> Callable[[str], None]:
    """Return what prints that another run is waited for."""
    return lambda why: console.print(f"{why}; waiting", soft_wrap=True, markup=False)
