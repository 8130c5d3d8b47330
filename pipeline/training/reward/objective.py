"""Rows of thumbs and pairs to losses of scores, as the optimiser loop takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch

from thumbline.losses import reward_bce_loss, reward_model_loss

from ..batches import micro_batches, trained_sequences
from ..measured import Measured
from ..parallel.team import ALONE, Team
from ..policy import Policy
from ..rows import PairRow, Row, TrainingSequence, UnpairedRow
from .model import scores_of


@dataclass(frozen=True)
class RewardObjective:
    """What a thumbs model is trained on: each unpaired row's logistic loss, each pair's Bradley-Terry loss.

    Attributes:
        micro_batch_rows: Most rows a forward pass.
    """

    micro_batch_rows: int
    section: ClassVar[str] = "thumbs"
    ties_untrained: ClassVar[bool] = False
    takes_whole_steps: ClassVar[bool] = False

    def after(self, log: Sequence[tuple[int, str, str, float]], rows: int) -> "RewardObjective":
        """The same: nothing goes on over the run."""
        return self

    def held_out(self) -> "RewardObjective":
        """The same."""
        return self

    def parts(self, policy: Policy, rows: Sequence[Row]) -> list[list[Row]]:
        """A step's rows by forward passes."""
        return micro_batches(rows, self.micro_batch_rows, None, policy.layout)

    def step_statistic(self, policy: Policy, rows: Sequence[Row], team: Team = ALONE) -> torch.Tensor | None:
        """None: each row's loss is its own."""
        return None

    def measure(self, policy: Policy, rows: Sequence[Row], statistic: torch.Tensor | None) -> Measured:
        """Losses and scores of rows of either kind, which fit in one forward pass together."""
        scores = scores_of(policy, trained_sequences(rows))
        pairs, unpaired, firsts = list[PairRow](), list[UnpairedRow](), list[int]()
        singles, place = list[int](), 0
        for row in rows:
            if isinstance(row, PairRow):
                pairs.append(row)
                firsts.append(place)
                place += 2
            elif isinstance(row, UnpairedRow):
                unpaired.append(row)
                singles.append(place)
                place += 1
        parts = []
        if unpaired:
            parts.append(_of_thumbs(scores[singles], unpaired))
        if pairs:
            parts.append(_of_pairs(scores[firsts], scores[[first + 1 for first in firsts]], pairs))
        return _together(parts)

    def described(self, policy: Policy, sequences: Sequence[TrainingSequence]) -> list[str]:
        """Each sequence's score."""
        with torch.no_grad():
            return [f"score {score:.4g}" for score in scores_of(policy, sequences).tolist()]


def _of_thumbs(scores: torch.Tensor, rows: Sequence[UnpairedRow]) -> Measured:
    """Of single answers, (rows,) scores; accuracy is the share on their label's side of an even chance."""
    labels = torch.tensor([row.label for row in rows], device=scores.device)
    probability = torch.tensor([row.desirable_probability for row in rows], device=scores.device)
    losses = reward_bce_loss(scores, probability, torch.tensor([row.weight for row in rows], device=scores.device))
    found = scores.detach()
    right = torch.where(labels, found > 0, found < 0).float() + 0.5 * (found == 0)
    parts = {"accuracy": right, "desirable_scores": found[labels], "undesirable_scores": found[~labels]}
    return _measured(losses, parts, [row.row_id for row in rows])


def _of_pairs(chosen: torch.Tensor, rejected: torch.Tensor, rows: Sequence[PairRow]) -> Measured:
    """Of pairs, (rows,) scores of each side; accuracy is the share whose chosen answer has the higher one."""
    probability = torch.tensor([row.chosen_better_probability for row in rows], device=chosen.device)
    weights = torch.tensor([row.weight for row in rows], device=chosen.device)
    losses = reward_model_loss(chosen, rejected, weights=weights, chosen_better_probability=probability)
    margins = (chosen - rejected).detach()
    right = (margins > 0).float() + 0.5 * (margins == 0)
    parts = {
        "pair_accuracy": right,
        "score_margin": margins,
        "chosen_scores": chosen.detach(),
        "rejected_scores": rejected.detach(),
    }
    return _measured(losses, parts, [row.row_id for row in rows])


def _measured(losses: torch.Tensor, parts: dict[str, torch.Tensor], row_ids: Sequence[str]) -> Measured:
    parts = {"loss": losses.detach(), **parts}
    finite = losses.isfinite().tolist()
    return Measured(
        losses,
        {name: float(part.sum()) for name, part in parts.items()},
        {name: part.numel() for name, part in parts.items()},
        [row_id for row_id, fine in zip(row_ids, finite, strict=True) if not fine],
    )


def _together(parts: Sequence[Measured]) -> Measured:
    """One forward pass over rows of both kinds."""
    if len(parts) == 1:
        return parts[0]
    thumbs, pairs = parts
    both = thumbs.sums.keys() | pairs.sums.keys()
    return Measured(
        torch.cat([thumbs.losses, pairs.losses]),
        {name: thumbs.sums.get(name, 0.0) + pairs.sums.get(name, 0.0) for name in sorted(both)},
        {name: thumbs.counts.get(name, 0) + pairs.counts.get(name, 0) for name in sorted(both)},
        [*thumbs.infinite, *pairs.infinite],
    )
