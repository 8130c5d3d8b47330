"""What every scoring engine is: token ids in, summed log-probs out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One prompt and one completion, as token ids.

    Attributes:
        sequence_id: Name made from the content.
        prompt_token_ids: At least one token.
        completion_token_ids: At least one token; only these are scored.
    """

    sequence_id: str
    prompt_token_ids: tuple[int, ...]
    completion_token_ids: tuple[int, ...]


class Score(NamedTuple):
    """Log-probability of one completion given its prompt.

    Attributes:
        sequence_id: The sequence that was scored.
        logps: Nats, summed over the completion's tokens.
        token_count: Completion tokens that the sum holds; always the completion's length.
    """

    sequence_id: str
    logps: float
    token_count: int


# Called with the number of sequences just finished.
Progress = Callable[[int], None]


class Engine(Protocol):
    """A loaded model that scores sequences.

    The same call with the same sequences in the same order gives the same numbers: the store relies on it
    when a killed run repeats a shard.
    """

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """One score a sequence, in the order given.

        Raises:
            EngineError: A sequence came back without a score or with a wrong count.
        """

    def close(self) -> None:
        """Free the model's memory."""
