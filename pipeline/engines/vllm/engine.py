"""The vLLM engine as the rest of the pipeline sees it: a process that answers with scores."""

import logging
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.config import EngineConfig
from pipeline.engines.base import Score, TokenSequence
from pipeline.engines.vllm.worker import Answer, Settings, serve
from pipeline.errors import EngineError

_STOP_SECONDS: Final = 10.0
_logger = logging.getLogger(__name__)


class VLLMEngine:
    """A vLLM engine in a process of its own."""

    def __init__(self, model_dir: Path, config: EngineConfig, max_tokens: int) -> None:
        """Start the process and wait until the model is loaded.

        Args:
            model_dir: Folder of the model.
            config: The engine's settings.
            max_tokens: Tokens of the longest sequence that will be scored.

        Raises:
            EngineError: vLLM could not load the model.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve,
            args=(theirs, Settings(str(model_dir), config, max_tokens)),
            daemon=config.tensor_parallel_size == 1,
        )
        self._process.start()
        # Closed here, so that the end of either process is the end of the pipe for the other.
        theirs.close()
        switched = self._receive().switched
        if switched:
            _logger.warning("%s", switched)

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """One score a sequence, in the order given.

        Raises:
            EngineError: vLLM failed, or its process ended.
        """
        self._connection.send(list(sequences))
        answer = self._receive()
        return [
            Score(sequence.sequence_id, logps, count)
            for sequence, (logps, count) in zip(sequences, answer.scores, strict=True)
        ]

    def close(self) -> None:
        """End the process; its memory is free when this returns."""
        self._connection.close()
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _receive(self) -> Answer:
        try:
            answer: Answer = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(_STOP_SECONDS)
            raise EngineError(
                f"vLLM's process ended by itself (exit code {self._process.exitcode}); out of memory is the usual "
                f"cause. Lower reference.max_num_batched_tokens or reference.cpu_kv_cache_gib, or set reference.engine to hf."
            ) from None
        if answer.error:
            self.close()
            raise EngineError(f"vLLM: {answer.error} Set reference.engine to hf to score without it.")
        return answer
