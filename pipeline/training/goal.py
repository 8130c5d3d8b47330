"""What the optimiser loop asks of whatever is trained."""

from collections.abc import Sequence
from typing import Protocol

import torch

from .measured import Measured
from .parallel.team import ALONE, Team
from .policy import Policy
from .rows import Row, TrainingSequence


class Goal(Protocol):
    """Rows to losses, in parts that fit in memory."""

    @property
    def section(self) -> str:
        """Section of the run's settings that asks for it: errors name it."""

    @property
    def ties_untrained(self) -> bool:
        """Whether the untrained model ties on every row, whichever side rounding puts it on."""

    @property
    def takes_whole_steps(self) -> bool:
        """Whether a row's loss depends on its batch, so that a step cut into parts is another loss."""

    def after(self, log: Sequence[tuple[int, str, str, float]], rows: int) -> "Goal":
        """The same after steps that were logged so, over this many rows."""

    def held_out(self) -> "Goal":
        """The same on rows that are not trained on."""

    def parts(self, policy: Policy, rows: Sequence[Row]) -> list[list[Row]]:
        """A step's rows by forward passes."""

    def step_statistic(self, policy: Policy, rows: Sequence[Row], team: Team = ALONE) -> torch.Tensor | None:
        """A value over all rows of a step that each part of it needs; None where there is none."""

    def measure(self, policy: Policy, rows: Sequence[Row], statistic: torch.Tensor | None) -> Measured:
        """Losses of rows that fit in one forward pass, and what is logged of them."""

    def described(self, policy: Policy, sequences: Sequence[TrainingSequence]) -> list[str]:
        """What the model says of each sequence, in words; no gradient is needed."""
