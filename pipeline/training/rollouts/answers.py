"""Prompts to answers with all that is known of them before the first update: scores, log-probs, values, credit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from thumbline.losses import Method, Rollouts
from thumbline.losses.rollouts import penalised_scores

from ...config.rollouts import RolloutsConfig
from ...engines.base import TokenSequence
from ...engines.sampling import Draw
from ...engines.thumbs_model import ThumbsModel
from ...storage.digests import digest_text
from ..policy import Policy
from ..rows import PromptRow, RolloutRow
from ..scorer import EachToken
from .objective import RolloutObjective
from .reference import Reference
from .sampling import AnswerSource
from .values import own_values

# Hexadecimal digits of a seed: 60 bits, of which every engine's generator takes 63.
_SEED_DIGITS: Final = 15


class Answers(NamedTuple):
    """Answers of the policy, in the order of their prompts.

    Attributes:
        rows: Each with its prompt.
        ended: Whether the policy ended it itself.
        scores: (rows,) float32, the thumbs model's own.
        rewards: (rows,) float32, scores less the penalty of those that were cut.
    """

    rows: list[PromptRow]
    ended: torch.Tensor
    scores: torch.Tensor
    rewards: torch.Tensor


class Experience(NamedTuple):
    """What a step trains on.

    Attributes:
        rows: Answers with their credit, those of a prompt behind each other.
        means: What is logged of them.
    """

    rows: list[RolloutRow]
    means: dict[str, float]


@dataclass(frozen=True)
class Writer:
    """Who writes answers, who scores them, and what they are held against.

    Attributes:
        source: Samples from the policy.
        thumbs: Scores answers.
        reference: The policy before its first step.
        settings: How many answers, and what a cut one loses.
        seed: Of all draws.
    """

    source: AnswerSource
    thumbs: ThumbsModel
    reference: Reference
    settings: RolloutsConfig
    seed: int

    def answers(self, prompts: Sequence[PromptRow], samples: int, occasion: str) -> Answers:
        """Sample and score.

        Args:
            prompts: At least one.
            samples: Answers to each.
            occasion: The step, or what else they are sampled for: with the run's seed, the prompt and the answer's
                number it decides what is drawn.

        Raises:
            EngineError: The policy cannot be sampled from, or a score is not finite.
        """
        asked = [(prompt, number) for prompt in prompts for number in range(samples)]
        sampled = self.source.sample(
            [
                Draw(tuple(map(int, prompt.matched.prompt_token_ids)), self._seed(occasion, prompt.row_id, number))
                for prompt, number in asked
            ]
        )
        rows = [
            _answered(prompt, number, answer.token_ids) for (prompt, number), answer in zip(asked, sampled, strict=True)
        ]
        scores = torch.tensor(self.thumbs.scores([_as_judged(row) for row in rows]))
        ended = torch.tensor([answer.finish == "stop" for answer in sampled])
        return Answers(rows, ended, scores, scores - self.settings.missing_eos_penalty * ~ended)

    def _seed(self, occasion: str, prompt: str, number: int) -> int:
        return int(digest_text(str(self.seed), occasion, prompt, str(number))[:_SEED_DIGITS], 16)


def _answered(prompt: PromptRow, number: int, token_ids: Sequence[int]) -> PromptRow:
    name = f"{prompt.row_id}:{number}"
    answer = np.asarray(token_ids, dtype=np.int32)
    return PromptRow(name, replace(prompt.matched, sequence_id=name, completion_token_ids=answer))


def _as_judged(row: PromptRow) -> TokenSequence:
    own = row.matched
    return TokenSequence(
        own.sequence_id, tuple(map(int, own.prompt_token_ids)), tuple(map(int, own.completion_token_ids))
    )


@torch.no_grad()
def rollouts_of(
    policy: Policy, objective: RolloutObjective, reference: Reference, answers: Answers, samples: int
) -> Rollouts:
    """Answers under policy and reference, with values where the method takes them; on the CPU.

    Args:
        policy: The one that wrote them.
        objective: How many answers a forward pass takes.
        reference: What they are held against.
        answers: At least one.
        samples: To each prompt.
    """
    found: dict[str, tuple[npt.NDArray[np.float32], ...]] = {}
    for part in objective.parts(policy, answers.rows):
        sequences = [row.sequences[0] for row in part]
        own = policy.pass_over(sequences, each=True).each
        assert own is not None
        if objective.spec.has_values and own.values is None:
            own = own._replace(values=own_values(policy, sequences))
        held = reference.each_token(sequences)
        for number, row in enumerate(part):
            found[row.row_id] = _of_row(own, held, number)
    logps, reference_logps, *values = (
        torch.nn.utils.rnn.pad_sequence(
            [torch.from_numpy(found[row.row_id][place]) for row in answers.rows], batch_first=True
        )
        for place in range(3 if objective.spec.has_values else 2)
    )
    lengths = torch.tensor([len(row.matched.completion_token_ids) for row in answers.rows])
    mask = torch.arange(logps.shape[1]) < lengths[:, None]
    return Rollouts(answers.rewards, logps, reference_logps, mask, samples, values[0] if values else None)


def _of_row(own: EachToken, held: EachToken, number: int) -> tuple[npt.NDArray[np.float32], ...]:
    """A row's log-probs under policy and reference, and its values where there are any."""
    tensors = [own.logps, held.logps, *([] if own.values is None else [own.values])]
    return tuple(tensor[number][own.mask[number]].float().cpu().numpy() for tensor in tensors)


