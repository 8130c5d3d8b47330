"""Scored rows and runs of known outcome, made by hand."""

import polars as pl

from thumbline.pipeline.evaluation.outcome import Choices, Outcome, evaluate_subject
from thumbline.pipeline.evaluation.subject import Subject
from thumbline.pipeline.evaluation.union import Reward


def scored(model: str, margins: list[float], *, prefix: str = "p", reference: float | None = 0.0) -> pl.DataFrame:
    """One pair a margin, each a prompt group: chosen at -10 plus the margin, rejected at -10, all in nats."""
    size = len(margins)
    return pl.DataFrame(
        {
            "pair_id": [f"{prefix}{place:03d}" for place in range(size)],
            "group_id": [f"g{place:03d}" for place in range(size)],
            "model": [model] * size,
            "policy_chosen_logps": [-10.0 + margin for margin in margins],
            "policy_rejected_logps": [-10.0] * size,
            "reference_chosen_logps": [None if reference is None else -10.0 + reference] * size,
            "reference_rejected_logps": [None if reference is None else -10.0] * size,
            "chosen_token_count": [5] * size,
            "rejected_token_count": [5] * size,
        },
        schema_overrides={"reference_chosen_logps": pl.Float64, "reference_rejected_logps": pl.Float64},
    )


def margins(right: int, wrong: int) -> list[float]:
    """`right` pairs that the model gets right and `wrong` that it gets wrong, mixed evenly."""
    return [1.0] * right + [-1.0] * wrong


def subject(*frames: pl.DataFrame, name: str = "run", baseline: str | None = "untrained") -> Subject:
    return Subject(name=name, pairs=pl.concat(frames), unpaired=None, baseline=baseline)


def run_like(right: int, wrong: int, *, name: str = "run") -> Subject:
    """An untrained model that ties on every pair and a trained one."""
    return subject(scored("untrained", [0.0] * (right + wrong)), scored("trained", margins(right, wrong)), name=name)


def outcome(of: Subject, **choices) -> Outcome:
    return evaluate_subject(of, Choices(**{"draws": 200, **choices}))


IMPLICIT = Reward("implicit", 0.1)
