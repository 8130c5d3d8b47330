"""Where there is no number: None with a reason. Where there must be none: a refusal that says what, how many, which."""

from math import inf, nan

import polars as pl
import pytest

from tests.evaluator_rows import PLAIN, metric, metrics_of, scored_pairs, scored_unpaired
from thumbline.evaluators import EVALUATORS, EvaluationError, EvaluationSettings, evaluate

ONE_GROUP = "one prompt group: no interval can be given"
ONE_CLASS = "all rows have one label: two classes are needed"


def two_models(**trained: pl.Expr) -> pl.DataFrame:
    """Three pairs under two models, the trained model's rows changed as said."""
    return pl.concat(
        [scored_pairs([1, 2, 3]).with_columns(**trained), scored_pairs([0, 0, 0], model="untrained")],
        how="vertical_relaxed",
    )


def test_no_rows_at_all():
    found = evaluate(scored_pairs([]), scored_unpaired([], []), PLAIN)
    assert set(found["evaluator"]) == set(EVALUATORS)
    assert set(found["metric"]) == {spec.headline for spec in EVALUATORS.values()}
    assert found["value"].null_count() == found.height == len(EVALUATORS)
    assert set(found["reason"]) == {"no held-out pair", "no held-out unpaired row"}


def test_a_table_that_is_not_given_has_no_metrics():
    assert set(evaluate(scored_pairs([1]), None, PLAIN)["evaluator"]).isdisjoint({"unpaired_auc", "divergence"})
    assert evaluate(None, None, PLAIN).is_empty()


@pytest.mark.parametrize(
    ("evaluator", "name", "number"),
    [
        ("pair_accuracy", "accuracy", 0.5),
        ("reward_margin", "mean", 0.5),
        ("reward_margin", "median", 0.5),
        ("calibration", "brier", 0.274328),  # sigma(2) = 0.880797, sigma(-1) = 0.268941: (0.014209 + 0.534447) / 2
        ("length_bias", "longer_wins_accuracy", 0.5),
    ],
)
def test_one_group_has_a_value_and_no_interval(evaluator, name, number):
    row = metric(metrics_of(evaluator, scored_pairs([2, -1], ["a", "a"])), name)
    assert row["value"] == pytest.approx(number, abs=1e-6)
    assert (row["ci_low"], row["ci_high"], row["reason"]) == (None, None, ONE_GROUP)


@pytest.mark.parametrize(("evaluator", "name"), [("unpaired_auc", "auc"), ("unpaired_auc", "reward_separation")])
def test_one_group_of_unpaired_rows_has_no_interval(evaluator, name):
    row = metric(metrics_of(evaluator, unpaired=scored_unpaired([1], [0], ["a", "a"])), name)
    assert row["value"] == 1.0
    assert (row["ci_low"], row["ci_high"], row["reason"]) == (None, None, ONE_GROUP)


def test_one_group_has_no_least_effect():
    rows = pl.concat([scored_pairs([1, 1], ["a", "a"]), scored_pairs([0, -1], ["a", "a"], model="untrained")])
    row = metric(metrics_of("comparison", rows), "minimum_detectable_effect")
    assert (row["value"], row["reason"]) == (None, "one prompt group: no standard error can be given")


def test_groups_that_all_change_alike_have_no_least_effect():
    rows = pl.concat([scored_pairs([1, 1, 1]), scored_pairs([0, 0, 0], model="untrained")])
    row = metric(metrics_of("comparison", rows), "minimum_detectable_effect")
    assert row["value"] is None
    assert row["reason"] == "all prompt groups changed alike, so the spread of the difference is not known"


@pytest.mark.parametrize(("desirable", "undesirable"), [([1, 2], []), ([], [1, 2])])
def test_one_class_has_no_auc(desirable, undesirable):
    found = metrics_of("unpaired_auc", unpaired=scored_unpaired(desirable, undesirable))
    for name in ("auc", "balanced_accuracy_zero", "balanced_accuracy_best", "reward_separation"):
        row = metric(found, name)
        assert (row["value"], row["ci_low"], row["ci_high"], row["reason"]) == (None, None, None, ONE_CLASS)


@pytest.mark.parametrize(
    ("margins", "reason"),
    [
        ([0, 0], "margins all have one sign or are ties, so no finite temperature is best"),
        ([1, 2], "margins all have one sign or are ties, so no finite temperature is best"),
        ([1, -2], "the mean margin is not above 0, so the best temperature is infinite"),
    ],
)
def test_no_temperature_is_best(margins, reason):
    row = metric(metrics_of("calibration", scored_pairs(margins)), "temperature")
    assert (row["value"], row["reason"]) == (None, reason)


def test_no_pair_is_matched_in_length():
    found = metrics_of("length_bias", scored_pairs([1, 1], lengths=[(10, 20), (5, 50)]))
    for name in ("accuracy_length_matched", "accuracy_chosen_longer"):
        row = metric(found, name)
        assert (row["value"], row["n"], row["reason"]) == (None, 0, "no held-out pair is of this kind")
    row = metric(found, "length_adjusted_accuracy")
    assert (row["value"], row["reason"]) == (None, "chosen is never longer, or never shorter")


