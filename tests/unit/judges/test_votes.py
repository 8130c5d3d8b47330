"""Votes of the log on the very same answer."""

import polars as pl
import pytest

from tests.conftest import event, events_table
from tests.unit.judges.answers import answer
from thumbline.pipeline.judges import Surroundings
from thumbline.pipeline.judges.votes import VotesOptions, open_votes


def judge(prior_votes=2.0):
    table = events_table([event("p", "seen  \n", "up"), event("p", "unvoted", "unrated"), event("q", "bad", "down")])
    counts = {"seen  \n": (3, 1), "unvoted": (0, 0), "bad": (0, 4)}
    votes = table.select(
        "response_id",
        n_up=pl.col("completion").replace_strict({text: up for text, (up, _) in counts.items()}),
        n_down=pl.col("completion").replace_strict({text: down for text, (_, down) in counts.items()}),
    )
    return open_votes(VotesOptions(prior_votes=prior_votes), Surroundings("votes", votes=lambda: votes))


def test_the_share_of_thumbs_up_is_drawn_towards_the_logs_rate():
    made = judge().judge([answer("p", "seen"), answer("q", "bad")], lambda _: None)
    # The log's rate is 3/8: (3 + 2 * 3/8) / (4 + 2) and (0 + 2 * 3/8) / (4 + 2).
    assert [one.score for one in made] == [pytest.approx(3.75 / 6), pytest.approx(0.75 / 6)]
    assert [one.score for one in judge(0.0).judge([answer("p", "seen")], lambda _: None)] == [0.75]


def test_another_prompt_or_text_was_not_seen():
    found = judge()
    made = found.judge([answer("q", "seen"), answer("p", "Seen"), answer("p", "unvoted")], lambda _: None)
    assert [one.reason for one in made] == ["not_seen_before", "not_seen_before", "seen_without_votes"]
    assert found.facts()["said"] == [
        "votes: 0 of 3 answers stand in the log with votes, word for word; nothing is said of the others."
    ]
