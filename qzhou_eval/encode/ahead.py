"""Work done ahead of its use, in a thread: tokenization while the device computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """Yield `function` of each of `items`, in order, at most `depth` of them computed in advance.

    All are computed in one thread, one after the other; what `function` raises is raised here.
    """
    waiting: deque[Future[Result]] = deque()
    executor = ThreadPoolExecutor(max_workers=1)
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