def test_without_a_reference_nothing_is_compared_with_it():
    settings = EvaluationSettings(reward="sum_logps")
    reason = "there are no reference log-probs to compare with"
    pairs = scored_pairs([1, -1]).drop("reference_chosen_logps", "reference_rejected_logps")
    row = metric(metrics_of("reward_margin", pairs, settings=settings), "both_logps_fall")
    assert (row["value"], row["reason"]) == (None, reason)
    unpaired = scored_unpaired([1], [0]).drop("reference_logps")
    for found in (
        metrics_of("divergence", unpaired=unpaired, settings=settings),
        metrics_of("pair_divergence", pairs, settings=settings),
    ):
        assert found["value"].to_list() == [None, None]
        assert set(found["reason"]) == {reason}


@pytest.mark.parametrize("model", ["trained", "untrained"])
def test_one_model_alone_is_not_compared(model):
    assert metrics_of("comparison", scored_pairs([1, 2], model=model)).is_empty()


def refused(message: str, pairs: pl.DataFrame | None, unpaired: pl.DataFrame | None = None, **settings: object) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(pairs, unpaired, EvaluationSettings(**settings))
    assert str(caught.value) == message


@pytest.mark.parametrize("number", [nan, inf, -inf, None])
@pytest.mark.parametrize("column", ["policy_chosen_logps", "policy_rejected_logps"])
def test_a_log_prob_that_is_no_number(column, number):
    rows = two_models(**{column: pl.when(pl.col("pair_id") == "p00001").then(number).otherwise(pl.col(column))})
    refused(
        f"scored pairs: 1 of 6 rows have a {column} that is null, NaN or infinite (model trained; pair_id p00001)", rows
    )


def test_four_nan_are_counted_and_three_named():
    rows = scored_pairs([nan] * 4 + [1.0])
    refused(
        "scored pairs: 4 of 5 rows have a policy_chosen_logps that is null, NaN or infinite "
        "(model trained; pair_id p00000, p00001, p00002, ...)",
        rows,
    )


def test_an_id_that_repeats():
    rows = pl.concat([two_models(), scored_pairs([5])])
    refused("scored pairs: 1 pair_id repeat for one model (p00000); keep one row for each model and pair_id", rows)


def test_rows_that_one_model_lacks():
    rows = pl.concat([scored_pairs([1, 2, 3]), scored_pairs([0, 0], model="untrained")])
    refused(
        "scored pairs: 1 of 3 pair_id lack a row for some model (p00002); trained has 3, untrained has 2; "
        "score them all on the same rows",
        rows,
    )


def test_a_row_that_moves_between_groups():
    rows = pl.concat([scored_pairs([1, 2], ["a", "b"]), scored_pairs([1, 2], ["a", "c"], model="untrained")])
    refused(
        "scored pairs: 1 pair_id differ in group_id between models (p00001); "
        "group_id belongs to the row, not to the model",
        rows,
    )


def test_a_label_that_differs_between_models():
    rows = pl.concat([scored_unpaired([1], [0]), scored_unpaired([], [1, 0], model="untrained")])
    refused(
        "scored unpaired: 1 response_id differ in label between models (r00000); "
        "label belongs to the row, not to the model",
        None,
        rows,
    )


def test_a_null_reference():
    rows = two_models(reference_chosen_logps=pl.lit(None, pl.Float64))
    message = (
        "scored pairs: 3 of 6 rows have no reference_chosen_logps, which the implicit reward needs "
        "(model trained; pair_id p00000, p00001, p00002); score the reference, or read the rows with reward "
        "sum_logps or mean_logps"
    )
    refused(message, rows)
    assert not evaluate(rows, None, EvaluationSettings(reward="sum_logps")).is_empty()


def test_a_reference_that_is_nan_is_refused_whatever_the_reward():
    message = (
        "scored unpaired: 2 of 2 rows have a reference_logps that is NaN or infinite "
        "(model trained; response_id r00000, r00001)"
    )
    refused(message, None, scored_unpaired([1], [0]).with_columns(reference_logps=nan), reward="sum_logps")


@pytest.mark.parametrize("column", ["pair_id", "group_id"])
def test_a_key_that_is_null(column):
    rows = scored_pairs([1]).with_columns(pl.lit(None, pl.String).alias(column))
    named = "None" if column == "pair_id" else "p00000"
    refused(f"scored pairs: 1 of 1 rows have no {column} (model trained; pair_id {named})", rows)


@pytest.mark.parametrize("count", [0, -3, None])
def test_a_token_count_below_one(count):
    rows = scored_pairs([1]).with_columns(chosen_token_count=pl.lit(count, pl.Int64))
    refused(
        "scored pairs: 1 of 1 rows have a chosen_token_count that is null, NaN, infinite or below 1 (model trained; "
        "pair_id p00000)",
        rows,
    )


