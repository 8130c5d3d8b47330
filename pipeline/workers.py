"""Work in several processes or beside the caller, with results in the order of the work, and only so much in flight."""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Final, TypeVar

from pipeline.errors import PipelineError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_THREADS_VARIABLE: Final = "POLARS_MAX_THREADS"


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def in_order(function: Callable[[_Item], _Result], items: Iterable[_Item], processes: int) -> Iterator[_Result]:
    """`function` of each item, in the items' order, whatever the number of processes.

    Args:
        function: Of a module's top level, since other processes import it by name.
        items: Picklable; taken only a few ahead of the results.
        processes: 1: in this process, one after the other.

    Raises:
        PipelineError: A process ended without a result. What `function` raises is raised here.
    """
    if processes <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[_Result]] = deque()
    with _one_polars_thread(), ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise PipelineError(
                "A worker process ended without a result: it ran out of memory or was stopped, or the program that "
                "calls this has no `if __name__ == '__main__'`. Set events.workers to 1 to read without workers."
            ) from error
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _one_polars_thread() -> Iterator[None]:
    """Processes started inside have polars on one thread each: together they have all cores already."""
    before = os.environ.get(_THREADS_VARIABLE)
    os.environ[_THREADS_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_THREADS_VARIABLE]
        else:
            os.environ[_THREADS_VARIABLE] = before


class _End:
    """No more items; `error` is what the producer died of."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def made_ahead(items: Iterator[_Item], ahead: int = 1) -> Iterator[_Item]:
    """The same items, each made in another thread while the caller works on the one before."""
    made: queue.Queue[_Item | _End] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(item: _Item | _End) -> bool:
        while not stop.is_set():
            try:
                made.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as caught:  # noqa: BLE001  raised again in the caller's thread
            error = caught
        put(_End(error))

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    try:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()
