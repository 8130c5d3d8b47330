"""The mean of what was seen so far, kept by whoever trains."""

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
