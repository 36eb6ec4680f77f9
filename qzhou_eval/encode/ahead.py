"""Work done in a thread, ahead of its use or behind it, while the device computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Thread
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

LOOK_SECONDS = 0.2
"""How long a thread that waits for another goes without seeing whether a signal has come."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(
    function: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Generator[Result, None, None]:
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


class Aside:
    """Does one thing at a time in a thread, while its user goes on to the next.

    What a thing raises is raised when the next is given, or at the end.

    Args:
        in_thread: Whether to; without, things are done when they are given.
    """

    def __init__(self, in_thread: bool = True) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1) if in_thread else None
        self._last: Future[Any] | None = None

    def do(self, thing: Callable[[], Any]) -> None:
        """Do `thing` once the one before is done, for which this waits."""
        if self._executor is None:
            thing()
            return
        self._wait()
        self._last = self._executor.submit(thing)

    def _wait(self) -> None:
        if self._last is not None:
            self._last.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown()
            if error is None:
                self._wait()


def prefetched(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield `function` of each of `items`, in order, the next being computed meanwhile.

    In threads that the process does not wait for when it ends: loading a dataset can take long.
    What `function` raises is raised here.
    """
    source = iter(items)

    def begin() -> Future[Result] | None:
        for item in source:
            future: Future[Result] = Future()
            Thread(target=_fill, args=(future, function, item), daemon=True).start()
            return future
        return None

    current = begin()
    while current is not None:
        result = _awaited(current)
        current = begin()
        yield result


def _awaited(future: Future[Result]) -> Result:
    """Return a future's result, looking up now and then: other threads may get a signal first."""
    while not wait([future], timeout=LOOK_SECONDS).done:
        pass
    return future.result()


def _fill(future: Future[Result], function: Callable[[Item], Result], item: Item) -> None:
    try:
        future.set_result(function(item))
    except BaseException as error:  # whatever it is, it is raised where the result is wanted
        future.set_exception(error)
