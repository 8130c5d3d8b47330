"""What a training row is: token ids, stored reference log-probs, labels and weights, ready to batch."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# An array may be a part of a file.
TokenIds = tuple[int, ...] | npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TrainingSequence:
    """A sequence as training needs it.

    Attributes:
        sequence_id: Its id in table `sequences`.
        prompt_token_ids: What the model is given.
        completion_token_ids: What is scored.
        reference_logps: Nats, summed over the completion, under the reference model; None for a method without one.
        reference_token_logps: (completion tokens,) nats; None where they are not needed.
    """

    sequence_id: str
    prompt_token_ids: TokenIds
    completion_token_ids: TokenIds
    reference_logps: float | None
    reference_token_logps: npt.NDArray[np.float32] | None = None

    @property
    def length(self) -> int:
        """Tokens of prompt and completion."""
        return len(self.prompt_token_ids) + len(self.completion_token_ids)


@dataclass(frozen=True, slots=True)
class PairRow:
    """One pair.

    Attributes:
        row_id: The pair's id.
        chosen: The better completion.
        rejected: The worse one.
        weight: Weight of the row's loss, at least 0.
        chosen_better_probability: Soft label.
    """

    row_id: str
    chosen: TrainingSequence
    rejected: TrainingSequence
    weight: float
    chosen_better_probability: float

    @property
    def sequences(self) -> tuple[TrainingSequence, ...]:
        """Chosen, then rejected."""
        return (self.chosen, self.rejected)


@dataclass(frozen=True, slots=True)
class UnpairedRow:
    """One labelled completion.

    Attributes:
        row_id: The response's id.
        matched: The completion with its own prompt.
        mismatched: The row's prompt with another prompt's completion, for KTO's reference point; None where the
            method takes none or the row has no partner.
        label: True for desirable.
        weight: Weight of the row's loss, at least 0.
        desirable_probability: Soft label.
    """

    row_id: str
    matched: TrainingSequence
    mismatched: TrainingSequence | None
    label: bool
    weight: float
    desirable_probability: float

    @property
    def sequences(self) -> tuple[TrainingSequence, ...]:
        """Matched, then mismatched where there is one."""
        return (self.matched,) if self.mismatched is None else (self.matched, self.mismatched)


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt that the policy answers.

    Attributes:
        row_id: The prompt's id; once it is answered with the answer's number.
        matched: The prompt, with a completion of no token until there is an answer.
    """

    row_id: str
    matched: TrainingSequence

    @property
    def sequences(self) -> tuple[TrainingSequence, ...]:
        """The one that it is."""
        return (self.matched,)


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """One answer that the policy wrote, with what was known of it before the first update.

    Attributes:
        row_id: The prompt's id and the answer's number.
        matched: Prompt and answer.
        token_logps: (completion tokens,) nats, under the policy that sampled.
        advantages: (completion tokens,) what each token is worth.
        values: (completion tokens,) what the value head predicted; None for a method without one.
        returns: (completion tokens,) what it should have; None likewise.
    """

    row_id: str
    matched: TrainingSequence
    token_logps: npt.NDArray[np.float32]
    advantages: npt.NDArray[np.float32]
    values: npt.NDArray[np.float32] | None = None
    returns: npt.NDArray[np.float32] | None = None

    @property
    def sequences(self) -> tuple[TrainingSequence, ...]:
        """The one that it is."""
        return (self.matched,)


Row = PairRow | UnpairedRow | PromptRow | RolloutRow
