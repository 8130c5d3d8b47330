"""Laws that hold for any scored rows."""

from math import isfinite

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.evaluator_rows import metric, metrics_of, scored_pairs, scored_unpaired
from tests.laws import examples
from thumbline.evaluators import EvaluationSettings, evaluate

SETTINGS = EvaluationSettings(beta=1.0, bootstrap_draws=100, slice_columns=("topic",))
PLAIN = EvaluationSettings(beta=1.0, bootstrap_draws=100)
rewards = st.floats(-50, 50) | st.integers(-3, 3).map(float)
lengths = st.integers(1, 40)
groups = st.sampled_from(["a", "b", "c", "d"])
quick = settings(examples(60), suppress_health_check=[HealthCheck.too_slow])


@st.composite
def pair_tables(draw: st.DrawFn, models: tuple[str, ...] = ("trained", "untrained")) -> pl.DataFrame:
    """The same pairs under each model, any log-probs, few groups and two topics."""
    count = draw(st.integers(1, 12))
    of_groups = draw(st.lists(groups, min_size=count, max_size=count))
    sizes = draw(st.lists(st.tuples(lengths, lengths), min_size=count, max_size=count))
    parts = []
    for model in models:
        numbers = draw(st.lists(st.tuples(rewards, rewards), min_size=count, max_size=count))
        parts.append(
            scored_pairs([0.0] * count, of_groups, model=model, lengths=sizes).with_columns(
                policy_chosen_logps=pl.Series([chosen for chosen, _ in numbers], dtype=pl.Float64),
                policy_rejected_logps=pl.Series([rejected for _, rejected in numbers], dtype=pl.Float64),
                topic=pl.Series(["code" if place % 3 else "talk" for place in range(count)]),
            )
        )
    return pl.concat(parts)


@st.composite
def unpaired_tables(draw: st.DrawFn, models: tuple[str, ...] = ("trained", "untrained")) -> pl.DataFrame:
    """The same rows of both labels under each model."""
    ups, downs = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    of_groups = draw(st.lists(groups, min_size=ups + downs, max_size=ups + downs))
    parts = []
    for model in models:
        numbers = draw(st.lists(rewards, min_size=ups + downs, max_size=ups + downs))
        parts.append(scored_unpaired(numbers[:ups], numbers[ups:], of_groups, model=model))
    return pl.concat(parts)


def swapped(rows: pl.DataFrame) -> pl.DataFrame:
    """Chosen called rejected and rejected called chosen."""
    names = [name for name in rows.columns if "chosen" in name or "rejected" in name]
    other = {
        name: name.replace("chosen", "rejected") if "chosen" in name else name.replace("rejected", "chosen")
        for name in names
    }
    return rows.rename(other)


@quick
@given(pair_tables(models=("trained",)))
def test_swapping_chosen_and_rejected_turns_accuracy_and_margin_round(rows):
    forward, backward = (evaluate(table, None, PLAIN) for table in (rows, swapped(rows)))
    accuracy, turned = metric(forward, "accuracy"), metric(backward, "accuracy")
    assert turned["value"] == pytest.approx(1 - accuracy["value"], abs=1e-9)
    assert metric(forward, "n_ties")["value"] == metric(backward, "n_ties")["value"]
    if accuracy["ci_low"] is not None:
        assert turned["ci_low"] == pytest.approx(1 - accuracy["ci_high"], abs=1e-9)
        assert turned["ci_high"] == pytest.approx(1 - accuracy["ci_low"], abs=1e-9)
    for name in ("mean", "median"):
        assert metric(backward, name)["value"] == pytest.approx(-metric(forward, name)["value"], abs=1e-9)


