"""A training that is stopped between two steps, as a killed one would be: what it has not written is gone."""

from thumbline.pipeline.training.checkpoints import LogRow
from thumbline.pipeline.training.trainer import Trainer


def run_until(trainer: Trainer, stop_after: int | None = None) -> list[LogRow] | None:
    """The whole log; None where the training was stopped as soon as so many of the run's steps were done."""
    done = 0

    def advance(steps: int) -> None:
        nonlocal done
        done += steps
        if stop_after is not None and done >= stop_after:
            raise KeyboardInterrupt

    try:
        return trainer.run(advance)
    except KeyboardInterrupt:
        return None
