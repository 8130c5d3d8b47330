"""Whether intervals of logged evaluation and of ratings, stated at 95%, hold the truth 95 times in 100.

Simulated data sets (`tests/simulations.py`), each resampled with a seed of its own. Logged answers: 400 prompts of 1 to
3 answers, log weights normal with a spread of 0.8, so that about 250 effective prompt groups are left. Ratings: 5
models, 150 prompts of 4 votes each on one pair, which belong together.
"""

import numpy as np
import polars as pl
import pytest
from scipy import special

from tests.simulations import DATA_SETS, is_stated
from thumbline.evaluators import EvaluationSettings, evaluate, evaluate_judged

pytestmark = pytest.mark.slow

PROMPTS = 400
SPREAD = 0.8
STRENGTHS = np.array([0.0, 0.3, 0.6, 1.0, -0.5])


def _true_rate(shift: float) -> float:
    """The share of desirable answers where log weights have this mean: an average over two normal variables."""
    points, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    chances = special.expit(0.3 + 0.7 * (points + shift)[:, None] + 0.8 * points[None, :])
    return float((chances * weights[:, None] * weights[None, :]).sum())


def _logged(generator: np.random.Generator) -> pl.DataFrame:
    number = np.repeat(np.arange(PROMPTS), generator.integers(1, 4, size=PROMPTS))
    taste = generator.normal(size=number.size)
    ease = 0.8 * generator.normal(size=PROMPTS)[number]
    return pl.DataFrame(
        {
            "response_id": pl.Series(np.arange(number.size)).cast(pl.String).str.zfill(5),
            "group_id": pl.Series(number).cast(pl.String),
            "label": generator.random(number.size) < special.expit(0.3 + 0.7 * taste + ease),
            # The mean of the weights is 1: a lognormal whose log has the mean of minus half its variance.
            "policy_logps": -50.0 + SPREAD * taste - SPREAD**2 / 2,
        }
    ).with_columns(model=pl.lit("trained"), reference_logps=-50.0, token_count=5)


def test_intervals_of_the_logged_rate_and_its_difference_hold_the_truth():
    generator, held = np.random.default_rng(3), {"rate": 0, "rate_difference": 0}
    # Under the model, tastes are normal with the mean SPREAD: that is what the weights make of them.
    truth = {"rate": _true_rate(SPREAD), "rate_difference": _true_rate(SPREAD) - _true_rate(0.0)}
    for seed in range(DATA_SETS):
        settings = EvaluationSettings(bootstrap_draws=500, seed=seed, reference_answers=("all",))
        found = evaluate(None, _logged(generator), settings, ["logged_evaluation"])
        for name, value in truth.items():
            row = found.row(by_predicate=pl.col("metric") == name, named=True)
            held[name] += row["ci_low"] <= value <= row["ci_high"]
    for count in held.values():
        assert is_stated(count / DATA_SETS)


def _judged(generator: np.random.Generator) -> pl.DataFrame:
    """Four votes on one pair a prompt, half of them what the prompt itself says, so that they belong together."""
    number = np.repeat(np.arange(150), 4)
    first = generator.integers(5, size=150)
    second = (first + generator.integers(1, 5, size=150)) % 5
    chance = special.expit(STRENGTHS[first] - STRENGTHS[second])
    common = (generator.random(150) < chance)[number]
    own = generator.random(number.size) < chance[number]
    return pl.DataFrame(
        {
            "group_id": pl.Series(number).cast(pl.String),
            "model_a": pl.Series(first[number]).cast(pl.String),
            "model_b": pl.Series(second[number]).cast(pl.String),
            "preference": np.where(generator.random(number.size) < 0.5, common, own).astype(np.float64),
        }
    )


def test_intervals_of_ratings_hold_the_truth():
    generator, held, asked = np.random.default_rng(4), 0, 0
    for seed in range(DATA_SETS):
        settings = EvaluationSettings(bootstrap_draws=300, seed=seed, baseline="0")
        found = evaluate_judged(_judged(generator), settings).filter(pl.col("metric") == "rating")
        for row in found.filter(pl.col("model") != "0").iter_rows(named=True):
            truth = 1000 + 400 / np.log(10) * STRENGTHS[int(row["model"])]
            held += row["ci_low"] <= truth <= row["ci_high"]
            asked += 1
    assert is_stated(held / asked)
