"""The vLLM engine as the rest of the pipeline sees it: routes to the same numbers, the first that checks out is taken.

vLLM is asked through the pooling adapter, which computes only what is needed. On the first call a few of its scores
are compared with an independent way; where they differ, or the adapter cannot take the model, vLLM's own prompt
log-probs are tried, then transformers.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import torch

from pipeline.config import EngineConfig
from pipeline.engines.base import Engine, Score, TokenSequence
from pipeline.engines.hf import HFEngine
from pipeline.engines.vllm.check import check_places, disagreement
from pipeline.engines.vllm.process import WorkerProcess
from pipeline.engines.vllm.worker import Route
from pipeline.errors import EngineError

_ROUTES: Final[tuple[Route, ...]] = ("adapter", "prompt_logprobs")
_NEXT: Final = {"adapter": "vLLM's prompt_logprobs, which is slower", "prompt_logprobs": "transformers"}
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
        self._engine: Engine | None = None
        self._route: Route | Literal["transformers"] | None = None

    @property
    def route(self) -> str | None:
        """How the scores are made: `adapter`, `prompt_logprobs` or `transformers`; None before the first."""
        return self._route

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
        """Scores by the first route whose scores agree with the yardstick's; that route is kept."""
        places = check_places(len(sequences))
        if not torch.cuda.is_available():
            # On a CPU the yardstick runs while vLLM loads; a GPU has no room for both at once.
            self._engine = self._worker(_ROUTES[0])
        expected = self._yardstick([sequences[place] for place in places])
        for route in _ROUTES:
            self._engine = self._engine or self._worker(route)
            try:
                scores = self._engine.score(sequences)
                fault = disagreement([scores[place] for place in places], expected, self._config.dtype)
            except EngineError as error:
                fault = str(error)
            if fault is None:
                self._route = route
                return scores
            self.close()
            _logger.warning("vLLM by %s: %s; scoring by %s instead.", route, fault.rstrip("."), _NEXT[route])
        self._engine, self._route = HFEngine(self._model_dir, self._config), "transformers"
        return self._engine.score(sequences)

    def _worker(self, route: Route) -> WorkerProcess:
        return WorkerProcess(route, self._model_dir, self._config, self._max_tokens)

    def _yardstick(self, sample: Sequence[TokenSequence]) -> list[Score]:
        """The sample's scores by transformers; by vLLM's own prompt log-probs where transformers cannot hold it.

        Raises:
            EngineError: Neither can score them.
        """
        if self._config.tensor_parallel_size == 1:
            try:
                return _score_and_close(HFEngine(self._model_dir, self._config), sample)
            except (EngineError, torch.OutOfMemoryError) as error:
                _logger.warning("vLLM is checked by its own prompt_logprobs, since transformers failed: %s", error)
        return _score_and_close(self._worker("prompt_logprobs"), sample)


def _score_and_close(engine: Engine, sequences: Sequence[TokenSequence]) -> list[Score]:
    try:
        return engine.score(sequences)
    finally:
        engine.close()
