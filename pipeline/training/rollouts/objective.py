"""Answers that were sampled and given credit to losses, as one update takes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from thumbline.losses import RolloutBatch, RolloutLossOutput, RolloutSpec

from ...config import TrainConfig
from ...errors import ConfigError
from ..batches import micro_batches
from ..measured import Measured
from ..methods import main_method
from ..parallel.team import ALONE, Team
from ..policy import Policy
from ..rows import RolloutRow, Row, TrainingSequence
from .values import own_values


@dataclass(frozen=True)
class RolloutObjective:
    """What an update on sampled answers is trained towards.

    Attributes:
        spec: The method.
        settings: Its hyper-parameters.
        micro_batch_rows: Most answers a forward pass.
        micro_batch_tokens: Most tokens a forward pass; None for any number.
    """

    spec: RolloutSpec
    settings: object
    micro_batch_rows: int
    micro_batch_tokens: int | None = None

    section: ClassVar[str] = "train"
    ties_untrained: ClassVar[bool] = False
    takes_whole_steps: ClassVar[bool] = False

    def after(self, log: Sequence[tuple[int, str, str, float]], rows: int) -> "RolloutObjective":
        """The same: nothing goes on over the run."""
        return self

    def held_out(self) -> "RolloutObjective":
        """The same."""
        return self

    def parts(self, policy: Policy, rows: Sequence[Row]) -> list[list[Row]]:
        """An update's answers by forward passes; those to one prompt lie together where its tokens are shared."""
        apart = policy.layout != "shared"
        return micro_batches(rows, self.micro_batch_rows, self.micro_batch_tokens, policy.layout, sort=apart)

    def step_statistic(self, policy: Policy, rows: Sequence[Row], team: Team = ALONE) -> torch.Tensor | None:
        """() mean tokens an answer, which makes a mean over tokens of one over answers; None where it is not one."""
        if self.spec.mean_over == "answers":
            return None
        tokens = sum(len(row.matched.completion_token_ids) for row in _rollouts(rows))
        return torch.tensor(tokens / len(rows), device=policy.device)

    def measure(self, policy: Policy, rows: Sequence[Row], statistic: torch.Tensor | None) -> Measured:
        """Losses of answers that fit in one forward pass."""
        answers = _rollouts(rows)
        batch = self._batch(policy, answers)
        output: RolloutLossOutput = self.spec.function(batch, self.settings)
        losses = output.losses if statistic is None else output.losses / statistic
        finite = losses.isfinite().tolist()
        sums, counts = self._logged(batch, output, losses)
        return Measured(losses, sums, counts, [row.row_id for row, fine in zip(rows, finite, strict=True) if not fine])

    def _batch(self, policy: Policy, answers: Sequence[RolloutRow]) -> RolloutBatch:
        sequences = [row.matched for row in answers]
        each = policy.pass_over(sequences, each=True).each
        assert each is not None

        def beside(values: Sequence[npt.NDArray[np.float32]]) -> torch.Tensor:
            return _padded(values).to(policy.device)

        values = old = returns = None
        if self.spec.has_values:
            values = each.values if each.values is not None else own_values(policy, sequences)
            old = beside([_known(row.values) for row in answers])
            returns = beside([_known(row.returns) for row in answers])
        return RolloutBatch(
            each.logps,
            beside([row.token_logps for row in answers]),
            beside([row.advantages for row in answers]),
            each.mask,
            values,
            old,
            returns,
        )

    def _logged(
        self, batch: RolloutBatch, output: RolloutLossOutput, losses: torch.Tensor
    ) -> tuple[dict[str, float], dict[str, int]]:
        rows, tokens = len(losses), int(batch.mask.sum())
        over = rows if self.spec.mean_over == "answers" else tokens
        sums = {
            "loss": float(losses.detach().sum()),
            "policy_loss": float(output.policy_losses.sum()),
            "clip_fraction": float(output.clipped.sum()),
        }
        counts = {"loss": rows, "policy_loss": over, "clip_fraction": over}
        if output.value_losses is not None:
            sums, counts = sums | {"value_loss": float(output.value_losses.sum())}, counts | {"value_loss": tokens}
        return sums, counts

    def described(self, policy: Policy, sequences: Sequence[TrainingSequence]) -> list[str]:
        """Each answer's log-prob."""
        with torch.no_grad():
            return [f"{logps:.4g} nats" for logps in policy.logps(sequences).logps.tolist()]


def rollout_objective(config: TrainConfig) -> RolloutObjective:
    """What a run on rollouts trains.

    Raises:
        ConfigError: The method trains on rows of the log.
    """
    method = main_method(config)
    if not isinstance(method.spec, RolloutSpec):
        raise ConfigError(f"train.method: {method.name} trains on rows of the log, not on sampled answers.")
    return RolloutObjective(method.spec, method.config, config.micro_batch_rows, config.micro_batch_tokens)


def _rollouts(rows: Sequence[Row]) -> list[RolloutRow]:
    return [row for row in rows if isinstance(row, RolloutRow)]


def _known(values: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    if values is None:
        raise ValueError("an answer of a method with a value head has no values")
    return values


def _padded(values: Sequence[npt.NDArray[np.float32]]) -> torch.Tensor:
    """(rows, longest) float32, 0 where a row has ended."""
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in values], batch_first=True)
