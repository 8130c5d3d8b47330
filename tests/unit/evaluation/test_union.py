"""Several subjects as one: the same rows or a refusal, names that stay apart, rewards that differ."""

import dataclasses

import polars as pl
import pytest

from tests.unit.evaluation.rows import IMPLICIT, margins, run_like, scored, subject
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.evaluation.compare import compare
from thumbline.pipeline.evaluation.outcome import Choices, evaluate_subject
from thumbline.pipeline.evaluation.union import REWARD_EVALUATORS, Reward, check_same_rows, shared_rows, unite


def united(*subjects, rewards=None):
    named = {one.name: one for one in subjects}
    return unite(named, rewards or dict.fromkeys(named, IMPLICIT))


def accuracies(one, names=None):
    metrics = evaluate_subject(one, Choices(draws=200), names).metrics
    rows = metrics.filter((pl.col("metric") == "accuracy") & pl.col("slice").is_null())
    return dict(rows.select("model", "value").iter_rows())


def test_trained_models_take_their_runs_names_and_equal_untrained_ones_are_one():
    found = united(run_like(15, 5, name="a"), run_like(10, 10, name="b"))
    assert not found.as_rewards
    assert accuracies(found.subject) == {"untrained": 0.5, "a": 0.75, "b": 0.5}
    assert (found.subject.baseline, found.subject.focus) == ("a", "b")


def test_untrained_models_that_differ_stay_apart():
    other = subject(scored("untrained", margins(4, 16)), scored("trained", margins(10, 10)), name="b")
    assert accuracies(united(run_like(15, 5, name="a"), other).subject) == {
        "a: untrained": 0.5,
        "a": 0.75,
        "b: untrained": 0.2,
        "b": 0.5,
    }


def test_models_of_one_name_are_told_apart_by_their_subjects():
    first, second = (subject(scored("m", margins(n, 20 - n)), name=f"s{n}", baseline=None) for n in (12, 8))
    assert accuracies(united(first, second).subject) == {"s12: m": 0.6, "s8: m": 0.4}


def test_other_rows_are_refused_with_counts_and_what_to_do():
    subjects = {"a": run_like(15, 5, name="a"), "b": run_like(12, 4, name="b")}
    with pytest.raises(InputError, match="same pairs: 16 in both, 4 only in a, 0 only in b .* run both with the same"):
        check_same_rows(subjects)


def test_on_shared_rows_what_only_some_have_is_left_out_and_counted():
    subjects = {"a": run_like(15, 5, name="a"), "b": run_like(12, 4, name="b")}
    kept, said = shared_rows(subjects)
    assert said == ["On the 16 pairs that all have; left out: 4 of a."]
    check_same_rows(kept)
    assert kept["a"].pairs["pair_id"].n_unique() == 16 and kept["b"].pairs.equals(subjects["b"].pairs)
    assert shared_rows(kept) == (kept, [])


def test_a_kind_that_only_one_has_is_refused():
    unpaired = pl.DataFrame({"response_id": ["r"], "model": ["trained"]})
    a = dataclasses.replace(run_like(15, 5, name="a"), unpaired=unpaired)
    with pytest.raises(InputError, match="same unpaired rows: 0 in both, 1 only in a, 0 only in b"):
        check_same_rows({"a": a, "b": run_like(15, 5, name="b")})
    empty = dataclasses.replace(run_like(15, 5, name="b"), unpaired=unpaired.clear())
    check_same_rows({"b": empty, "c": run_like(15, 5, name="c")})


def test_each_run_keeps_its_own_reward_where_they_differ():
    # Without a reference the 3 nats that chosen lost against its reference do not count: 20 of 20 right, else none.
    lost = subject(scored("trained", [1.0] * 20, reference=4.0), name="simpo", baseline=None)
    rewards = {"simpo": Reward("mean_logps", 2.0), "dpo": Reward("implicit", 0.1)}
    same = dataclasses.replace(lost, name="dpo")
    found = united(lost, same, rewards=rewards)
    assert found.as_rewards and "compare accuracies and AUCs" in found.subject.notes[0]
    assert accuracies(found.subject, REWARD_EVALUATORS) == {"simpo": 1.0, "dpo": 0.0}
    margin = evaluate_subject(found.subject, Choices(draws=200), ["reward_margin"]).metrics
    means = dict(margin.filter(pl.col("metric") == "mean").select("model", "value").iter_rows())
    # 1 nat over 5 tokens at beta 2; 1 - 4 nats at beta 0.1.
    assert means == pytest.approx({"simpo": 0.4, "dpo": -0.3})


