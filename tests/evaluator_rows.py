"""Makers of small scored tables for the evaluators' tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from thumbline.evaluators import EvaluationSettings, evaluate

# With beta 1 a reward is a plain difference of log-probs, so that cases can be worked by hand.
PLAIN = EvaluationSettings(beta=1.0)


def scored_pairs(
    margins: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    model: str = "trained",
    lengths: Sequence[tuple[int, int]] | None = None,
) -> pl.DataFrame:
    """Pairs whose margin at beta 1 is as given: reference log-probs are -10, the policy's rejected ones too.

    Args:
        margins: Margin of each pair: chosen gains it over the reference.
        groups: Prompt group of each pair; None for one group a pair.
        model: The model's name.
        lengths: Tokens of chosen and rejected; None for 5 and 5.
    """
    count = len(margins)
    sizes = lengths or [(5, 5)] * count
    return pl.DataFrame(
        {
            "pair_id": [f"p{place:05}" for place in range(count)],
            "group_id": list(groups or [f"g{place:05}" for place in range(count)]),
            "model": [model] * count,
            "policy_chosen_logps": [-10.0 + margin for margin in margins],
            "policy_rejected_logps": [-10.0] * count,
            "reference_chosen_logps": [-10.0] * count,
            "reference_rejected_logps": [-10.0] * count,
            "chosen_token_count": [chosen for chosen, _ in sizes],
            "rejected_token_count": [rejected for _, rejected in sizes],
        }
    )


def scored_unpaired(
    desirable: Sequence[float],
    undesirable: Sequence[float],
    groups: Sequence[str] | None = None,
    *,
    model: str = "trained",
    tokens: int = 5,
) -> pl.DataFrame:
    """Unpaired rows whose reward at beta 1 is as given: reference log-probs are -10.

    Args:
        desirable: Rewards of desirable rows, which come first.
        undesirable: Rewards of undesirable rows.
        groups: Prompt group of each row; None for one group a row.
        model: The model's name.
        tokens: Completion tokens of every row.
    """
    rewards = [*desirable, *undesirable]
    count = len(rewards)
    return pl.DataFrame(
        {
            "response_id": [f"r{place:05}" for place in range(count)],
            "group_id": list(groups or [f"g{place:05}" for place in range(count)]),
            "model": [model] * count,
            "label": [True] * len(desirable) + [False] * len(undesirable),
            "policy_logps": [-10.0 + reward for reward in rewards],
            "reference_logps": [-10.0] * count,
            "token_count": [tokens] * count,
        },
        schema_overrides={"label": pl.Boolean},
    )


def metric(
    frame: pl.DataFrame, name: str, model: str = "trained", part: str | None = None, against: str | None = None
) -> dict[str, Any]:
    """The one row of a metrics table with this metric, model and slice, and this other model where one is named."""
    chosen = (pl.col("metric") == name) & (pl.col("model") == model) & pl.col("slice").eq_missing(part)
    if against is not None:
        chosen &= pl.col("compared_with") == against
    return frame.row(by_predicate=chosen, named=True)


def metrics_of(
    evaluator: str,
    pairs: pl.DataFrame | None = None,
    unpaired: pl.DataFrame | None = None,
    settings: EvaluationSettings = PLAIN,
) -> pl.DataFrame:
    """The metrics of one evaluator alone."""
    return evaluate(pairs, unpaired, settings, [evaluator])


def clustered_margins(
    generator: np.random.Generator, groups: int, *, rows: tuple[int, int], shared: float
) -> tuple[np.ndarray, np.ndarray]:
    """Margins of pairs whose prompts differ in difficulty, and the group of each.

    Args:
        generator: Source of randomness.
        groups: How many prompt groups.
        rows: Fewest and most pairs of a group.
        shared: Share of the margins' variance that the pairs of one group have in common, in [0, 1].

    Returns:
        (pairs,) margins, normal with mean 0.3 and variance 1, and (pairs,) group numbers.
    """
    number = np.repeat(np.arange(groups), generator.integers(rows[0], rows[1] + 1, size=groups))
    common = generator.normal(size=groups)[number] * np.sqrt(shared)
    return 0.3 + common + generator.normal(size=number.size) * np.sqrt(1.0 - shared), number
