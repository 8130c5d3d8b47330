"""What every scoring engine is: token ids in, summed log-probs out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

# The route that every machine has.
TRANSFORMERS: Final = "transformers"


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
        token_logps: Float32 nats of each completion token, where they were asked for.
    """

    sequence_id: str
    logps: float
    token_count: int
    token_logps: tuple[float, ...] | None = None


# Called with the number of sequences just finished.
Progress = Callable[[int], None]


class Engine(Protocol):
    """A loaded model that scores sequences.

    The same call with the same sequences in the same order gives the same numbers: the store relies on it
    when a killed run repeats a shard.
    """

    @property
    def route(self) -> str | None:
        """How the scores are made; None before that is settled."""

    @property
    def switches(self) -> Sequence[str]:
        """Each change of the way that scores are made, as one line that says why."""

    def settle(self, sample: Sequence[TokenSequence]) -> str:
        """The way in which scores will be made, found by scoring `sample` where there are several.

        Raises:
            EngineError: No way scores the sample.
        """

    def score(self, sequences: Sequence[TokenSequence]) -> list[Score]:
        """One score a sequence, in the order given.

        Raises:
            EngineError: A sequence came back without a score or with a wrong count.
        """

    def close(self) -> None:
        """Free the model's memory."""


@runtime_checkable
class EngineOfMany(Engine, Protocol):
    """An engine that scores several shards at a time."""

    def score_all(self, shards: Iterable[Sequence[TokenSequence]]) -> Iterator[tuple[int, list[Score]]]:
        """The scores of each shard with its number from 0, as they are done; each as `score` gives them.

        Args:
            shards: Taken a few ahead of what is given back.

        Raises:
            EngineError: A shard could not be scored.
        """
