"""What a worker process is started with and what it answers."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from ...config import EngineConfig
from ..sampling import SamplingSettings

# The ways to score, and to sample.
Route = Literal["native", "adapter", "prompt_logprobs", "sampling"]


class RawScore(NamedTuple):
    """Nats, summed over so many completion tokens, and of each token where asked for."""

    logps: float
    token_count: int
    token_logps: tuple[float, ...] | None = None


class Settings(NamedTuple):
    """What the process is started with.

    Attributes:
        route: How vLLM is asked.
        model_dir: Folder of the model.
        config: The engine's settings.
        max_tokens: Tokens of the longest sequence.
        log: File that takes what vLLM prints.
        adapter_dir: Folder of a LoRA adapter; None for none.
        sampling: How tokens are drawn, where they are.
        takes_weights: Whether `NewWeights` will come.
    """

    route: Route
    model_dir: str
    config: EngineConfig
    max_tokens: int
    log: str
    adapter_dir: str | None = None
    sampling: SamplingSettings | None = None
    takes_weights: bool = False


class NewWeights(NamedTuple):
    """Stands alone in a request: the engine is to go on with other weights of the same model.

    Attributes:
        folder: Where they lie: a whole model's, or a LoRA adapter's where the engine was started with one.
        number: Of the weights, from 1; each is told apart by it.
    """

    folder: str
    number: int


class Answer(NamedTuple):
    """What the process sends back: results, or an error; neither once the model is loaded.

    Attributes:
        results: `RawScore` of each sequence, or `Sampled` of each draw, in their order.
        error: What went wrong, in one line.
        is_setting: Whether a setting is wrong, so that no other route can help.
    """

    results: list[Any]
    error: str = ""
    is_setting: bool = False


# What a route does with sequences, or draws.
Work = Callable[[list[Any]], list[Any]]
