"""The sampling engine of vLLM as the rest of the pipeline sees it: a process of its own that writes answers."""

from collections.abc import Sequence
from pathlib import Path

from ...config import EngineConfig
from ...errors import EngineError
from ..sampling import Draw, Sampled, SamplingSettings
from .process import WorkerProcess


class VLLMSampler:
    """A model that samples by vLLM, in a process of its own; see `VLLMEngine` for why."""

    def __init__(
        self,
        model_dir: Path,
        config: EngineConfig,
        settings: SamplingSettings,
        longest: int,
        *,
        takes_weights: bool = False,
    ) -> None:
        """Start the process, which loads the model.

        Args:
            model_dir: Folder of the model.
            config: The engine's settings.
            settings: How tokens are drawn.
            longest: Tokens of the longest prompt.
            takes_weights: Whether `take_weights` will be called.
        """
        most = longest + settings.max_new_tokens
        self._process = WorkerProcess("sampling", model_dir, config, most, settings, takes_weights=takes_weights)

    def sample(self, draws: Sequence[Draw]) -> list[Sampled]:
        """One answer a draw, in the order given.

        Raises:
            EngineError: vLLM cannot sample from this model, or its process ended.
        """
        try:
            return self._process.sample(draws)
        except EngineError as error:
            raise EngineError(f"vLLM: {error} Or set generations.engine to hf, to sample without it.") from error

    def take_weights(self, folder: Path, number: int) -> None:
        """Sample with other weights of the same model from now on.

        Args:
            folder: Where they lie: a whole model's, or an adapter's where the engine's settings name one.
            number: Of the weights, from 1.

        Raises:
            EngineError: vLLM cannot take them, or its process ended.
        """
        try:
            self._process.take_weights(folder, number)
        except EngineError as error:
            raise EngineError(
                f"vLLM: it cannot take the weights of a step: {error} Set train.rollouts.engine to hf, to sample from "
                f"the model in training itself."
            ) from error

    def close(self) -> None:
        """End the process; its memory is free when this returns."""
        self._process.close()