@quick
@given(pair_tables(), unpaired_tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_models_changes_nothing_to_the_last_bit(pairs, unpaired, random):
    before = evaluate(pairs, unpaired.with_columns(topic=pl.lit("code")), SETTINGS)
    mixed = []
    for table in (pairs, unpaired.with_columns(topic=pl.lit("code"))):
        order = list(range(table.height))
        random.shuffle(order)
        mixed.append(table[order])
    assert_frame_equal(evaluate(*mixed, SETTINGS), before, check_exact=True)


@quick
@given(pair_tables(), unpaired_tables())
def test_models_in_the_other_order_change_nothing_to_the_last_bit(pairs, unpaired):
    before = evaluate(pairs, unpaired, PLAIN)
    turned = (table.sort("model", descending=True, maintain_order=True) for table in (pairs, unpaired))
    assert_frame_equal(evaluate(*turned, PLAIN), before, check_exact=True)


@quick
@given(unpaired_tables(models=("trained",)))
def test_auc_of_negated_rewards_is_one_less_auc(rows):
    # The reward is policy less reference: exchanging the two negates it exactly.
    negated = rows.rename({"policy_logps": "reference_logps", "reference_logps": "policy_logps"})
    forward, backward = (metric(metrics_of("unpaired_auc", unpaired=table), "auc") for table in (rows, negated))
    assert backward["value"] == pytest.approx(1 - forward["value"], abs=1e-12)
    if forward["ci_low"] is not None:
        assert backward["ci_low"] == pytest.approx(1 - forward["ci_high"], abs=1e-9)


def check_rows_of(found: pl.DataFrame) -> None:
    for row in found.iter_rows(named=True):
        assert row["value"] is not None or row["reason"]
        assert row["value"] is None or isfinite(row["value"])
        assert (row["ci_low"] is None) == (row["ci_high"] is None)
        if row["unit"] == "share" and row["value"] is not None and row["metric"] != "minimum_detectable_effect":
            assert -1 <= row["value"] <= 1
        if row["metric"].endswith("_p"):
            assert row["value"] is None or 0 < row["value"] <= 1
        if row["ci_low"] is not None:
            assert row["ci_low"] <= row["ci_high"]
            assert row["n_groups"] >= 2
        if row["standard_error"] is not None:
            assert row["standard_error"] >= 0
            assert row["ci_low"] is not None


@quick
@given(pair_tables())
def test_every_interval_of_pairs_is_in_order_and_every_none_has_a_reason(rows):
    check_rows_of(evaluate(rows, None, SETTINGS))


@quick
@given(unpaired_tables())
def test_every_interval_of_unpaired_rows_is_in_order_and_every_none_has_a_reason(rows):
    check_rows_of(evaluate(None, rows.with_columns(topic=pl.col("label")), SETTINGS))


@quick
@given(unpaired_tables())
def test_the_difference_of_auc_is_that_of_the_two_values(rows):
    found = evaluate(None, rows, PLAIN)
    gap = metric(found, "auc_difference")["value"]
    assert gap == pytest.approx(metric(found, "auc")["value"] - metric(found, "auc", "untrained")["value"], abs=1e-12)


@quick
@given(pair_tables(models=("trained",)))
def test_slices_add_up_to_the_whole(rows):
    found = metrics_of("pair_accuracy", rows.with_columns(topic=pl.col("chosen_token_count")), settings=SETTINGS)
    whole = metric(found, "accuracy")
    parts = found.filter((pl.col("metric") == "accuracy") & pl.col("slice").is_not_null())
    assert parts["n"].sum() == whole["n"]
    assert (parts["n"] * parts["value"]).sum() == pytest.approx(whole["n"] * whole["value"])


@quick
@given(pair_tables())
def test_a_model_against_itself_differs_in_nothing(rows):
    trained = rows.filter(pl.col("model") == "trained")
    both = pl.concat([trained, trained.with_columns(model=pl.lit("untrained"))])
    found = metrics_of("comparison", both)
    assert metric(found, "accuracy_difference")["value"] == 0.0
    assert metric(found, "margin_difference")["value"] == 0.0
    assert metric(found, "mcnemar_p")["value"] == 1.0
    assert metric(found, "minimum_detectable_effect")["value"] is None
