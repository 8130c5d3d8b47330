"""Rater reliability against a slow oracle, and what it makes of raters whose manner is known."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbline.pipeline.config import ResponsesConfig
from thumbline.pipeline.evidence import raters as raters_module
from thumbline.pipeline.evidence.raters import RaterVotes, dawid_skene
from thumbline.pipeline.tables import VOTE, validate


def clipped(value):
    return min(max(value, 1e-6), 1 - 1e-6)


def slow_rates(votes, chance, raters, prior):
    """P(up) of each rater: dictionaries and loops, one vote at a time."""
    total = sum(chance[response] for response, _, _ in votes)
    pooled = sum(chance[response] for response, _, up in votes if up) / max(total, 1e-6)
    found = {}
    for rater in raters:
        mine = [(chance[response], up) for response, judge, up in votes if judge == rater]
        ups = sum(weight for weight, up in mine if up)
        found[rater] = clipped((ups + prior * pooled) / (sum(weight for weight, _ in mine) + prior))
    return found


def slow_dawid_skene(votes, prior, rounds):
    responses = sorted({response for response, _, _ in votes})
    raters = sorted({rater for _, rater, _ in votes})
    good = {}
    for response in responses:
        given_votes = [up for mine, _, up in votes if mine == response]
        good[response] = (sum(given_votes) + 1) / (len(given_votes) + 2)
    for _ in range(rounds):
        if_good = slow_rates(votes, good, raters, prior)
        if_bad = slow_rates(votes, {key: 1 - value for key, value in good.items()}, raters, prior)
        share = clipped(sum(good.values()) / len(good))
        moved = {}
        for response in responses:
            odds = math.log(share / (1 - share))
            for _, rater, up in [vote for vote in votes if vote[0] == response]:
                a, b = if_good[rater], if_bad[rater]
                odds += math.log(a / b) if up else math.log((1 - a) / (1 - b))
            moved[response] = 1 / (1 + math.exp(-odds))
        step = max(abs(moved[key] - good[key]) for key in responses)
        good = moved
        if step <= 1e-6:
            break
    return if_good, if_bad, good


VOTES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), min_size=1, max_size=25, unique_by=lambda v: v[:2]
)


@given(VOTES, st.sampled_from([0.5, 4.0]))
def test_confusions_are_those_of_a_slow_oracle(votes, prior):
    dense = [sorted({vote[place] for vote in votes}) for place in (0, 1)]
    votes = [(dense[0].index(response), dense[1].index(rater), up) for response, rater, up in votes]
    response, rater, up = (np.array(column) for column in zip(*votes, strict=True))
    found = dawid_skene(response, rater, up.astype(bool), prior)
    if_good, if_bad, good = slow_dawid_skene(votes, prior, 200)
    assert found.up_if_good == pytest.approx(list(if_good.values()), abs=1e-6)
    assert found.up_if_bad == pytest.approx(list(if_bad.values()), abs=1e-6)
    assert found.good == pytest.approx(list(good.values()), abs=1e-6)


def crowd(manners, responses=400, seed=0):
    """Last votes of raters with known P(up | good) and P(up | bad) on answers half of which are good."""
    draw = np.random.default_rng(seed)
    good = draw.random(responses) < 0.5
    rows = []
    for user, (if_good, if_bad) in manners.items():
        for place in range(responses):
            up = draw.random() < (if_good if good[place] else if_bad)
            rows.append((f"r{place:03d}", user, "up" if up else "down", int(up), int(not up)))
    schema = {"response_id": pl.String, "user_id": pl.String, "vote": VOTE, "ever_up": pl.Int64, "ever_down": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


MANNERS = {
    "careful": (0.95, 0.05),
    "steady": (0.9, 0.15),
    "hasty": (0.8, 0.3),
    "always": (1, 1),
    "contrary": (0.1, 0.9),
}


def rater_table(votes, config):
    raters = RaterVotes(config)
    raters.add(votes)
    return raters.table()


def weights(votes, **config):
    table = validate("raters", rater_table(votes, ResponsesConfig(**config)))
    return dict(table.select("user_id", "weight").iter_rows())


def test_known_manners_are_found_again():
    table = rater_table(crowd(MANNERS), ResponsesConfig(reliability="dawid_skene"))
    for user, if_good, if_bad in table.select("user_id", "up_if_good", "up_if_bad").iter_rows():
        # 200 answers a class: two standard errors of a rate are 0.07 at most.
        assert (if_good, if_bad) == pytest.approx(MANNERS[user], abs=0.08)
    found = weights(crowd(MANNERS), reliability="dawid_skene")
    assert found["always"] == pytest.approx(0.0, abs=0.01)
    assert found["contrary"] == 0.0
    assert found["careful"] > found["steady"] > found["hasty"] > 0.3


def test_the_order_of_the_votes_changes_no_bit():
    votes = crowd(MANNERS, responses=60)
    config = ResponsesConfig(reliability="dawid_skene")
    assert rater_table(votes, config).equals(rater_table(votes.sample(fraction=1, shuffle=True, seed=1), config))


@pytest.mark.parametrize("held_rows", [0, 3, 1000])
@pytest.mark.parametrize("reliability", ["none", "dawid_skene"])
def test_votes_in_parts_are_added_up_whenever_that_is(held_rows, reliability, monkeypatch):
    monkeypatch.setattr(raters_module, "_HELD_ROWS", held_rows)
    votes = crowd(MANNERS, responses=30)
    config = ResponsesConfig(reliability=reliability)
    raters = RaterVotes(config)
    for part in votes.iter_slices(7):
        raters.add(part)
    assert raters.table().equals(rater_table(votes, config))


def test_a_few_votes_say_little_of_a_rater():
    votes = pl.concat([crowd(MANNERS), crowd({"new": (0.0, 1.0)}, responses=1)])
    assert weights(votes, reliability="dawid_skene", reliability_prior=8.0)["new"] > 0.2
    assert weights(votes, reliability="dawid_skene", reliability_prior=0.1)["new"] < 0.2


def test_raters_of_one_label_are_weighed_down():
    votes = crowd({"careful": (0.9, 0.1), "always": (1, 1)}, responses=20)
    assert weights(votes, reliability="one_label") == {"always": 0.0, "careful": 1.0}
    assert weights(votes, reliability="one_label", one_label_weight=0.25)["always"] == 0.25
    assert weights(votes, reliability="one_label", one_label_votes=21)["always"] == 1.0
    assert set(weights(votes).values()) == {1.0}


def test_nobody_is_judged_without_a_vote():
    empty = crowd({"careful": (0.9, 0.1)}, responses=2).clear()
    assert rater_table(empty, ResponsesConfig(reliability="dawid_skene")).is_empty()
    retracted = crowd({"careful": (0.9, 0.1)}, responses=2).with_columns(vote=pl.lit("retracted", VOTE))
    assert weights(retracted, reliability="dawid_skene") == {"careful": 1.0}
