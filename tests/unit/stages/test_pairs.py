import itertools

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

from tests.conftest import event, events_table
from thumbline.pipeline.config import PairsConfig, ResponsesConfig
from thumbline.pipeline.evidence.posterior import beta_greater
from thumbline.pipeline.stages import pairs, responses
from thumbline.pipeline.tables import COMPARISON_KIND, validate


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
    made = validate("pairs", result.pairs.collect()), validate("pair_yield", result.pair_yield.collect())
    validate("pair_drops", result.pair_drops.collect())
    return made


def dropped(rows, **config):
    prior = ResponsesConfig()
    first = responses.transform(events_table(rows).lazy(), prior)
    result = pairs.transform(first.responses, first.comparisons, PairsConfig(**config), prior)
    return validate("pair_drops", result.pair_drops.collect())["reason"].to_list()


def test_what_votes_say_of_two_answers_that_were_compared_is_dropped_with_how_alike_they_are():
    rows = votes("p", "first", 3, 0) + votes("p", "worst", 0, 2) + compared("p", "first", "worst", "c")
    prior = ResponsesConfig()
    first = responses.transform(events_table(rows).lazy(), prior)
    drops = pairs.transform(first.responses, first.comparisons, PairsConfig(), prior).pair_drops.collect()
    # `rst` is in both: 4 of 10 characters are not.
    assert drops.select("reason", "similarity").rows() == [("other_source", pytest.approx(0.6))]


def compared(prompt, chosen, rejected, name, kind=None, votes=("chosen", "rejected"), models=("m", "m")):
    return [
        event(prompt, text, vote, user=None, comparison_id=name, comparison_kind=kind, model=model)
        for text, vote, model in zip((chosen, rejected), votes, models, strict=True)
    ]


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
    # One win under a uniform prior: P(share of wins > 1/2) under Beta(2, 1) is 1 - (1/2)^2.
    assert table["chosen_better_probability"][0] == pytest.approx(3 / 4)
    assert made(rows, comparisons=False)[0].is_empty()


def test_probability_that_chosen_is_better_agrees_with_adaptive_quadrature():
    counts = [0, 1, 3, 30, 1000]
    shapes = np.array([[a + 1, b + 1, c + 1, d + 1] for a, b, c, d in itertools.product(counts, repeat=4)], float)
    shapes = np.random.default_rng(0).permutation(shapes)[:60]
    for shape, found in zip(shapes, beta_greater(*shapes.T), strict=True):
        x, y = stats.beta(*shape[:2]), stats.beta(*shape[2:])
        exact, _ = integrate.quad(lambda u, x=x, y=y: y.cdf(x.ppf(u)), 0, 1, limit=500)
        assert found == pytest.approx(exact, abs=1e-4)


def test_votes_can_be_left_out():
    rows = votes("p", "a", 1, 0) + votes("p", "b", 0, 1)
    assert texts(made(rows)[0]) == {("a", "b")}
    assert made(rows, votes=False)[0].is_empty()
    assert made(rows, votes=False, comparisons=False)[0].is_empty()


@pytest.mark.parametrize("kind", ["preference", "arena", "ranking", "edit", "regenerate"])
def test_each_kind_of_comparison_can_be_chosen(kind):
    rows = [row for each in COMPARISON_KIND.categories for row in compared(f"of {each}", "a", "b", each, each)]
    table, _ = made(rows, comparison_kinds=[kind])
    assert table["pair_source"].to_list() == [kind]
    assert table["prompt"][0][0]["content"] == f"of {kind}"


def test_ties_are_half_a_win_of_each_side_and_the_prior_counts():
    rows = [row for name in "abc" for row in compared("p", "x", "y", name)]
    rows += compared("p", "x", "y", "d", votes=("tied", "tied")) + compared("p", "y", "x", "e")
    table, _ = made(rows)
    assert table["margin"][0] == pytest.approx((3 - 1) / 5)
    assert table["chosen_better_probability"][0] == pytest.approx(stats.beta(3.5 + 1, 1.5 + 1).sf(0.5))
    wide = made(rows, comparison_prior=5.0)[0]["chosen_better_probability"][0]
    assert wide == pytest.approx(stats.beta(8.5, 6.5).sf(0.5))


