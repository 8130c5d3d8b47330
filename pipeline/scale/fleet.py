"""Several scoring engines of a cluster as one: work in shards, and an engine that ends loses its shard to another."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

from ..config import EngineConfig, ScaleConfig
from ..engines.base import Score, TokenSequence
from ..errors import EngineError, examples
from .members import Member, Model, Settled
from .shares import Place, share_of

# One that is scored and one that waits for it, so that no GPU waits for a shard to travel.
_IN_FLIGHT: Final = 2
_CLOSING_SECONDS: Final = 90.0
# How long nothing may come before it is said that engines wait for a place.
_PATIENCE_SECONDS: Final = 120.0
_logger = logging.getLogger(__name__)


def open_fleet(place: Place, scale: ScaleConfig) -> "Callable[[EngineConfig, Path, int], Fleet]":
    """What opens engines of a cluster, with the arguments of `engines.registry.open_engine`."""

    def opened(config: EngineConfig, model_dir: Path, max_tokens: int) -> Fleet:
        return Fleet(place, scale, config, model_dir, max_tokens)

    return opened


@dataclass(eq=False)
class _Job:
    """A shard to score, and how often it was begun by an engine that ended."""

    number: int
    sequences: list[TokenSequence]
    ended: int = 0


@dataclass(eq=False)
class _Post:
    """An actor, the call that loads its model, and what it has to do in this order."""

    actor: Any
    opening: Any
    is_open: bool = False
    jobs: dict[Any, _Job] = field(default_factory=dict)


class Fleet:
    """Engines in processes of a cluster; the same methods as any engine's, and shards scored as each gets to them."""

    def __init__(
        self, place: Place, scale: ScaleConfig, config: EngineConfig, model_dir: Path, max_tokens: int
    ) -> None:
        """Ask for the first engine, which loads the model and says how it scores; the others come with the shards.

        Args:
            place: The cluster.
            scale: How many engines, and what each takes.
            config: Each engine's settings.
            model_dir: Folder of the model.
            max_tokens: Tokens of the longest sequence that will be scored.
        """
        self._ray = place.ray
        self._scale, self._config, self._max_tokens = scale, config, max_tokens
        self._share = share_of(scale, config.tensor_parallel_size, place.size)
        self._model = Model.of(model_dir)
        self._posts: list[_Post] = []
        self._waiting: deque[_Job] = deque()
        self._sample: list[TokenSequence] = []
        self._settled: Settled | None = None
        self._restarts = 0

    @property
    def route(self) -> str | None:
        """How all engines score; None before the first has said so."""
        return None if self._settled is None else self._settled.route

    @property
    def switches(self) -> Sequence[str]:
        """Why it is not by the first route, a line each."""
        return () if self._settled is None else self._settled.switches

    def settle(self, sample: Sequence[TokenSequence]) -> str:
        """The first engine's way of scoring, by which the others have to score the sample as well.

        Raises:
            EngineError: No way scores the sample, or engines ended more often than `scale.restarts`.
        """
        self._sample = list(sample)
        while self._settled is None:
            post = self._hire()
            self._next()
            try:
                self._settled = self._ray.get(post.opening)
                post.is_open = True
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayError as error:
                self._lose(post, error)
        # The others try no other: a table is never mixed of two.
        self._config = self._config.model_copy(update={"routes": (self._settled.route,)})
        return self._settled.route

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """One score a sequence, in the order given.

        Raises:
            EngineError: As `score_all` says.
        """
        return next(self.score_all([list(sequences)]))[1]

    def score_all(self, shards: Iterable[Sequence[TokenSequence]]) -> Iterator[tuple[int, list[Score]]]:
        """The scores of each shard with its number from 0, as they are done; a few shards are taken ahead.

        Raises:
            EngineError: A shard's engine ended more often than `scale.retries`, or engines more often than
                `scale.restarts`.
        """
        coming = (_Job(number, list(sequences)) for number, sequences in enumerate(shards))
        while self._assign(coming):
            for done in self._next():
                yield from self._finish(done)

    def close(self) -> None:
        """End all engines; their memory is free when this returns."""
        closing = [post.actor.close.remote() for post in self._posts]
        self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSING_SECONDS) if closing else None
        for post in self._posts:
            self._ray.kill(post.actor, no_restart=True)
        self._posts.clear()

    def _assign(self, coming: Iterator[_Job]) -> bool:
        """Hand out shards to engines that are open, ask for more engines; whether anything is still to be done."""
        opened = [post for post in self._posts if post.is_open]
        room = sum(_IN_FLIGHT - len(post.jobs) for post in opened) + self._share.engines - len(opened)
        self._waiting.extend(islice(coming, max(0, room - len(self._waiting))))
        self._hand_out(opened, 0)
        unmet = len(self._waiting) - (len(self._posts) - len(opened))
        for _ in range(min(unmet, self._share.engines - len(self._posts))):
            self._hire()
        for depth in range(1, _IN_FLIGHT):
            self._hand_out(opened, depth)
        return bool(self._waiting) or any(post.jobs for post in self._posts)

    def _hand_out(self, opened: list[_Post], depth: int) -> None:
        """A shard to each engine that has so many."""
        for post in opened:
            if len(post.jobs) == depth and self._waiting:
                job = self._waiting.popleft()
                post.jobs[post.actor.score.remote(job.sequences)] = job

    def _next(self) -> list[Any]:
        """Calls that have ended, at least one."""
        opening = [post.opening for post in self._posts if not post.is_open]
        calls = [call for post in self._posts for call in post.jobs] + opening
        while not (done := self._ray.wait(calls, num_returns=1, timeout=_PATIENCE_SECONDS)[0]):
            if opening:
                _logger.warning(
                    "%d of %d scoring engines are not open yet: they load, or wait for %g GPUs and %g CPUs each.",
                    len(opening),
                    len(self._posts),
                    self._share.gpus,
                    self._share.cpus,
                )
        return list(done)

    def _finish(self, call: Any) -> Iterator[tuple[int, list[Score]]]:
        """What an ended call gives: a shard's scores; nothing where an engine has opened, or is lost."""
        post = next((one for one in self._posts if call in one.jobs or call == one.opening), None)
        if post is None:
            # Of an engine that was lost a moment ago, with another call.
            return
        try:
            result = self._ray.get(call)
        except self._ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, EngineError):
                raise error.cause from None
            # The actor lives, but what computed in it does not.
            self._lose(post, error.cause)
            return
        except self._ray.exceptions.RayError as error:
            self._lose(post, error)
            return
        if call == post.opening:
            post.is_open = True
        else:
            yield post.jobs.pop(call).number, result

    def _hire(self) -> _Post:
        """A new engine, which begins to load."""
        options = {"num_gpus": self._share.gpus, "num_cpus": self._share.cpus}
        kind = self._ray.remote(Member).options(**options, max_restarts=0, max_task_retries=0)
        actor = kind.remote(self._config, self._model, self._max_tokens, self._share.cpus)
        post = _Post(actor, actor.settle.remote(self._sample))
        self._posts.append(post)
        return post

    def _lose(self, post: _Post, error: Exception) -> None:
        """Take an engine away that has ended; its shards wait for another.

        Raises:
            EngineError: The shard has ended too many engines, or too many have ended.
        """
        self._posts.remove(post)
        self._ray.kill(post.actor, no_restart=True)
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[0].rstrip(".:") if lines else type(error).__name__
        jobs = list(post.jobs.values())
        if jobs:
            # They are done in turn: the first is the one that was being scored.
            jobs[0].ended += 1
            if jobs[0].ended > self._scale.retries:
                names = [entry.sequence_id for entry in jobs[0].sequences]
                raise EngineError(
                    f"A shard of {len(names)} sequences ({examples(names)}) ended {jobs[0].ended} engines, the last "
                    f"with: {said}. Lower reference.shard_rows or reference.max_num_batched_tokens, or raise "
                    "scale.retries."
                )
        self._waiting.extendleft(reversed(jobs))
        self._restarts += 1
        if self._restarts > self._scale.restarts:
            raise EngineError(
                f"{self._restarts} scoring engines ended, the last with: {said}. What is scored is kept, and the same "
                "command goes on from there; scale.restarts is how many may end."
            )
        _logger.warning(
            "A scoring engine ended (%s); %d shards go to another. %d of %d may still end.",
            said,
            len(jobs),
            self._scale.restarts - self._restarts,
            self._scale.restarts,
        )