@pytest.fixture
def files(tmp_path):
    def make(**frames):
        for name, frame in frames.items():
            frame.write_parquet(tmp_path / f"{name}.parquet")
        return [str(tmp_path / f"{name}.parquet") for name in frames]

    return make


def test_files_of_one_model_each_are_compared_by_their_names(files):
    places = files(**{name: scored("x", margins(n, 20 - n)).drop("model") for name, n in (("a", 12), ("b", 16))})
    metrics = compare(places, Choices(draws=200), ()).metrics
    gap = metrics.filter(pl.col("metric") == "accuracy_difference").row(0, named=True)
    assert (gap["model"], gap["compared_with"]) == ("b", "a")
    assert gap["value"] == pytest.approx(0.2)


def test_files_of_other_rows_are_compared_on_those_that_both_have_where_that_is_asked_for(files):
    places = files(**{name: scored("x", margins(n, 4)).drop("model") for name, n in (("a", 12), ("b", 16))})
    with pytest.raises(InputError, match="--shared-rows"):
        compare(places, Choices(draws=200), ())
    done = compare(places, Choices(draws=200), (), shared=True)
    assert done.metrics.filter(pl.col("metric") == "accuracy")["n"].to_list() == [16, 16]
    assert "left out: 4 of b" in done.subject.notes[0]


def test_the_baseline_can_be_chosen(files):
    places = files(**{name: scored(name, margins(n, 20 - n)) for name, n in (("a", 12), ("b", 16), ("c", 4))})
    metrics = compare(places, Choices(draws=200, baseline="c"), ()).metrics
    found = metrics.filter(pl.col("metric") == "accuracy_difference")
    assert {("a", "c"), ("b", "c")} <= set(found.select("model", "compared_with").iter_rows())
    assert "c" not in found["model"]
    with pytest.raises(ConfigError, match="--baseline: unknown model 'd'"):
        compare(places, Choices(draws=200, baseline="d"), ())


def test_one_place_or_one_place_twice_is_nothing_to_compare(files):
    (place,) = files(a=scored("a", margins(3, 1)))
    with pytest.raises(ConfigError, match="two or more"):
        compare([place], Choices(), ())
    with pytest.raises(ConfigError, match="is given twice"):
        compare([place, place], Choices(), ())


def test_what_is_no_run_and_no_scored_rows_is_refused(files, tmp_path):
    (place,) = files(pairs=pl.DataFrame({"prompt": ["q"], "chosen": ["a"], "rejected": ["b"]}))
    with pytest.raises(InputError, match="no scored rows .* need --model"):
        compare([place, place + "x"], Choices(), ())
    with pytest.raises(InputError, match="neither the folder of a run"):
        compare([str(tmp_path), place], Choices(), ())


def with_losses(one, loss):
    return dataclasses.replace(one, pairs=one.pairs.with_columns(loss=pl.lit(loss)))


def test_one_untrained_model_stands_there_once_whatever_the_methods_losses_on_it():
    found = united(with_losses(run_like(15, 5, name="dpo"), 0.69), with_losses(run_like(10, 10, name="ipo"), 25.0))
    assert set(accuracies(found.subject)) == {"untrained", "dpo", "ipo"}
    # Neither loss is the untrained model's own.
    untrained = found.subject.pairs.filter(pl.col("model") == "untrained")
    assert untrained["loss"].null_count() == untrained.height


def test_one_untrained_model_is_measured_by_the_reward_that_tells_its_answers_apart():
    # The same log-probs in both: right on 12 of 20 by their own sum, and a tie on all as the reference.
    untrained = scored("untrained", margins(12, 8))
    untrained = untrained.with_columns(reference_chosen_logps="policy_chosen_logps")
    runs = [
        subject(untrained, scored("trained", margins(n, 20 - n)), name=name) for n, name in ((15, "dpo"), (9, "simpo"))
    ]
    rewards = {"dpo": Reward("implicit", 0.1), "simpo": Reward("sum_logps", 1.0)}
    found = united(*runs, rewards=rewards)
    assert accuracies(found.subject, REWARD_EVALUATORS) == {"untrained": 0.6, "dpo": 0.75, "simpo": 0.45}
    assert found.subject.notes[1] == (
        "The untrained model is measured by the reward of simpo: by that of dpo it is the reference, and ties on every "
        "row."
    )