@pytest.mark.parametrize(("vote", "reason"), [("tied", "tied"), ("both_bad", "both_bad")])
def test_draws_are_counted_and_make_no_pair(vote, reason):
    rows = compared("p", "x", "y", "1", "arena", votes=(vote, vote))
    table, pair_yield = made(rows)
    assert table.is_empty()
    assert dropped(rows) == [reason]
    assert outcomes(pair_yield) == {"tied": 1}


def test_as_many_wins_as_losses_are_a_draw():
    rows = compared("p", "x", "y", "1") + compared("p", "y", "x", "2")
    assert made(rows)[0].is_empty()
    assert dropped(rows) == ["tied"]


def test_texts_that_are_nearly_the_same_make_no_pair():
    long = "Plant beans in May, they like warm soil and a wall to climb on"
    rows = votes("p", long, 2, 0) + votes("p", f"{long}.", 0, 2)
    assert dropped(rows) == ["identical_text"]
    rows = votes("p", long, 2, 0) + votes("p", f"{long} up", 0, 2)
    assert dropped(rows) == ["near_identical"]
    assert outcomes(made(rows)[1]) == {"near_identical": 1}
    assert texts(made(rows, max_similarity=1.0)[0]) == {(long, f"{long} up")}
    # 1 - 3 insertions / (62 + 65 characters) is 0.976.
    assert made(rows, max_similarity=0.97)[0].is_empty()
    assert made(rows, max_similarity=0.98)[0].height == 1


LOOP = "def total(prices):\n    result = 0\n    for price in prices:\n        result += price\n    return result"
# Returns within the loop: one price.
EARLY = LOOP.replace("    return", "        return")


@pytest.mark.parametrize(
    "other", [EARLY, LOOP.replace("    ", "\t"), LOOP.replace("\n", "\n\n"), LOOP.replace(" = ", "  = ")]
)
def test_answers_that_differ_in_white_space_alone_make_a_pair(other):
    rows = votes("p", LOOP, 3, 0) + votes("p", other, 0, 1)
    assert texts(made(rows, max_similarity=0.5)[0]) == {(LOOP, other)}
    for kind in ("preference", "edit"):
        assert texts(made(compared("p", LOOP, other, "1", kind))[0]) == {(LOOP, other)}


def test_case_and_punctuation_make_no_pair_unless_lines_begin_otherwise():
    assert dropped(votes("p", LOOP, 2, 0) + votes("p", LOOP.replace("+=", "-="), 0, 2)) == ["identical_text"]
    assert dropped(votes("p", LOOP, 2, 0) + votes("p", EARLY.replace("+=", "-="), 0, 2)) == ["near_identical"]
    assert made(votes("p", LOOP, 2, 0) + votes("p", EARLY.replace("+=", "-="), 0, 2), max_similarity=1.0)[0].height == 1


def test_white_space_counts_among_the_edits():
    # 1 - 9 insertions / (9 + 18 characters), and one letter each: far below 0.95.
    assert made(votes("p", "a\nb\nc\nd\nx", 2, 0) + votes("p", "a\n  b\n  c\n  d\n   y", 0, 2))[0].height == 1
    rows = votes("p", f"{LOOP} # x", 2, 0) + votes("p", f"{LOOP} # y", 0, 2)
    assert dropped(rows) == ["near_identical"]


def test_the_next_pair_takes_the_place_of_one_with_alike_texts():
    long = "Plant beans in May, they like warm soil and a wall to climb on"
    rows = votes("p", long, 4, 0) + votes("p", f"{long} up", 0, 4) + votes("p", "Sow peas early.", 2, 0)
    table, _ = made(rows, strategy="all_above_margin", max_per_prompt=1)
    assert texts(table) == {("Sow peas early.", f"{long} up")}


def test_an_edit_may_be_near_its_original():
    long = "Plant beans in May, they like warm soil and a wall to climb on"
    assert made(compared("p", f"{long} up", long, "1", "edit"))[0].height == 1
    assert made(compared("p", f"{long} up", long, "1", "arena"))[0].is_empty()
    assert dropped(compared("p", f"{long}!", long, "1", "edit")) == ["identical_text"]


