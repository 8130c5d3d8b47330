"""A worker process from its parent's side: token ids out, results back, its last words where it fails."""

import glob
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ...config import EngineConfig
from ...errors import ConfigError, EngineError, examples
from ...workers import NewProcesses
from ..adapters import resolve_adapter
from ..base import Score, TokenSequence
from ..sampling import Draw, Sampled, SamplingSettings
from .messages import Answer, NewWeights, Route, Settings
from .worker import serve

# vLLM takes ten seconds to end several workers.
_STOP_SECONDS: Final = 60.0


class WorkerProcess:
    """One route of vLLM, loaded in a process of its own."""

    def __init__(
        self,
        route: Route,
        model_dir: Path,
        config: EngineConfig,
        max_tokens: int,
        sampling: SamplingSettings | None = None,
        *,
        takes_weights: bool = False,
    ) -> None:
        """Start the process; it loads the model while this one goes on.

        Args:
            route: How vLLM is asked.
            model_dir: Folder of the model.
            config: The engine's settings.
            max_tokens: Tokens of the longest sequence, answers included.
            sampling: How tokens are drawn, where they are.
            takes_weights: Whether `take_weights` will be called.
        """
        self._plain = PlainPaths()
        adapter = None if config.adapter is None else self._plain.path(resolve_adapter(config.adapter))
        self._log = tempfile.NamedTemporaryFile("r", prefix="thumbline-vllm-", suffix=".log", errors="replace")  # noqa: SIM115  open until close()
        # spawn: a forked process would inherit torch's threads and, on a GPU machine, a CUDA state it cannot use.
        context = NewProcesses()
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=serve,
            args=(
                theirs,
                Settings(
                    route,
                    self._plain.path(model_dir),
                    config,
                    max_tokens,
                    self._log.name,
                    adapter,
                    sampling,
                    takes_weights,
                ),
            ),
            # vLLM's own workers, one a GPU, are children of this process, which a daemon may not have.
            daemon=config.tensor_parallel_size == 1,
        )
        self._process.start()
        # Closed here, so that the end of either process is the end of the pipe for the other.
        theirs.close()
        self._is_ready = False

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """One score a sequence, in the order given; the first call waits until the model is loaded.

        Raises:
            EngineError: vLLM failed, its process ended, or a sequence came back without all its tokens.
            ConfigError: A setting does not hold, so that no other route can help.
        """
        scores = [
            Score(sequence.sequence_id, *raw) for sequence, raw in zip(sequences, self._results(sequences), strict=True)
        ]
        short = [
            score.sequence_id
            for score, sequence in zip(scores, sequences, strict=True)
            if score.token_count != len(sequence.completion_token_ids)
        ]
        if short:
            raise EngineError(f"{len(short)} of {len(scores)} sequences lack scores of tokens ({examples(short)}).")
        return scores

    def sample(self, draws: Sequence[Draw]) -> list[Sampled]:
        """One answer a draw, in the order given; the first call waits until the model is loaded.

        Raises:
            EngineError: vLLM failed, or its process ended.
            ConfigError: A setting does not hold.
        """
        return self._results(draws)

    def take_weights(self, folder: Path, number: int) -> None:
        """Sample with other weights of the same model from now on.

        Args:
            folder: Where they lie, as `NewWeights` has it.
            number: Of the weights, from 1.

        Raises:
            EngineError: vLLM failed, or its process ended.
        """
        self._results([NewWeights(self._plain.path(folder), number)])

    def _results(self, given: Sequence[Any]) -> list[Any]:
        if not self._is_ready:
            self._receive()
            self._is_ready = True
        self._connection.send(list(given))
        return self._receive().results

    def close(self) -> None:
        """End the process; its memory is free when this returns."""
        self._connection.close()
        self._process.join(_STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._log.close()
        self._plain.close()

    def _receive(self) -> Answer:
        try:
            answer: Answer = self._connection.recv()
        except (EOFError, ConnectionResetError):
            self._process.join(_STOP_SECONDS)
            raise EngineError(
                f"its process ended by itself (exit code {self._process.exitcode}, last line: {self._last_line()}). "
                f"Out of memory is the usual cause: lower reference.max_num_batched_tokens or "
                f"reference.cpu_kv_cache_gib."
            ) from None
        if answer.is_setting:
            raise ConfigError(answer.error)
        if answer.error:
            raise EngineError(answer.error)
        return answer

    def _last_line(self) -> str:
        lines = [line.strip() for line in self._log.read().splitlines() if line.strip()]
        return lines[-1] if lines else "none"


class PlainPaths:
    """Names of folders that vLLM can look into: it takes a path with `[`, `*` or `?` for a pattern."""

    def __init__(self) -> None:
        """Begin; nothing is linked yet."""
        self._place: tempfile.TemporaryDirectory[str] | None = None
        self._number = 0

    def path(self, folder: Path) -> str:
        """The folder's own path where it is no pattern, else that of a link to it, which lasts until `close`."""
        if not glob.has_magic(str(folder)):
            return str(folder)
        if self._place is None:
            self._place = tempfile.TemporaryDirectory(prefix="thumbline-vllm-")
        self._number += 1
        link = Path(self._place.name) / str(self._number)
        link.symlink_to(folder.absolute())
        return str(link)

    def close(self) -> None:
        """Delete the links."""
        if self._place is not None:
            self._place.cleanup()
