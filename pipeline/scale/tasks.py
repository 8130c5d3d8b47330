"""Tasks of a stage as Ray's: in the order of the work, so many in flight, begun again where their process ends.

Files are the shuffle: a task's item and its result name files and are small, so Ray's own store holds next to nothing,
and a task that is run again writes the same files.
"""

import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

from ..config import RunConfig
from ..errors import InputError, PipelineError
from ..libraries import check_libraries
from ..storage.digests import digest_text
from ..troubles import in_words
from .cluster import ASKED_BY, Size, connected, size_of

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Results that wait for an earlier one, as a multiple of the tasks at a time.
_AHEAD: Final = 4
_NOTHING: Final = object()


class _Outcome(NamedTuple):
    """A task's result, or the error in its place."""

    result: Any
    error: BaseException | None


class RaySpread:
    """Tasks and engines of a Ray cluster, which is connected to when the first of them is asked for."""

    is_cluster = True

    def __init__(self, config: RunConfig) -> None:
        """Look whether Ray is there; nothing is started.

        Raises:
            MissingDependencyError: It is not installed.
        """
        check_libraries(ASKED_BY, "ray")
        self._config = config.scale
        self._run_dir = config.run_dir.absolute()
        self._open = ExitStack()
        self._ray: Any = None
        self._shuffle: Path | None = None
        self._placed = False
        if self._config.shuffle is not None:
            name = f"thumbline-{digest_text(str(self._run_dir))[:16]}"
            self._shuffle = Path(self._config.shuffle).absolute() / name

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End a cluster of this machine's own; leave another."""
        self._ray = None
        self._open.close()
        if self._shuffle is not None:
            shutil.rmtree(self._shuffle, ignore_errors=True)

    @property
    def ray(self) -> Any:
        """The library, connected."""
        if self._ray is None:
            self._ray = self._open.enter_context(connected(self._config))
        return self._ray

    @property
    def size(self) -> Size:
        """What the cluster has."""
        return size_of(self.ray)

    @property
    def workers(self) -> int:
        """What the settings say, else as many tasks as the CPUs hold."""
        return self._config.workers or max(1, int(self.size.cpus // self._config.cpus))

    @property
    def engines(self) -> Callable[..., Any]:
        """Opens engines of the cluster as one."""
        from .fleet import open_fleet

        return open_fleet(self, self._config)

    def place(self, folder: Path) -> Path:
        """The stage's own folder, or one of the run's own in `scale.shuffle`, empty at first.

        Raises:
            InputError: The folder cannot be made.
        """
        if self._shuffle is None or (self._shuffle.is_dir() and self._placed):
            return self._shuffle or folder
        self._placed = True
        try:
            # What a run that was killed left there.
            shutil.rmtree(self._shuffle, ignore_errors=True)
            self._shuffle.mkdir(parents=True)
        except OSError as error:
            raise InputError(f"scale.shuffle: {self._shuffle}: cannot be made: {error.strerror}.") from error
        return self._shuffle

    def map(self, function: Callable[[_Item], _Result], items: Iterable[_Item], most: int) -> Iterator[_Result]:
        """As `workers.Spread` says.

        Raises:
            PipelineError: A task's process ended more often than `scale.retries`.
        """
        if most <= 1:
            yield from map(function, items)
            return
        options: dict[str, Any] = {
            "num_cpus": self._config.cpus,
            "max_retries": self._config.retries,
            "name": getattr(function, "__name__", "task"),
            "scheduling_strategy": "SPREAD",
        }
        if self._config.memory_gib is not None:
            options["memory"] = int(self._config.memory_gib * 2**30)
        task = self.ray.remote(_called).options(**options)
        seen = str(self._shuffle or self._run_dir)
        called = partial(task.remote, function, is_apart=self._config.address is not None)
        for outcome in _in_order(self.ray, lambda item: called(item, seen), items, most):
            if outcome.error is not None:
                raise self._told(outcome.error) from outcome.error.__cause__
            yield outcome.result

    def _told(self, error: BaseException) -> BaseException:
        """The error that the task itself raised; of Ray's own, what to do."""
        cause = getattr(error, "cause", None)
        if isinstance(cause, BaseException):
            return cause
        if not isinstance(error, self.ray.exceptions.RayError):
            return error
        lines = str(error).strip().splitlines()
        return PipelineError(
            f"A task on Ray ended {self._config.retries + 1} times without a result ({type(error).__name__}: "
            f"{lines[0] if lines else ''}): its process ran out of memory, was stopped, or its machine was lost. What "
            "is finished is kept. Lower scale.workers or set scale.memory_gib where memory is short; else raise "
            "scale.retries."
        )


def _called(function: Callable[[Any], Any], item: Any, seen: str, *, is_apart: bool) -> Any:
    """A task, in a worker; what goes wrong there names its machine where that may be another."""
    if not Path(seen).is_dir():
        raise InputError(
            f"scale: the worker on {socket.gethostname()} does not see the folder {seen}. Put the run, or "
            "scale.shuffle, on a disk that all machines of the cluster have at the same path."
        )
    if not is_apart:
        return function(item)
    with in_words(f"on {socket.gethostname()}"):
        return function(item)


def _in_order(ray: Any, submit: Callable[[Any], Any], items: Iterable[Any], most: int) -> Iterator[_Outcome]:
    """What tasks give, in the order of their items; those that nobody waits for any more are ended."""
    waiting = iter(items)
    running: dict[Any, int] = {}
    done: dict[int, _Outcome] = {}
    taken = given = 0
    try:
        while True:
            while len(running) < most and taken - given < _AHEAD * most:
                item = next(waiting, _NOTHING)
                if item is _NOTHING:
                    break
                running[submit(item)] = taken
                taken += 1
            if given in done:
                yield done.pop(given)
                given += 1
            elif not running:
                return
            # What ended while the caller worked makes room for others before its next result is given.
            for finished in _finished(ray, list(running), waits=given not in done):
                done[running.pop(finished)] = _outcome(ray, finished)
    finally:
        for task in running:
            ray.cancel(task, force=True)


def _finished(ray: Any, running: list[Any], *, waits: bool) -> list[Any]:
    """All tasks that have ended by now, once one has where that is to be waited for."""
    if not running:
        return []
    if waits:
        ray.wait(running, num_returns=1)
    return list(ray.wait(running, num_returns=len(running), timeout=0)[0])


def _outcome(ray: Any, task: Any) -> _Outcome:
    try:
        return _Outcome(ray.get(task), None)
    except Exception as error:  # noqa: BLE001  it is raised in its place in the order
        return _Outcome(None, error)
