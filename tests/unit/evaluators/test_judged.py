"""Win rates and ratings from judged pairs, worked by hand, and what has no number."""

from math import log, log10

import numpy as np
import polars as pl
import pytest

from thumbline.evaluators import METRICS_SCHEMA, EvaluationError, EvaluationSettings, evaluate_judged
from thumbline.evaluators.bradley_terry import Comparisons, rate
from thumbline.evaluators.groups import numbered

SETTINGS = EvaluationSettings(baseline="base", bootstrap_draws=200)


def judged(*rows: tuple[str, str, float], **columns: list[object]) -> pl.DataFrame:
    """Rows of (model_a, model_b, preference), each of a prompt of its own unless `group_id` is given."""
    first, second, preference = zip(*rows, strict=True)
    given = {"group_id": [f"g{place:03}" for place in range(len(rows))], **columns}
    return pl.DataFrame({"model_a": first, "model_b": second, "preference": preference, **given}, strict=False)


def found(frame: pl.DataFrame, metric: str, model: str, **more: object) -> dict[str, object]:
    chosen = (pl.col("metric") == metric) & (pl.col("model") == model)
    for name, value in more.items():
        chosen &= pl.col(name).eq_missing(pl.lit(value))
    return frame.row(by_predicate=chosen, named=True)


def repeated(*rows: tuple[str, str, float, int]) -> list[tuple[str, str, float]]:
    return [row[:3] for row in rows for _ in range(row[3])]


THREE_TO_ONE = judged(*repeated(("new", "base", 1.0, 30), ("base", "new", 1.0, 10)))


def test_a_win_rate_counts_both_sides_and_ties_half():
    frame = evaluate_judged(
        judged(("new", "base", 1.0), ("base", "new", 0.0), ("new", "base", 0.5), ("base", "new", 1.0)), SETTINGS
    )
    assert found(frame, "win_rate", "new")["value"] == pytest.approx(2.5 / 4)
    assert [found(frame, name, "new")["value"] for name in ("wins", "ties", "losses")] == [0.5, 0.25, 0.25]
    assert found(frame, "win_rate", "new")["compared_with"] == "base"
    assert frame.schema == pl.Schema(METRICS_SCHEMA)


def test_the_rating_of_two_models_is_the_odds_of_their_wins():
    frame = evaluate_judged(THREE_TO_ONE, SETTINGS)
    assert found(frame, "rating", "new")["value"] == pytest.approx(1000 + 400 * log10(3))
    assert found(frame, "rating", "base")["value"] == 1000.0
    # Log odds of a share of 3/4 of 40 have the variance 1 / (40 * 3/16), times 40/39 for forty groups.
    error = 400 / log(10) * (1 / 7.5 * 40 / 39) ** 0.5
    assert found(frame, "rating", "new")["standard_error"] == pytest.approx(error)


def test_ratings_add_up_along_a_chain():
    rows = repeated(("a", "base", 1.0, 3), ("base", "a", 1.0, 1), ("b", "a", 1.0, 3), ("a", "b", 1.0, 1))
    frame = evaluate_judged(judged(*rows), SETTINGS)
    assert found(frame, "rating", "b")["value"] == pytest.approx(1000 + 800 * log10(3))
    assert found(frame, "win_rate", "b")["reason"] == "never compared with it directly"


def test_a_model_that_only_won_has_no_rating_but_a_win_rate():
    frame = evaluate_judged(judged(*repeated(("best", "base", 1.0, 4), ("base", "worst", 1.0, 4))), SETTINGS)
    assert "no upper bound" in str(found(frame, "rating", "best")["reason"])
    assert "no lower bound" in str(found(frame, "rating", "worst")["reason"])
    assert found(frame, "rating", "best")["value"] is None
    assert found(frame, "win_rate", "best")["value"] == 1.0


def test_models_that_never_met_are_said_and_not_invented():
    rows = [*repeated(("a", "base", 1.0, 2), ("base", "a", 1.0, 2)), *repeated(("c", "d", 1.0, 2), ("d", "c", 1.0, 1))]
    frame = evaluate_judged(judged(*rows), SETTINGS)
    assert found(frame, "rating", "a")["value"] == pytest.approx(1000.0)
    assert "no comparison, direct or through others" in str(found(frame, "rating", "c")["reason"])


def test_without_a_baseline_ratings_are_against_the_model_most_compared():
    rows = repeated(("x", "y", 1.0, 2), ("y", "x", 1.0, 2), ("y", "z", 1.0, 1), ("z", "y", 1.0, 1))
    frame = evaluate_judged(judged(*rows), EvaluationSettings(bootstrap_draws=200))
    assert found(frame, "rating", "y")["reason"] == "the model that ratings are against"


