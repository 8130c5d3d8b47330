"""The predicted thumbs-up rate and its audit, worked by hand; the thumbs model's figures against scikit-learn."""

from math import hypot, sqrt

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from tests.answer_rows import answer_tables
from tests.evaluator_rows import metric
from thumbline.evaluators import AnswerTables, EvaluationError, EvaluationSettings, evaluate_answers


def votes(
    scores: list[float], up: list[float], *, split: str = "validation", tokens: int | list[int] = 5, name: str = "v"
) -> pl.DataFrame:
    """Labelled answers under the thumbs model, each of a group of its own."""
    count = len(scores)
    return pl.DataFrame(
        {
            "response_id": [f"{name}{place:04}" for place in range(count)],
            "prompt_id": [f"{name}{place:04}" for place in range(count)],
            "group_id": [f"{name}{place:04}" for place in range(count)],
            "split": [split] * count,
            "label": [value > 0.5 for value in up],
            "probability_desirable": [float(value) for value in up],
            "weight": [1.0] * count,
            "score": [float(value) for value in scores],
            "probability": [1 / (1 + np.exp(-value)) for value in scores],
            "token_count": [tokens] * count if isinstance(tokens, int) else tokens,
            "script": ["latin"] * count,
        }
    )


# At score 0 five of twenty votes are up, at score 1 fifteen of twenty.
QUARTERS = votes([0.0] * 20 + [1.0] * 20, [1.0] * 5 + [0.0] * 15 + [1.0] * 15 + [0.0] * 5)
SCORES = {"trained": [[1, 1], [0, 1]], "untrained": [[0, 0], [0, 1]]}


def rates_of(tables: AnswerTables, judge: str | None = "judge", **settings: object) -> pl.DataFrame:
    chosen = EvaluationSettings(**{"calibration": "isotonic", **settings})  # type: ignore[arg-type]
    found = evaluate_answers(tables, chosen, judge)
    return found.filter(pl.col("evaluator") == "predicted_thumbs_up")


def test_rates_are_the_calibrated_scores_of_answers_by_prompt():
    found = rates_of(answer_tables(SCORES, thumbs_scores=QUARTERS), bootstrap_draws=2000)
    assert metric(found, "rate")["value"] == pytest.approx(0.625)  # (3/4 + (1/4 + 3/4) / 2) / 2
    assert metric(found, "rate", "untrained")["value"] == pytest.approx(0.375)  # (1/4 + 1/2) / 2
    difference = metric(found, "rate_difference")
    assert difference["value"] == pytest.approx(0.25)
    assert (difference["compared_with"], difference["judge"], difference["n"]) == ("untrained", "judge", 4)
    assert difference["reason"] == "calibrated (isotonic) on 40 votes of 40 prompt groups"


def test_the_error_holds_the_prompts_and_the_calibrations():
    found = metric(rates_of(answer_tables(SCORES, thumbs_scores=QUARTERS), bootstrap_draws=2000), "rate")
    prompts = sqrt(2 * (2 * (0.125 / 2) ** 2))  # 3/4 and 1/2 are 1/8 from their mean
    # A quarter of the answers is at score 0, the rest at 1; each rate is of 20 votes.
    calibration = sqrt((1 / 4) ** 2 + (3 / 4) ** 2) * sqrt(3 / 16 / 20)
    assert found["standard_error"] == pytest.approx(hypot(prompts, calibration), rel=0.05)


def test_what_a_curve_leaves_over_is_put_back_by_strata():
    # Up at both ends and down between: no rising curve is right, the mean of each stratum is.
    scores = np.repeat([-2.0, -1.0, 1.0, 2.0], 40)
    up = np.concatenate(
        [np.tile([1.0, 1.0, 1.0, 0.0], 10), np.tile([0.0, 0.0, 0.0, 1.0], 20), np.ones(30), np.zeros(10)]
    )
    tables = answer_tables({"trained": [[2], [2]], "untrained": [[-1], [1]]}, thumbs_scores=votes(scores, up))
    found = rates_of(tables, calibration="platt")
    assert metric(found, "rate")["value"] == pytest.approx(0.75)
    assert metric(found, "rate", "untrained")["value"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"score": 3.0},
            "refused: 100.0% of its answers have scores outside 0 to 1, which the calibration saw; at most",
        ),
        ({"token_count": 900}, "100.0% of its answers have lengths in tokens outside 5 to 5"),
        ({"script": "han"}, "100.0% of its answers have scripts other than latin"),
    ],
)
def test_a_rate_of_answers_that_the_calibration_never_saw_is_refused(change, reason):
    tables = answer_tables(SCORES, thumbs_scores=QUARTERS)
    trained = pl.col("generation_id").str.starts_with("trained")
    generations, judgements = tables.generations.with_columns(script=pl.lit("latin")), tables.judgements
    for column, value in change.items():
        if column == "score":
            judgements = judgements.with_columns(score=pl.when(trained).then(value).otherwise("score"))
        else:
            generations = generations.with_columns(pl.when(trained).then(pl.lit(value)).otherwise(column).alias(column))
    found = rates_of(tables._replace(generations=generations, judgements=judgements))
    for name in ("rate", "rate_difference"):
        row = metric(found, name)
        assert (row["value"], row["ci_low"]) == (None, None)
        assert reason in row["reason"]
        assert "(trained)" in row["reason"]
    assert metric(found, "rate", "untrained")["value"] is not None
    audited = found.filter(pl.col("metric").str.starts_with("audit_"), pl.col("value") > 0)
    assert audited["value"].to_list() == [1.0]
    assert metric(rates_of(tables._replace(judgements=judgements), most_outside=1.0), "rate")["value"] is not None


