"""The vLLM engine as the rest of the pipeline sees it: routes to the same numbers, the first that checks out is taken.

On a GPU vLLM's newer model runner scores given tokens itself; the pooling adapter does so everywhere, and computes
only what is needed. On the first call a few scores are compared with an independent way; where they differ, or the
route cannot take the model, the next is tried: in the end vLLM's prompt log-probs, then transformers.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import torch

from ...config import EngineConfig
from ...errors import EngineError
from ..base import TRANSFORMERS, Score, TokenSequence
from ..hf import HFEngine
from .check import check_indices, disagreement
from .messages import Route
from .process import WorkerProcess

_NAMES: Final = {
    "native": "vLLM's own scoring of given tokens",
    "adapter": "vLLM's pooling adapter",
    "prompt_logprobs": "vLLM's prompt_logprobs, which is slower",
    TRANSFORMERS: TRANSFORMERS,
}
_logger = logging.getLogger(__name__)


class VLLMEngine:
    """A model scored by vLLM in a process of its own.

    A process of its own, because vLLM replaces `torch.set_num_threads`, binds threads and sets environment and
    global state of the one that it runs in, and frees a model's memory for certain only by ending: this process
    trains with torch between two scorings.
    """

    def __init__(self, model_dir: Path, config: EngineConfig, max_tokens: int) -> None:
        """Remember what to load; loading waits for the first sequences, with which it is checked.

        Args:
            model_dir: Folder of the model.
            config: The engine's settings.
            max_tokens: Tokens of the longest sequence that will be scored.
        """
        self._model_dir = model_dir
        self._config = config
        self._max_tokens = max_tokens
        self._engine: HFEngine | WorkerProcess | None = None
        self._route: str | None = None
        self._switches: list[str] = []

    @property
    def route(self) -> str | None:
        """How the scores are made, a name of `reference.routes`; None before the first."""
        return self._route

    @property
    def switches(self) -> Sequence[str]:
        """Each change of the route, as one line that says why."""
        return tuple(self._switches)

    def settle(self, sample: Sequence[TokenSequence]) -> str:
        """The first route that scores the sample as an independent one does.

        Raises:
            EngineError: No route scores this model.
        """
        self.score(sample)
        return str(self._route)

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """One score a sequence, in the order given.

        Raises:
            EngineError: No route scores this model, or the one in use failed.
        """
        if not sequences:
            return []
        if self._engine is None or self._route is None:
            return self._first_scores(sequences)
        try:
            return self._engine.score(sequences)
        except EngineError as error:
            raise EngineError(f"vLLM: {error} Or set reference.engine to hf, to score without it.") from error

    def close(self) -> None:
        """Free the model's memory."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _first_scores(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """Scores by the first route whose scores agree with the yardstick's; that route is kept.

        Raises:
            EngineError: None does.
        """
        routes = self._possible_routes()
        if routes[0] == TRANSFORMERS:
            return self._take_transformers(sequences)
        indices = check_indices(len(sequences))
        if not self._has_gpu():
            # On a CPU the yardstick runs while vLLM loads; a GPU has no room for both at once.
            self._engine = self._worker(routes[0])
        expected = self._yardstick([sequences[index] for index in indices])
        fault = ""
        for number, route in enumerate(routes):
            if route == TRANSFORMERS:
                return self._take_transformers(sequences)
            engine = self._engine = self._engine or self._worker(route)
            try:
                scores = engine.score(sequences)
                fault = disagreement([scores[index] for index in indices], expected, self._config.dtype) or ""
            except EngineError as error:
                fault = str(error)
            if not fault:
                self._route = route
                return scores
            self.close()
            if number + 1 < len(routes):
                self._say(route, fault, routes[number + 1])
        raise EngineError(f"vLLM by {routes[-1]}: {fault.rstrip('.')}. No further route is in reference.routes.")

    def _possible_routes(self) -> list[str]:
        """The routes to try: without those that this machine or the settings rule out."""
        out = set()
        if not self._has_gpu():
            # vLLM's second model runner, which has the parameter, does not run on a CPU.
            out.add("native")
        if self._config.quantization is not None:
            # transformers would score other weights.
            out.add(TRANSFORMERS)
        routes: list[str] = [route for route in self._config.routes if route not in out]
        if not routes:
            raise EngineError(f"reference.routes: {', '.join(sorted(out))} cannot score here. Add 'adapter'.")
        return routes

    def _has_gpu(self) -> bool:
        return torch.cuda.is_available()

    def _say(self, route: str, fault: str, following: str) -> None:
        line = f"vLLM by {route}: {fault.rstrip('.')}; scoring by {_NAMES[following]} instead."
        self._switches.append(line)
        _logger.warning("%s", line)

    def _take_transformers(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        self._engine, self._route = HFEngine(self._model_dir, self._config), TRANSFORMERS
        return self._engine.score(sequences)

    def _worker(self, route: str) -> WorkerProcess:
        return WorkerProcess(cast(Route, route), self._model_dir, self._config, self._max_tokens)

    def _yardstick(self, sample: Sequence[TokenSequence]) -> list[Score]:
        """The sample's scores by transformers; by vLLM's own prompt log-probs where transformers cannot hold it.

        Raises:
            EngineError: Neither can score them.
        """
        if self._config.tensor_parallel_size == 1 and self._config.quantization is None:
            try:
                return _score_and_close(HFEngine(self._model_dir, self._config), sample)
            except (EngineError, torch.OutOfMemoryError) as error:
                _logger.warning("vLLM is checked by its own prompt_logprobs, since transformers failed: %s", error)
        return _score_and_close(self._worker("prompt_logprobs"), sample)


def _score_and_close(engine: HFEngine | WorkerProcess, sequences: Sequence[TokenSequence]) -> list[Score]:
    try:
        return engine.score(sequences)
    finally:
        engine.close()
