"""Means of what was seen so far, kept by whoever trains."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class RunningMean:
    """The mean of all log-ratios seen so far: BCO's shift over a whole training run, kept by the caller.

    Attributes:
        mean: Nats.
        count: Values seen.
    """

    mean: float = 0.0
    count: int = 0

    def updated(self, values: torch.Tensor) -> "RunningMean":
        """The mean over the old values and these.

        Args:
            values: (rows,) nats; may be empty.
        """
        count = self.count + values.numel()
        if count == 0:
            return self
        total = self.mean * self.count + float(values.detach().double().sum())
        return RunningMean(total / count, count)


@dataclass(frozen=True)
class MovingMoments:
    """Moving mean and standard deviation of margins over the batches of a training run, kept by the caller.

    Attributes:
        mean: Nats; None before the first batch.
        deviation: Nats, at least 0.
    """

    mean: float | None = None
    deviation: float = 0.0

    def updated(self, margins: torch.Tensor, update_share: float) -> "MovingMoments":
        """The moments with a batch's taken in; the first batch's are taken as they are.

        Args:
            margins: (batch,) nats; may be empty.
            update_share: In (0, 1]: the share of the new.
        """
        if margins.numel() == 0:
            return self
        values = margins.detach().double()
        mean, deviation = float(values.mean()), float(values.std()) if values.numel() > 1 else 0.0
        if self.mean is None:
            return MovingMoments(mean, deviation)
        return MovingMoments(
            self.mean + update_share * (mean - self.mean),
            self.deviation + update_share * (deviation - self.deviation),
        )
