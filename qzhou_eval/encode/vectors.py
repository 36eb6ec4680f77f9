"""What texts become."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Vectors of texts, (texts, width), on the CPU."""
