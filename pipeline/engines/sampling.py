"""What every sampling engine is: prompts in, answers out, as token ids."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from ..config import GenerationsConfig

Finish = Literal["stop", "length"]


class SamplingSettings(NamedTuple):
    """How tokens are drawn.

    Attributes:
        max_new_tokens: An answer is cut after this many.
        temperature: What logits are divided by; 0 takes the likeliest token.
        top_p: Only the likeliest tokens that have this mass together.
        top_k: Only this many likeliest tokens; 0: all.
        end_token_ids: An answer ends with the first of these; see `ending`.
    """

    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    end_token_ids: tuple[int, ...]

    def identity(self) -> dict[str, str]:
        """Everything here, since all of it decides which tokens are drawn."""
        return {name: str(value) for name, value in self._asdict().items()}


def sampling_settings(config: GenerationsConfig, end_token_ids: Sequence[int]) -> SamplingSettings:
    """The settings of a run file, for a model that ends its answers with these tokens."""
    return SamplingSettings(
        config.max_new_tokens, config.temperature, config.top_p, config.top_k, tuple(sorted(end_token_ids))
    )


class Draw(NamedTuple):
    """One answer that is wanted.

    Attributes:
        prompt_token_ids: At least one token.
        seed: Draws the answer's tokens, whichever other answers are asked for with it. Below 2**63.
    """

    prompt_token_ids: tuple[int, ...]
    seed: int


class Sampled(NamedTuple):
    """One answer.

    Attributes:
        token_ids: What the model wrote, its end token included.
        finish: `stop` where it ended the answer itself; `length` where that was cut.
    """

    token_ids: tuple[int, ...]
    finish: Finish


class Sampler(Protocol):
    """A loaded model that samples.

    The same call with the same draws in the same order gives the same answers, and one draw's answer does not depend
    on the others of its call but for rounding.
    """

    def sample(self, draws: Sequence[Draw]) -> list[Sampled]:
        """One answer a draw, in the order given; draws of one prompt share its computation where they lie together.

        Raises:
            EngineError: The model cannot sample.
        """

    def close(self) -> None:
        """Free the model's memory."""


def ended(token_ids: Sequence[int], settings: SamplingSettings) -> Sampled:
    """An answer up to and with its first end token, or up to the cut.

    Args:
        token_ids: What was drawn.
        settings: What ends an answer.
    """
    ends: set[Any] = set(settings.end_token_ids)
    for place, token in enumerate(token_ids[: settings.max_new_tokens]):
        if token in ends:
            return Sampled(tuple(token_ids[: place + 1]), "stop")
    return Sampled(tuple(token_ids[: settings.max_new_tokens]), "length")
