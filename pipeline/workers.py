"""Work in several processes or beside the caller, with results in the order of the work, and only so much in flight."""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol, TypeVar

from .errors import PipelineError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_THREADS_VARIABLE: Final = "POLARS_MAX_THREADS"
# The engine of polars for a part of a table that is in memory: its streaming one is made for files, and is slower here.
IN_MEMORY: Final = "in-memory"


class _Process(SpawnProcess):
    """A process that does not run the caller's script again, as a new one else does to find what the script defines.

    What is called here is defined in modules: a script of a few lines needs no `if __name__ == "__main__"`. Ctrl-C in a
    terminal reaches the caller alone, who ends it: it would write a traceback over what the caller says.
    """

    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        # A signal that waits here is delivered to the caller afterwards; a new process inherits what is held back.
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main
            signal.pthread_sigmask(signal.SIG_SETMASK, held)


def end_with_parent() -> None:
    """End this process when the one that started it does, even by kill -9 in the middle of a call.

    A rerun needs the machine and the folder. Nothing happens in a process that nobody started.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class NewProcesses(SpawnContext):
    """Processes that start from nothing, the caller's script left out."""

    Process = _Process

    def __init__(self) -> None:
        """Start Python's own helper, so that it clears up after a killed command without a word on its terminal."""
        quiet = "ignore:resource_tracker"
        sys.warnoptions.append(quiet)
        try:
            resource_tracker.ensure_running()
        finally:
            sys.warnoptions.remove(quiet)


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def map_in_processes(function: Callable[[_Item], _Result], items: Iterable[_Item], processes: int) -> Iterator[_Result]:
    """`function` of each item, in the items' order, whatever the number of processes.

    Args:
        function: Of the top level of a module, which is not the script itself: other processes import it by name.
        items: Picklable; taken only a few ahead of the results.
        processes: 1: in this process, one after the other.

    Raises:
        PipelineError: A process ended without a result. What `function` raises is raised here.
    """
    if processes <= 1:
        yield from map(function, items)
        return
    waiting: deque[Future[_Result]] = deque()
    with _one_polars_thread(), _ended_with(ProcessPoolExecutor(processes, NewProcesses(), end_with_parent)) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise PipelineError(
                "A worker process ended without a result: it ran out of memory or was stopped. Set events.workers to 1 "
                "to read without workers."
            ) from error


@contextmanager
def _ended_with(pool: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    """A pool whose processes have ended when the block has; where an error ends it, without finishing their work."""
    try:
        yield pool
    except BaseException:
        # The pool's own way waits for each to finish what it does, for nobody; they leave nothing that is read again.
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


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


class Spread(Protocol):
    """Where independent tasks of a stage run: in this process, in processes of this machine, or on a cluster."""

    @property
    def workers(self) -> int:
        """Tasks at a time, where a stage's settings name no number."""

    @property
    def is_cluster(self) -> bool:
        """Whether tasks may run on other machines, which takes work off this one."""

    @property
    def engines(self) -> Callable[..., Any] | None:
        """Opens a scoring engine there, as `engines.registry.open_engine` does here; None where that is to be asked."""

    def place(self, folder: Path) -> Path:
        """Where files lie that tasks pass to each other: a folder that all of them see.

        Args:
            folder: Of the stage, where this machine does the work.
        """

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item], most: int) -> Iterator[_Result]:
        """`function` of each item, in the items' order.

        Args:
            function: Of the top level of a module. It writes to paths that its item names and its result names what it
                wrote; called twice with an item, it leaves the same files: a task whose worker ends is run again.
            items: Picklable and small: they name files and hold no tables. Taken only a few ahead of the results.
            most: Tasks at a time that the work is worth; 1: in this process, one after the other.

        Raises:
            PipelineError: A task ended without a result. What `function` raises is raised here.
        """


class LocalSpread:
    """Tasks in processes of this machine, as many at a time as they are worth."""

    is_cluster = False
    engines = None

    @property
    def workers(self) -> int:
        """The cores that this process may use."""
        return available_cores()

    def place(self, folder: Path) -> Path:
        """The stage's own folder."""
        return folder

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item], most: int) -> Iterator[_Result]:
        """As `map_in_processes`, which has the errors."""
        return map_in_processes(function, items, most)


def map_in_threads(
    make: Callable[[_Item], _Result], items: Iterable[_Item], most: int | None = None
) -> Iterator[_Result]:
    """`make` of each item, in the items' order, made in threads while the caller works on those before.

    Args:
        make: Called in several threads at a time; it should do its work where Python's lock is not held.
        items: Taken in the caller's thread, as many ahead of the results as there are threads.
        most: Threads, where fewer than there are cores; each holds an item and its result.
    """
    threads = min(available_cores(), most or available_cores())
    coming: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for item in items:
            coming.append(pool.submit(make, item))
            if len(coming) > threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
