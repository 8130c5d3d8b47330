"""Metrics of sampled answers, worked by hand."""

from math import log, sqrt

import numpy as np
import polars as pl
import pytest
from scipy import special

from tests.answer_rows import answer_metrics, answer_tables, with_pairs
from tests.evaluator_rows import metric
from thumbline.evaluators import EvaluationError, EvaluationSettings, evaluate_answers
from thumbline.evaluators.groups import numbered
from thumbline.evaluators.length_control import length_controlled
from thumbline.evaluators.paired_tests import sign_flip, sign_flip_exact
from thumbline.evaluators.text_measures import is_empty, is_refusal, repetition

SETTINGS = EvaluationSettings()


def test_each_answer_is_compared_with_each_of_the_baselines():
    tables = answer_tables({"trained": [[3, 1], [1, None]], "untrained": [[2, 1], [1, 0]]})
    found = answer_metrics(tables)
    # First prompt: 3 beats 2 and 1, 1 loses to 2 and ties 1: 2 wins, 1 tie, 1 loss of 4. Second: 1 ties 1 and beats 0.
    shares = {name: metric(found, name)["value"] for name in ("wins", "ties", "losses", "win_rate")}
    assert shares == {"wins": 0.5, "ties": 0.375, "losses": 0.125, "win_rate": 0.6875}
    row = metric(found, "win_rate")
    assert (row["n"], row["n_groups"], row["judge"], row["compared_with"]) == (3, 2, "judge", "untrained")
    # Above one half by prompt: 1/8 and 1/4, both for the model: 2 of 4 choices of signs are as far.
    tested = metric(found, "win_rate_p")
    assert (tested["value"], tested["reason"]) == (0.5, "2 prompt groups better, 0 worse, 0 the same")
    assert (tested["n"], tested["n_groups"]) == (3, 2)


def test_scores_count_each_prompt_once():
    tables = answer_tables({"trained": [[3, 1], [1, None], [5, 7]], "untrained": [[2, 1], [1, 0], [None, None]]})
    found = answer_metrics(tables)
    assert metric(found, "mean_score")["value"] == 3.0  # (2 + 1 + 6) / 3
    assert metric(found, "mean_score")["n"] == 5
    assert metric(found, "mean_score", "untrained")["value"] == 1.0  # (1.5 + 0.5) / 2
    difference = metric(found, "score_difference")
    assert (difference["value"], difference["n"], difference["n_groups"]) == (0.5, 3, 2)  # (2 - 1.5 + 1 - 0.5) / 2
    assert difference["unit"] == "score"
    unjudged = metric(found, "unjudged", "untrained")
    assert (unjudged["value"], unjudged["reason"]) == (pytest.approx(1 / 3), "2 no opinion")


def test_scores_between_nought_and_one_are_shares():
    row = metric(
        answer_metrics(answer_tables({"trained": [[1], [1], [1]], "untrained": [[0], [1], [0]]})), "mean_score"
    )
    assert (row["value"], row["unit"]) == (1.0, "share")
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(0.292402, abs=1e-6), 1.0)  # 0.025 ** (1/3)


def test_equal_answers_tie_whatever_a_judges_rounding():
    texts = [["yes", "no"], ["so", "so"]]
    scores = {"trained": [[0.5 + 1e-9, 0.25], [1.0, 1.0]], "untrained": [[0.5, 0.25 - 1e-9], [1.0 + 1e-12, 1.0]]}
    found = answer_metrics(answer_tables(scores, {"trained": texts, "untrained": texts}))
    assert metric(found, "ties")["value"] == 0.75  # 2 of 4, and 4 of 4
    assert metric(found, "win_rate")["value"] == 0.5
    assert metric(found, "score_difference")["value"] == 0.0


def test_a_pair_is_judged_where_both_orders_are():
    tables = answer_tables({"trained": [[0, 0], [0, 0]], "untrained": [[0, 0], [0, 0]]})
    verdicts = [
        *[(0, 0, True, 1.0), (0, 0, False, 1.0)],  # wins in both orders
        *[(0, 1, True, 1.0), (0, 1, False, 0.0)],  # whoever is shown first: a tie
        *[(1, 0, True, 0.5), (1, 0, False, 0.0)],  # a tie and a loss: a quarter
        *[(1, 1, True, None), (1, 1, False, 1.0)],  # one order has no verdict
    ]
    found = answer_metrics(with_pairs(tables, verdicts))
    shares = {name: metric(found, name)["value"] for name in ("win_rate", "wins", "ties", "losses")}
    # The first prompt has 1 and 1/2, the second 1/4.
    assert shares == {"win_rate": 0.5, "wins": 0.25, "ties": 0.25, "losses": 0.5}
    # The first shown wins: 1/2 and 1 of the first prompt's pairs, (1/2 + 1) / 2 of the second's; less one half.
    assert metric(found, "position_bias")["value"] == pytest.approx(0.25)
    assert metric(found, "self_agreement")["value"] == 0.25  # one of two, none of one
    refused = metric(found, "refused")
    assert (refused["value"], refused["reason"]) == (0.25, "verdicts missing: 1 unreadable")


