"""What a worker process is started with and what it answers."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from ...config import EngineConfig
from ..base import TokenSequence

Route = Literal["native", "adapter", "prompt_logprobs"]


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
    """

    route: Route
    model_dir: str
    config: EngineConfig
    max_tokens: int
    log: str
    adapter_dir: str | None = None


class Answer(NamedTuple):
    """What the process sends back: scores, or an error; neither once the model is loaded.

    Attributes:
        scores: In the order of the sequences.
        error: What went wrong, in one line.
        is_setting: Whether a setting is wrong, so that no other route can help.
    """

    scores: list[RawScore]
    error: str = ""
    is_setting: bool = False


Scorer = Callable[[list[TokenSequence]], list[RawScore]]