def test_no_calibration_no_rate():
    few = votes([0.0, 1.0, 2.0], [1.0, 0.0, 1.0])
    row = metric(rates_of(answer_tables(SCORES, thumbs_scores=few)), "rate_difference")
    assert row["value"] is None
    assert row["reason"].startswith("no calibration: 2 thumbs up and 1 down")
    row = metric(rates_of(answer_tables(SCORES, thumbs_scores=QUARTERS), None), "rate_difference")
    assert row["reason"] == "no judge is the run's thumbs model; add {judge: thumbs} to judges"


def test_the_thumbs_models_figures_are_those_of_scikit_learn():
    generator = np.random.default_rng(4)
    scores = generator.normal(size=300)
    up = (generator.random(300) < 1 / (1 + np.exp(-scores))).astype(float)
    lengths = generator.integers(1, 99, 300) + (30 * up).astype(int)
    seen = votes([0.0] * 4, [1.0, 1.0, 0.0, 0.0], tokens=[9, 8, 2, 1])
    test = votes(scores.tolist(), up.tolist(), split="test", tokens=lengths.tolist(), name="t")
    tables = answer_tables({"trained": [[1]], "untrained": [[1]]}, thumbs_scores=pl.concat([seen, test]))
    found = evaluate_answers(tables, EvaluationSettings())
    rates = 1 / (1 + np.exp(-scores))
    expected = {
        "auc": roc_auc_score(up, scores),
        "length_only_auc": roc_auc_score(up, lengths),
        "auc_over_length": roc_auc_score(up, scores) - roc_auc_score(up, lengths),
        "log_loss": log_loss(up, rates),
        "brier": brier_score_loss(up, rates),
        "rate_bias": float(np.mean(rates - up)),
        "accuracy": float(np.mean((scores > 0) == (up == 1))),
    }
    for name, value in expected.items():
        row = metric(found, name, "thumbs")
        assert row["value"] == pytest.approx(value, abs=1e-9), name
        assert row["ci_low"] < value < row["ci_high"]
    numbers = np.minimum((rates * 10).astype(int), 9)
    ece = sum(abs((up - rates)[numbers == number].sum()) for number in range(10)) / 300
    assert metric(found, "ece", "thumbs")["value"] == pytest.approx(ece)
    in_bin = metric(found, "reliability_rate", "thumbs", "probability=0.5 to 0.6")
    assert in_bin["value"] == pytest.approx(up[numbers == 5].mean())


def test_soft_labels_and_weights_count_in_the_figures():
    rows = votes([0.0, 0.0], [0.75, 0.0], split="test").with_columns(weight=pl.Series([1.0, 3.0]))
    found = evaluate_answers(answer_tables({"trained": [[1]]}, thumbs_scores=rows), EvaluationSettings())
    # At a rate of one half both lose ln 2, and are a quarter from it, squared.
    assert metric(found, "log_loss", "thumbs")["value"] == pytest.approx(np.log(2))
    assert metric(found, "brier", "thumbs")["value"] == pytest.approx(0.25)
    assert metric(found, "ece", "thumbs")["value"] == pytest.approx((1 * 0.25 - 3 * 0.5) / -4)


def test_length_is_taken_as_it_was_on_validation_votes():
    seen = votes([0.0] * 4, [1.0, 1.0, 0.0, 0.0], tokens=[1, 2, 8, 9])
    test = votes([0.0] * 4, [1.0, 1.0, 0.0, 0.0], tokens=[1, 2, 8, 9], split="test", name="t")
    tables = answer_tables({"trained": [[1]]}, thumbs_scores=pl.concat([seen, test]))
    row = metric(evaluate_answers(tables, EvaluationSettings()), "length_only_auc", "thumbs")
    assert (row["value"], row["reason"]) == (1.0, "the shorter answer is the better, as on validation votes")


def test_a_model_without_a_calibration_has_figures_of_order_alone():
    rows = votes([0.0, 1.0, 2.0], [0.0, 1.0, 1.0], split="test").with_columns(probability=pl.lit(None, pl.Float64))
    found = evaluate_answers(answer_tables({"trained": [[1]]}, thumbs_scores=rows), EvaluationSettings())
    assert metric(found, "auc", "thumbs")["value"] == 1.0
    row = metric(found, "brier", "thumbs")
    assert (row["value"], row["reason"]) == (None, "the thumbs model has no calibration")


@pytest.mark.parametrize("settings", [{"most_outside": 1.5}, {"calibration": "spline"}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(EvaluationError, match=next(iter(settings))):
        EvaluationSettings(**settings)