def test_a_probability_outside_its_range():
    rows = scored_pairs([1]).with_columns(chosen_better_probability=1.5)
    refused(
        "scored pairs: 1 of 1 rows have a chosen_better_probability outside 0 to 1 (model trained; pair_id p00000)",
        rows,
    )


def test_a_loss_that_is_infinite():
    rows = scored_pairs([1]).with_columns(loss=inf)
    refused("scored pairs: 1 of 1 rows have a loss that is NaN or infinite (model trained; pair_id p00000)", rows)


def test_a_column_that_is_missing():
    rows = scored_pairs([1]).select("pair_id", "model", "policy_chosen_logps", "policy_rejected_logps")
    refused(
        "scored pairs: column group_id, chosen_token_count, rejected_token_count missing; "
        "there are pair_id, model, policy_chosen_logps, policy_rejected_logps",
        rows,
        reward="sum_logps",
    )


def test_a_slice_column_that_no_table_has():
    rows = scored_pairs([1]).select("pair_id", "model")
    with pytest.raises(EvaluationError) as caught:
        evaluate(rows, scored_unpaired([1], [0]).select("label"), EvaluationSettings(slice_columns=("topic", "label")))
    assert str(caught.value) == "no scored table has the slice column topic; there are pair_id, model, label"


def test_log_probs_that_are_text():
    rows = scored_pairs([1]).with_columns(pl.col("policy_chosen_logps").cast(pl.String))
    refused("scored pairs: policy_chosen_logps (String) must hold numbers; cast or parse them first", rows)


def test_numbers_that_arrays_cannot_hold():
    rows = scored_pairs([1]).with_columns(pl.col("chosen_token_count").cast(pl.Int128))
    refused("scored pairs: chosen_token_count (Int128) must hold numbers; cast or parse them first", rows)


def test_log_probs_that_no_text_has():
    rows = scored_pairs([1, 2]).with_columns(policy_rejected_logps=-1e16)
    message = (
        "scored pairs: 2 of 2 rows have a policy_rejected_logps beyond 1e+15 (model trained; pair_id p00000, p00001); "
        "look at its unit (nats, summed)"
    )
    refused(message, rows)


def test_rewards_that_overflow():
    rows = scored_pairs([1, 2]).with_columns(policy_chosen_logps=-1.0, policy_rejected_logps=-1e10)
    message = (
        "model trained: 2 of 2 margins are too large to be a number at beta 1e+300; look at the log-probs' unit "
        "(nats, summed) and at beta"
    )
    refused(message, rows, beta=1e300)


def test_a_label_of_nought_and_one_is_refused_because_it_would_be_read_as_places():
    rows = scored_unpaired([1], [0]).with_columns(pl.col("label").cast(pl.Int64))
    refused("scored unpaired: label is of type Int64, must be Boolean (true for desirable); cast it", None, rows)


def test_a_label_that_is_null():
    rows = scored_unpaired([1], [0]).with_columns(label=pl.lit(None, pl.Boolean))
    refused(
        "scored unpaired: 2 of 2 rows have no label (model trained; response_id r00000, r00001)",
        None,
        rows,
    )


def test_an_unknown_evaluator_names_the_nearest():
    with pytest.raises(EvaluationError) as caught:
        evaluate(scored_pairs([1]), None, PLAIN, ["pair_acuracy"])
    assert str(caught.value) == (
        "unknown evaluator 'pair_acuracy'. Did you mean 'pair_accuracy'? Known: calibration, comparison, divergence, "
        "length_bias, logged_evaluation, pair_accuracy, pair_divergence, pair_loss, reward_margin, unpaired_auc, "
        "unpaired_comparison, unpaired_loss."
    )
    with pytest.raises(EvaluationError, match="unknown evaluator 'xyz'. Known: calibration"):
        evaluate(scored_pairs([1]), None, PLAIN, ["xyz"])


@pytest.mark.parametrize(
    ("name", "value", "want"),
    [
        ("beta", 0, "above 0 and finite"),
        ("beta", nan, "above 0 and finite"),
        ("reward", "logps", "implicit, mean_implicit, sum_logps, mean_logps"),
        ("tie_tolerance", -1, "at least 0 and finite"),
        ("bootstrap_draws", 99, "at least 100"),
        ("confidence", 1.0, "between 0 and 1"),
        ("power", 0.0, "between 0 and 1"),
        ("seed", -1, "at least 0"),
        ("quantiles", (0.5, 1.0), "each between 0 and 1"),
        ("calibration_bins", 0, "at least 1"),
        ("small_slice_groups", 1, "at least 2"),
        ("most_slices", 3, "at least 4"),
    ],
)
def test_a_setting_out_of_range(name, value, want):
    with pytest.raises(EvaluationError) as caught:
        EvaluationSettings(**{name: value})
    assert str(caught.value) == f"evaluation settings: {name} is {value!r}, must be {want}"
