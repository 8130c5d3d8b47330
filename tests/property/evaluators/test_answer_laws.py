"""Laws of the metrics of sampled answers, tried by hypothesis."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.answer_rows import answer_metrics, answer_tables, with_pairs
from tests.evaluator_rows import metric
from tests.laws import examples
from thumbline.evaluators import AnswerTables
from thumbline.evaluators.paired_tests import sign_flip

DRAWS = 100
SCORES = st.one_of(
    st.none(), st.integers(0, 3).map(float), st.floats(-2, 2, allow_nan=False).map(lambda x: round(x, 6))
)
PROMPTS = st.lists(st.lists(SCORES, min_size=1, max_size=4), min_size=2, max_size=6)


@st.composite
def two_models(draw):
    prompts = draw(PROMPTS)
    others = [draw(st.lists(SCORES, min_size=1, max_size=4)) for _ in prompts]
    groups = [f"g{draw(st.integers(0, 3))}" for _ in prompts]
    return {"trained": prompts, "untrained": others}, groups


def value(frame: pl.DataFrame, name: str, model: str = "trained") -> float | None:
    return metric(frame, name, model)["value"]


@examples(30)
@given(two_models())
def test_a_win_rate_is_that_of_all_pairs_of_a_prompt(models):
    scores, groups = models
    found = answer_metrics(answer_tables(scores, groups=groups), bootstrap_draws=DRAWS)
    shares = []
    for ours, theirs in zip(scores["trained"], scores["untrained"], strict=True):
        pairs = [(a, b) for a in ours for b in theirs if a is not None and b is not None]
        if pairs:
            shares.append(np.mean([0.5 if a == b else float(a > b) for a, b in pairs]))
    expected = np.mean(shares) if shares else None
    assert value(found, "win_rate") == (None if expected is None else pytest.approx(expected, abs=1e-12))


@examples(30)
@given(two_models())
def test_the_other_models_win_rate_is_one_less_this_ones(models):
    scores, groups = models
    turned = {"trained": scores["untrained"], "untrained": scores["trained"]}
    one, two = (answer_metrics(answer_tables(of, groups=groups), bootstrap_draws=DRAWS) for of in (scores, turned))
    if value(one, "win_rate") is None:
        assert value(two, "win_rate") is None
        return
    assert value(one, "win_rate") == pytest.approx(1 - value(two, "win_rate"), abs=1e-12)
    assert value(one, "wins") == pytest.approx(value(two, "losses"), abs=1e-12)
    assert value(one, "score_difference") == pytest.approx(-value(two, "score_difference"), abs=1e-12)
    assert value(one, "win_rate_p") == pytest.approx(value(two, "win_rate_p"), abs=1e-9)
    assert value(one, "tokens_ratio") == pytest.approx(1 / value(two, "tokens_ratio"), rel=1e-12)


@examples(20)
@given(two_models(), st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_digit(models, random):
    scores, groups = models
    tables = answer_tables(scores, groups=groups)
    mixed = AnswerTables(*(table.sample(fraction=1.0, shuffle=True, seed=random.randrange(99)) for table in tables))
    assert answer_metrics(tables, bootstrap_draws=DRAWS).equals(answer_metrics(mixed, bootstrap_draws=DRAWS))


@examples(20)
@given(st.lists(st.floats(-3, 3, allow_nan=False), min_size=2, max_size=6))
def test_equal_answers_tie_everywhere(scores):
    texts = [[f"answer {place}"] for place in range(len(scores))]
    # A judge whose arithmetic differs by rounding from batch to batch.
    given_scores = {"trained": [[x + 1e-12] for x in scores], "untrained": [[x] for x in scores]}
    tables = answer_tables(given_scores, {"trained": texts, "untrained": texts})
    found = answer_metrics(tables, bootstrap_draws=DRAWS)
    assert value(found, "ties") == 1.0
    assert value(found, "win_rate_p") == 1.0
    assert value(found, "score_difference") == 0.0


@examples(20)
@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=5, unique_by=lambda x: x[0]
    )
)
def test_a_judge_that_always_names_the_first_shown_finds_no_difference(verdicts):
    tables = answer_tables({"trained": [[0]] * 5, "untrained": [[0]] * 5})
    pairs = [(prompt, 0, first, 1.0 if first else 0.0) for prompt, _ in verdicts for first in (True, False)]
    found = answer_metrics(with_pairs(tables, pairs), bootstrap_draws=DRAWS)
    assert (value(found, "win_rate"), value(found, "ties"), value(found, "position_bias")) == (0.5, 1.0, 0.5)
    assert value(found, "self_agreement") == 0.0


@examples(50)
@given(st.lists(st.floats(-5, 5, allow_nan=False), min_size=1, max_size=12))
def test_a_test_by_signs_claims_no_more_than_all_choices_of_signs_do(changes):
    values = np.array(changes)
    signs = 1 - 2 * ((np.arange(2 ** len(values))[:, None] >> np.arange(len(values))) & 1)
    largest = np.abs(signs @ values)
    exact = float(np.mean(largest >= abs(values.sum()) * (1 - 1e-9)))
    found = sign_flip(values)
    assert found >= exact - 1e-9
    assert found == pytest.approx(sign_flip(-values))


def test_a_model_that_repeats_itself_is_seen_to_whatever_its_scores():
    good = [[f"The {place}th answer says one thing after another, and then it ends."] for place in range(30)]
    loops = [["Great answer! " * 20] for _ in range(30)]
    tables = answer_tables({"trained": [[2.0]] * 30, "untrained": [[1.0]] * 30}, {"trained": loops, "untrained": good})
    found = answer_metrics(tables, bootstrap_draws=DRAWS)
    assert value(found, "win_rate") == 1.0
    repeated = metric(found, "repetition_difference")
    assert repeated["value"] > 0.9
    assert value(found, "repetition", "untrained") == 0.0


def test_a_model_that_a_judge_likes_less_is_worse():
    generator = np.random.default_rng(8)
    scores = generator.normal(size=(60, 2, 3))
    tables = answer_tables({"trained": (scores[:, 0] - 0.8).tolist(), "untrained": scores[:, 1].tolist()})
    found = answer_metrics(tables, bootstrap_draws=DRAWS)
    assert metric(found, "win_rate")["ci_high"] < 0.5
    assert metric(found, "score_difference")["ci_high"] < 0
    assert value(found, "win_rate_p") < 0.001
    assert metric(found, "length_controlled_win_rate")["ci_high"] < 0.5
