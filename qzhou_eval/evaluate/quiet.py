"""The libraries' running commentary, kept off the screen."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keep mteb's and datasets' running commentary off the screen, warnings of trouble not."""
    import functools
    import warnings

    import datasets
    import tqdm

    names = ("mteb", "datasets", "sentence_transformers")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    bar = tqdm.tqdm
    # mteb's own bars: on a terminal, where they are of use, and nowhere else.
    setattr(tqdm, "tqdm", functools.partial(bar, disable=None, leave=False))  # noqa: B010
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        setattr(tqdm, "tqdm", bar)  # noqa: B010
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if bars:
            datasets.enable_progress_bars()