def test_slices_of_prompts_are_evaluated_apart():
    tables = answer_tables({"trained": [[1], [1], [0]], "untrained": [[0], [0], [1]]})
    tables = tables._replace(prompts=tables.prompts.with_columns(turns=pl.Series([1, 2, 2])))
    found = answer_metrics(tables, slice_columns=("turns", "votes"))
    for name, values in {"win_rate": (1.0, 0.5), "mean_score": (1.0, 0.5), "score_difference": (1.0, 0.0)}.items():
        rows = [metric(found, name, part=f"turns={turns}") for turns in (1, 2)]
        assert tuple(row["value"] for row in rows) == values
        assert "small slice: fewer than 30 prompt groups" in rows[1]["reason"]
    assert set(found["slice"].drop_nulls()) == {"turns=1", "turns=2"}


def test_several_models_are_tested_together():
    better = [[1]] * 6
    scores = {"trained": better, "other": better, "untrained": [[0]] * 6}
    found = answer_metrics(answer_tables(scores))
    for model in ("trained", "other"):
        row = metric(found, "win_rate_p", model)
        assert row["value"] == pytest.approx(2 * 2**-5)  # six groups that agree, by Holm's method
        assert row["reason"].endswith("corrected for 2 comparisons")


def test_equal_answers_say_nothing_of_a_judge_of_pairs():
    texts = {"trained": [["same", "one"]], "untrained": [["same", "two"]]}
    tables = answer_tables({"trained": [[0, 0]], "untrained": [[0, 0]]}, texts)
    ties = [(0, 0, True, 0.5), (0, 0, False, 0.5)]
    found = answer_metrics(with_pairs(tables, [*ties, (0, 1, True, 1.0), (0, 1, False, 0.0)]))
    assert (metric(found, "win_rate")["value"], metric(found, "win_rate")["n"]) == (0.5, 2)
    assert (metric(found, "self_agreement")["value"], metric(found, "self_agreement")["n"]) == (0.0, 1)
    assert metric(found, "position_bias")["value"] == 0.5


def test_text_measures_by_hand():
    texts = ["a b c d a b c d", "", "  \n", "I\u2019m sorry, but no.", "I can't say", "I cant say", "As an AI model"]
    series = pl.Series(texts)
    # Runs: abcd bcda cdab dabc abcd: one of five was there.
    assert repetition(series).to_list() == [pytest.approx(0.2), 0, 0, 0, 0, 0, 0]
    assert is_empty(series).to_list() == [False, True, True, False, False, False, False]
    assert is_refusal(series).to_list() == [False, False, False, True, True, False, True]


def test_repetition_needs_no_spaces_between_words():
    han = "\u4eca\u5929\u5929\u6c14" * 2
    assert repetition(pl.Series([han]))[0] == pytest.approx(0.2)  # eight characters, five runs, one again
    assert repetition(pl.Series(["H" + "i" * 79]))[0] > 0.5  # one endless word
    assert repetition(pl.Series(["Ab ab AB ab ab"]))[0] == 0.5  # two runs, alike but for case


def test_nats_are_of_all_tokens_and_texts_are_compared_by_prompt():
    tables = answer_tables({"trained": [[0, 0]], "untrained": [[0, 0]]})
    numbers = {"token_count": [10, 30, 10, 0], "reference_logps": [-30.0, -50.0, -25.0, None]}
    policy = [-20.0, -40.0, -25.0, None]
    tables = tables._replace(
        generations=tables.generations.with_columns(
            **{name: pl.Series(values) for name, values in numbers.items()}, policy_logps=pl.Series(policy)
        )
    )
    found = answer_metrics(tables)
    assert metric(found, "reference_nats_per_token")["value"] == 2.0  # (30 + 50) / (10 + 30)
    assert metric(found, "own_nats_per_token")["value"] == 1.5
    assert metric(found, "kl_per_token")["value"] == 0.5
    assert metric(found, "reference_nats_per_token", "untrained")["value"] == 2.5
    assert metric(found, "reference_nats_per_token", "untrained")["n"] == 1
    assert metric(found, "reference_nats_per_token_ratio")["value"] == 0.8
    assert metric(found, "reference_nats_per_token_difference")["value"] == -0.5
    assert metric(found, "tokens")["value"] == 20.0
    assert metric(found, "tokens_ratio")["value"] == 4.0