def experience_of(rollouts: Rollouts, answers: Answers, objective: RolloutObjective) -> Experience:
    """Credit to each token, and what is logged of the answers.

    Args:
        rollouts: Answers under policy and reference.
        answers: The same.
        objective: The method.
    """
    credit = objective.spec.credit_of(rollouts, objective.settings)

    def own(values: torch.Tensor | None, number: int) -> npt.NDArray[np.float32]:
        assert values is not None
        return values[number][rollouts.mask[number]].numpy()

    rows = []
    for number, answer in enumerate(answers.rows):
        row = RolloutRow(
            answer.row_id, answer.matched, own(rollouts.token_logps, number), own(credit.advantages, number)
        )
        if rollouts.values is not None:
            row = replace(row, values=own(rollouts.values, number), returns=own(credit.returns, number))
        rows.append(row)
    return Experience(rows, measures_of(rollouts, answers, objective))


def measures_of(rollouts: Rollouts, answers: Answers, objective: RolloutObjective) -> dict[str, float]:
    """What is logged of answers, as means over them; KL in nats an answer, entropy in nats a token.

    Of answers that the policy wrote, `kl_k1` (log pi - log ref) and `kl_k3` (ref / pi - 1 - log(ref / pi), never below
    0) both estimate KL(policy || reference), and the mean of -log pi the entropy a token, without a bias.

    Args:
        rollouts: Answers under policy and reference.
        answers: The same.
        objective: The method, whose KL coefficient makes `penalised_reward`.

    Source: Schulman (2020), "Approximating KL divergence".
    """
    mask = rollouts.mask
    gap = (rollouts.token_logps - rollouts.reference_token_logps).masked_fill(~mask, 0.0).double()
    third = torch.expm1(-gap) + gap
    coefficient = Method(objective.spec.title, objective.spec, objective.settings).reward_scale
    return {
        "reward": float(answers.rewards.double().mean()),
        "score": float(answers.scores.double().mean()),
        "penalised_reward": float(penalised_scores(rollouts, coefficient).double().mean()),
        "kl_k1": float(gap.sum(dim=1).mean()),
        "kl_k3": float(third.sum(dim=1).mean()),
        "entropy": float(-rollouts.token_logps[mask].double().mean()),
        "answer_tokens": float(mask.sum(dim=1).double().mean()),
        "ended_share": float(answers.ended.double().mean()),
    }