def test_only_pairs_of_the_model_asked_for():
    rows = votes("p", "a", 1, 0, model="m1") + votes("p", "b", 0, 1, model="m2") + votes("p", "c", 0, 1, model="m1")
    assert texts(made(rows, model="m1")[0]) == {("a", "c")}
    assert outcomes(made(rows, model="m2")[1]) == {"different_models": 1}
    arena = compared("p", "x", "y", "1", "arena", models=("m1", "m2"))
    assert made(arena)[0].height == 1
    for setting in ({"model": "m1"}, {"same_model": True}):
        assert dropped(arena, **setting) == ["other_model"]
    edit = compared("p", "x", "y", "1", "edit", models=(None, "m1"))
    assert made(edit, model="m1", same_model=True)[0].height == 1
    assert dropped(edit, model="m2") == ["other_model"]


def test_a_text_that_two_models_gave_is_of_both():
    rows = [
        *votes("p", "a", 1, 0, model="m1"),
        event("p", "a", "unrated", model="m2"),
        *votes("p", "b", 0, 1, model="m2"),
    ]
    assert texts(made(rows, model="m2")[0]) == {("a", "b")}


def test_a_comparison_is_kept_before_votes_that_say_the_opposite():
    rows = votes("p", "a", 1, 0) + votes("p", "b", 0, 1) + compared("p", "b", "a", "1")
    table, _ = made(rows)
    assert texts(table) == {("b", "a")}
    assert table["pair_source"].to_list() == ["preference"]
    assert dropped(rows) == ["other_source"]


def test_prompts_can_be_grouped():
    rows = votes("What is a fox?", "a", 1, 0) + votes("what is a  fox", "b", 0, 1)
    assert outcomes(made(rows)[1]) == {"one_response": 2}
    table, pair_yield = made(rows, group_prompts="normalised")
    assert texts(table) == {("a", "b")}
    assert table["prompt"][0][0]["content"] == "What is a fox?"
    assert outcomes(pair_yield) == {"paired": 1}


def test_near_duplicate_prompts_can_be_grouped():
    pytest.importorskip("rensa")
    question = "Which vegetables should I plant in May if my garden is small and rather shady in the afternoon"
    rows = votes(f"{question}?", "a", 1, 0) + votes(f"{question}s?", "b", 0, 1) + votes("What is a fox?", "c", 0, 1)
    assert made(rows, group_prompts="normalised")[0].is_empty()
    assert texts(made(rows, group_prompts="near_duplicate")[0]) == {("a", "b")}
    assert made(rows, group_prompts="near_duplicate", group_similarity=0.999)[0].is_empty()


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [
        (votes("p", "a", 1, 1) + votes("p", "b", 2, 2), "tied"),
        (votes("p", "a", 1, 1) + votes("p", "b", 2, 0), "low_confidence"),
    ],
)
def test_even_votes_and_doubtful_labels_are_told_apart(rows, outcome):
    assert outcomes(made(rows)[1]) == {outcome: 1}


def test_thousands_of_answers_to_one_prompt_stay_cheap():
    rows = [row for number in range(600) for row in votes("p", f"answer {number:03d} " + "x" * number, number % 2, 1)]
    table, _ = made(rows, strategy="all_above_margin", opposite_labels=False, max_per_prompt=3)
    assert table.height == 3


def test_pairs_weigh_what_is_asked_for():
    rows = votes("p", "good", 3, 0) + votes("p", "bad", 0, 2)
    plain, _ = made(rows)
    assert "weight" not in plain.columns
    margin, _ = made(rows, weights="margin")
    assert margin["weight"].to_list() == margin["margin"].to_list() == pytest.approx([4 / 5 - 1 / 4])
    sure, _ = made(rows, weights="confidence")
    assert sure["weight"].to_list() == pytest.approx([2 * plain["chosen_better_probability"][0] - 1])
    assert margin.drop("weight").equals(plain) and sure.drop("weight").equals(plain)


def test_a_chosen_side_that_is_rather_the_worse_one_weighs_nothing():
    probability = pl.LazyFrame({"chosen_better_probability": [0.3, 0.5, 0.75], "margin": [0.1, 0.1, 0.1]})
    weights = probability.select(**pairs._weight(PairsConfig(weights="confidence"))).collect()["weight"]
    assert weights.to_list() == [0.0, 0.0, 0.5]
