"""Slices: by any column of either table, in bounded number, with intervals, small ones marked."""

import polars as pl
import pytest

from tests.evaluator_rows import metric, metrics_of, scored_pairs, scored_unpaired
from thumbline.evaluators import EvaluationSettings, evaluate


def sliced(*columns: str, **more: int) -> EvaluationSettings:
    return EvaluationSettings(beta=1.0, slice_columns=columns, **more)


def parts(frame: pl.DataFrame, name: str) -> dict[str, int]:
    """Rows of each slice of a metric."""
    found = frame.filter((pl.col("metric") == name) & pl.col("slice").is_not_null())
    return dict(found.select("slice", "n").iter_rows())


def test_the_margin_of_each_slice():
    rows = scored_pairs([1, -1, 0, 0, 4, 2, 3, 3]).with_columns(topic=pl.Series(["code"] * 4 + ["talk"] * 4))
    found = metrics_of("reward_margin", rows, settings=sliced("topic", small_slice_groups=2))
    code, talk = (metric(found, "mean", part=f"topic={name}") for name in ("code", "talk"))
    assert (code["value"], talk["value"], code["n"], code["n_groups"]) == (0.0, 3.0, 4, 4)
    # 4 and 2 less 3: squares 1 + 1, times 4/3: 8/3; root 1.632993; over 4 rows
    assert talk["standard_error"] == pytest.approx(0.408248, abs=1e-6)
    assert talk["ci_low"] < 3.0 < talk["ci_high"]
    assert talk["reason"] is None


def test_auc_and_separation_of_each_slice_are_those_of_its_rows_alone():
    rows = scored_unpaired([3, 1, 2, 0], [0, 2, 1, -1, -2]).with_columns(
        source=pl.Series(["web", "web", "app", "app", "web", "web", "app", "app", "app"])
    )
    found = metrics_of("unpaired_auc", unpaired=rows, settings=sliced("source", small_slice_groups=2))
    for name in ("web", "app"):
        alone = metrics_of("unpaired_auc", unpaired=rows.filter(pl.col("source") == name))
        for number in ("auc", "reward_separation"):
            row, expected = metric(found, number, part=f"source={name}"), metric(alone, number)
            assert row["value"] == pytest.approx(expected["value"])
            assert (row["n"], row["n_groups"]) == (expected["n"], expected["n_groups"])
        row, expected = metric(found, "auc", part=f"source={name}"), metric(alone, "auc")
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((expected["ci_low"], expected["ci_high"]))
    # web: 3 beats 0 and 2, 1 beats 0: 3 of 4
    assert metric(found, "auc", part="source=web")["value"] == 0.75


def test_a_slice_of_one_class_has_no_auc():
    rows = scored_unpaired([3, 1], [0, 2]).with_columns(source=pl.Series(["web", "web", "web", "app"]))
    row = metric(metrics_of("unpaired_auc", unpaired=rows, settings=sliced("source")), "auc", part="source=app")
    assert (row["value"], row["n"], row["reason"]) == (None, 1, "all rows have one label: two classes are needed")


def test_a_small_slice_is_marked_beside_any_other_reason():
    rows = scored_pairs([1, 2, 3]).with_columns(topic=pl.Series(["code", "code", "talk"]))
    found = metrics_of("reward_margin", rows, settings=sliced("topic"))
    small = "small slice: fewer than 30 prompt groups"
    assert metric(found, "mean", part="topic=code")["reason"] == small
    assert metric(found, "mean", part="topic=talk")["reason"] == f"{small}; one prompt group: no interval can be given"
    unpaired = scored_unpaired([3, 1, 2], [0, 2, 1]).with_columns(topic=pl.lit("code"))
    found = metrics_of("unpaired_auc", unpaired=unpaired, settings=sliced("topic"))
    assert metric(found, "auc", part="topic=code")["reason"] == small


def test_each_table_is_sliced_by_the_columns_that_it_has():
    pairs = scored_pairs([1, -1]).with_columns(topic=pl.lit("code"))
    unpaired = scored_unpaired([1], [0]).with_columns(source=pl.lit("web"))
    found = evaluate(pairs, unpaired, sliced("topic", "source"))
    assert parts(found, "accuracy") == {"topic=code": 2}
    assert parts(found, "auc") == {"source=web": 2}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, False, True, None], {"part=false": 1, "part=true": 2, "part=None": 1}),
        ([1, 2, 2, None], {"part=1": 1, "part=2": 2, "part=None": 1}),
        ([0.5, 0.5, 1.5, 1.5], {"part=0.5": 2, "part=1.5": 2}),
        ([["a"], ["a"], ["b"], None], {'part={"value":["a"]}': 2, 'part={"value":["b"]}': 1, 'part={"value":null}': 1}),
    ],
)
def test_values_of_any_type(values, expected):
    rows = scored_pairs([1, -1, 1, 1]).with_columns(part=pl.Series(values))
    assert parts(metrics_of("pair_accuracy", rows, settings=sliced("part")), "accuracy") == expected


def test_many_numbers_are_cut_into_four_ranges():
    rows = scored_pairs([1.0] * 25).with_columns(votes=pl.Series([None, *range(1, 25)]))
    found = parts(metrics_of("pair_accuracy", rows, settings=sliced("votes")), "accuracy")
    # The quartiles of 1 to 24 are at places 5.75, 11.5 and 17.25 from 0, of which the nearest whole ones are taken.
    assert found == {
        "votes=1: 1 to 7": 7,
        "votes=2: 8 to 13": 6,
        "votes=3: 14 to 18": 5,
        "votes=4: 19 to 24": 6,
        "votes=None": 1,
    }
    few = metrics_of("pair_accuracy", rows, settings=sliced("votes", most_slices=25))
    assert len(parts(few, "accuracy")) == 25


def test_the_rarest_texts_are_one_slice():
    names = ["a"] * 5 + ["b"] * 4 + ["c"] * 3 + list("defgh")
    rows = scored_pairs([1.0] * len(names)).with_columns(user=pl.Series(names))
    found = parts(metrics_of("pair_accuracy", rows, settings=sliced("user", most_slices=4)), "accuracy")
    assert found == {"user=a": 5, "user=b": 4, "user=c": 3, "user=(other)": 5}