def test_a_rating_that_resamples_often_lose_has_no_interval():
    rows = repeated(("new", "base", 1.0, 9), ("base", "new", 1.0, 1))
    row = found(evaluate_judged(judged(*rows), SETTINGS), "rating", "new")
    assert row["value"] == pytest.approx(1000 + 400 * log10(9))
    assert (row["ci_low"], "resamples do not determine" in str(row["reason"])) == (None, True)


def test_position_bias_and_agreement_are_of_pairs_seen_in_both_orders():
    rows = [("new", "base", 1.0), ("base", "new", 1.0), ("new", "base", 1.0), ("base", "new", 0.0)]
    frame = evaluate_judged(
        judged(*rows, a_first=[True] * 4, pair_id=["p", "p", "q", "q"], group_id=["g", "g", "h", "h"]), SETTINGS
    )
    # p: whoever is first wins; q: new wins in both orders.
    assert found(frame, "position_bias", "(all models)")["value"] == pytest.approx(0.25)
    assert found(frame, "self_agreement", "(all models)")["value"] == 0.5


def test_position_bias_of_single_orders_says_what_it_takes():
    frame = evaluate_judged(judged(("new", "base", 1.0), ("base", "new", 0.0), a_first=[True, False]), SETTINGS)
    row = found(frame, "position_bias", "(all models)")
    assert row["value"] == pytest.approx(0.5)  # new first and wins; then base second, new first again
    assert "drawn by chance" in str(row["reason"])
    unknown = found(evaluate_judged(THREE_TO_ONE, SETTINGS), "position_bias", "(all models)")
    assert unknown["reason"] == "it is not known which answer was shown first"


def test_the_test_against_the_baseline_is_exact_and_by_prompt():
    one = evaluate_judged(judged(*repeated(("new", "base", 1.0, 4))), SETTINGS)
    assert found(one, "win_rate_p", "new")["value"] == pytest.approx(2 / 16)
    together = evaluate_judged(judged(*repeated(("new", "base", 1.0, 4)), group_id=["g", "g", "h", "h"]), SETTINGS)
    assert found(together, "win_rate_p", "new")["value"] == pytest.approx(2 / 4)


def test_each_judge_is_evaluated_apart_and_a_crowd_together():
    rows = repeated(("new", "base", 1.0, 2), ("base", "new", 1.0, 2))
    frame = evaluate_judged(judged(*rows, judge=["x", "y", "x", "x"]), SETTINGS)
    assert found(frame, "win_rate", "new", judge="y")["value"] == 1.0
    assert found(frame, "win_rate", "new", judge="x")["value"] == pytest.approx(1 / 3)
    many = judged(*repeated(("new", "base", 1.0, 12)), judge=[f"user {place}" for place in range(12)])
    assert evaluate_judged(many, SETTINGS)["judge"].unique().to_list() == ["12 judges"]


def test_no_order_of_the_rows_moves_a_digit():
    generator = np.random.default_rng(1)
    rows = [("new", "base", float(value)) for value in generator.random(200)]
    frame = judged(*rows, length_a=generator.integers(1, 99, 200).tolist(), length_b=[50] * 200)
    assert evaluate_judged(frame, SETTINGS).equals(evaluate_judged(frame.reverse(), SETTINGS))
    assert found(evaluate_judged(frame, SETTINGS), "length_controlled_win_rate", "new")["value"] is not None


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (judged(("a", "a", 1.0)), "1 with one model against itself"),
        (judged(("a", "b", 1.5)), "1 with a preference outside 0 to 1"),
        (judged(("a", "b", 1.0), group_id=[None]), "1 with no group_id"),
        (judged(("a", "b", 1.0)).drop("model_b"), "column model_b missing"),
        (judged(("a", "b", 1.0)).clear(), "there is no row"),
        (judged(("a", "b", 1.0)).cast({"preference": pl.String}), "must be a number"),
    ],
)
def test_rows_that_say_nothing_are_refused(frame, words):
    with pytest.raises(EvaluationError, match=words):
        evaluate_judged(frame, SETTINGS)


def test_draws_and_errors_agree_on_many_models():
    generator = np.random.default_rng(0)
    strength = generator.normal(size=5)
    first = generator.integers(5, size=1500)
    second = (first + generator.integers(1, 5, size=1500)) % 5
    chance = 1 / (1 + np.exp(strength[second] - strength[first]))
    preference = (generator.random(1500) < chance).astype(np.float64)
    groups = numbered(generator.integers(400, size=1500), 400, 0)
    ratings = rate(Comparisons(first, second, preference, 5, groups), 0, EvaluationSettings())
    spread = ratings.draws[:, 1:].std(axis=0)
    assert np.allclose(spread, ratings.errors[1:], rtol=0.12)
    assert np.all(np.abs(ratings.log_odds[1:] - (strength[1:] - strength[0])) < 4 * ratings.errors[1:])