def test_an_equal_length_win_rate_is_that_of_the_constant():
    preferences = np.array([1.0, 1.0, 1.0, 0.0])
    groups = numbered(np.arange(4), 4, 0)
    found = length_controlled(preferences, np.zeros(4), np.ones(4), groups, SETTINGS)
    assert found.value == pytest.approx(0.75)
    # Influence of a row on the log odds: (y - 3/4) / (4 * 3/16); its sums of squares times 4/3.
    error = sqrt(4 / 3 * (3 * (1 / 4) ** 2 + (3 / 4) ** 2)) / (4 * 3 / 16)
    low = special.expit(log(3) - 3.182446 * error)
    assert found.ci_low == pytest.approx(low, abs=1e-6)
    assert found.standard_error == pytest.approx(error * 3 / 16)


def test_length_alone_wins_nothing():
    # Longer answers win 3 of 4, shorter ones 1 of 4, and the model's are the longer in three quarters of the pairs.
    differences = np.repeat([10.0, -10.0], [12, 4])
    preferences = np.concatenate([np.tile([1.0, 1.0, 1.0, 0.0], 3), [1.0, 0.0, 0.0, 0.0]])
    found = length_controlled(preferences, differences, np.ones(16), numbered(np.arange(16), 16, 0), SETTINGS)
    assert preferences.mean() == 0.625
    assert found.value == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("preferences", "differences", "reason"),
    [
        ([1.0, 1.0], [3.0, -1.0], "wins every comparison"),
        ([1.0, 1.0, 0.0, 0.0], [5.0, 5.0, -5.0, -5.0], "length tells all winners"),
        ([], [], "no judged pair"),
    ],
)
def test_a_length_controlled_rate_that_nothing_determines_is_refused(preferences, differences, reason):
    count = len(preferences)
    groups = numbered(np.arange(count), count, 0)
    found = length_controlled(np.array(preferences), np.array(differences), np.ones(count), groups, SETTINGS)
    assert found.value is None
    assert reason in found.reason


def test_a_test_of_fractions_is_exact():
    changes = np.array([0.25, -0.125, 0.5, 0.0625, 0.0])
    assert sign_flip(changes) == pytest.approx(sign_flip_exact(8 * changes))
    # By hand: sums of +-4 +-2 +-8 +-1 (sixteenths) at least 11 in size: 15, 13, 11 and their mirrors, of 16.
    assert sign_flip(changes) == pytest.approx(6 / 16)


def test_a_test_of_any_numbers_is_as_exact_as_their_grid():
    generator = np.random.default_rng(3)
    changes = generator.normal(0.3, 1.0, 12)
    signs = 1 - 2 * ((np.arange(4096)[:, None] >> np.arange(12)) & 1)
    exact = float(np.mean(np.abs(signs @ changes) >= abs(changes.sum()) - 1e-12))
    assert exact <= sign_flip(changes) <= exact + 0.005
    many = generator.normal(0.1, 1.0, 400)
    flips = generator.choice([-1, 1], size=(20_000, 400)) @ many
    assert sign_flip(many) == pytest.approx(np.mean(np.abs(flips) >= abs(many.sum())), abs=0.01)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t._replace(prompts=t.prompts.drop("group_id")), "prompts: column group_id missing"),
        (lambda t: t._replace(generations=pl.concat([t.generations, t.generations])), "repeat a generation_id"),
        (lambda t: t._replace(prompts=t.prompts.head(1)), "1 prompt_id are in no other table"),
        (
            lambda t: t._replace(judgements=t.judgements.with_columns(score=pl.lit(float("nan")))),
            "4 of 4 rows have a score that is NaN or infinite",
        ),
        (
            lambda t: t._replace(judgements=t.judgements.with_columns(generation_id=pl.lit("x") + pl.col("judge"))),
            "repeat a judge, generation_id",
        ),
        (
            lambda t: t._replace(judgements=t.judgements.head(1).with_columns(generation_id=pl.lit("x"))),
            "judgements: 1 generation_id are in no other table (x)",
        ),
    ],
)
def test_tables_that_do_not_fit_are_refused(change, message):
    tables = answer_tables({"trained": [[1], [0]], "untrained": [[1], [0]]})
    with pytest.raises(EvaluationError) as refused:
        evaluate_answers(change(tables), SETTINGS)
    assert message in str(refused.value)


def test_no_answers_make_no_metrics():
    tables = answer_tables({"trained": [[1]], "untrained": [[0]]})
    empty = tables._replace(**{name: table.clear() for name, table in tables._asdict().items()})
    assert answer_metrics(empty).is_empty()


def test_no_answer_of_the_baseline_leaves_out_comparisons():
    found = answer_metrics(answer_tables({"trained": [[1], [0]]}))
    assert found["compared_with"].null_count() == found.height
    assert metric(found, "mean_score")["value"] == 0.5
