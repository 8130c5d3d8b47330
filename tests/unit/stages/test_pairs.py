import itertools

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

from pipeline.config import PairsConfig, ResponsesConfig
from pipeline.stages import pairs, responses
from pipeline.tables import validate
from tests.conftest import event, events_table


def votes(prompt, completion, ups, downs, **other):
    return [
        event(prompt, completion, vote, user=f"{vote}{number}", **other)
        for vote, count in (("up", ups), ("down", downs))
        for number in range(count)
    ]


def made(rows, **config):
    prior = ResponsesConfig()
    first = responses.transform(events_table(rows).lazy(), prior)
    result = pairs.transform(first.responses, first.comparisons, PairsConfig(**config), prior)
    return validate("pairs", result.pairs.collect()), validate("pair_yield", result.pair_yield.collect())


def texts(table):
    return {(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in table.iter_rows(named=True)}


def outcomes(pair_yield):
    return {name: count for name, count, _ in pair_yield.iter_rows() if count}


def test_best_worst_takes_the_ends():
    rows = votes("p", "good", 3, 0) + votes("p", "fair", 1, 0) + votes("p", "bad", 0, 2)
    table, pair_yield = made(rows)
    assert texts(table) == {("good", "bad")}
    assert table["margin"][0] == pytest.approx(4 / 5 - 1 / 4)
    assert outcomes(pair_yield) == {"paired": 1}


def test_all_above_margin_takes_the_largest_first():
    rows = votes("p", "good", 3, 0) + votes("p", "fair", 1, 0) + votes("p", "bad", 0, 2)
    assert texts(made(rows, strategy="all_above_margin")[0]) == {("good", "bad"), ("fair", "bad")}
    assert texts(made(rows, strategy="all_above_margin", max_per_prompt=1)[0]) == {("good", "bad")}
    assert texts(made(rows, strategy="all_above_margin", min_margin=0.5)[0]) == {("good", "bad")}
    assert len(made(rows, strategy="all_above_margin", opposite_labels=False)[0]) == 3


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        (votes("p", "a", 1, 0), "one_response"),
        ([*votes("p", "a", 1, 0), event("p", "b", "unrated")], "fewer_than_two_votes"),
        (votes("p", "a", 1, 0) + votes("p", "b", 2, 0), "one_label_only"),
    ],
)
def test_a_prompt_without_a_pair_says_why(rows, outcome):
    table, pair_yield = made(rows)
    assert table.is_empty()
    assert outcomes(pair_yield) == {outcome: 1}
    assert pair_yield.filter(pl.col("outcome") == outcome)["advice"][0]


def test_below_margin_and_different_models_are_told_apart():
    rows = votes("p", "a", 1, 0) + votes("p", "b", 0, 1)
    assert outcomes(made(rows, min_margin=0.9)[1]) == {"below_margin": 1}
    mixed = votes("p", "a", 1, 0, model="m1") + votes("p", "b", 0, 1, model="m2")
    assert outcomes(made(mixed, same_model=True)[1]) == {"different_models": 1}
    assert outcomes(made(mixed)[1]) == {"paired": 1}


def test_comparisons_become_pairs_and_can_be_left_out():
    rows = [event("p", "a", "chosen", comparison_id="1"), event("p", "b", "rejected", comparison_id="1")]
    table, _ = made(rows)
    assert texts(table) == {("a", "b")}
    assert table["chosen_better_probability"][0] == pytest.approx(2 / 3)
    assert made(rows, comparisons=False)[0].is_empty()


def test_probability_that_chosen_is_better_agrees_with_adaptive_quadrature():
    counts = [0, 1, 3, 30, 1000]
    shapes = np.array([[a + 1, b + 1, c + 1, d + 1] for a, b, c, d in itertools.product(counts, repeat=4)], float)
    shapes = np.random.default_rng(0).permutation(shapes)[:60]
    for shape, found in zip(shapes, pairs.beta_greater(*shapes.T), strict=True):
        x, y = stats.beta(*shape[:2]), stats.beta(*shape[2:])
        exact, _ = integrate.quad(lambda u, x=x, y=y: y.cdf(x.ppf(u)), 0, 1, limit=500)
        assert found == pytest.approx(exact, abs=1e-4)
