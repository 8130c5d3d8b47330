"""The launch plan: figures by hand, what each number changes, what is refused and what is said."""

import json
import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from typer.testing import CliRunner

import thumbline
from thumbline.pipeline.cli.main import app
from thumbline.pipeline.errors import ConfigError, InputError
from thumbline.pipeline.evidence.launch import launch_plan
from thumbline.pipeline.evidence.launch_basis import Stated

START = datetime(2026, 1, 1, tzinfo=UTC)


def raters(users=100, votes=2, up=None):
    """`users` with `votes` each; of four users, three vote up alone and one down alone unless `up` says how often."""
    ups = [(votes if place % 4 else 0) if up is None else up for place in range(users)]
    names = [f"u{place}" for place in range(users)]
    kinds = {"user_id": pl.String, "n_votes": pl.Int64, "n_up": pl.Int64}
    return pl.DataFrame({"user_id": names, "n_votes": [votes] * users, "n_up": ups}, schema=kinds)


def responses(table, *, days=10.0, unrated=0, nameless=0, compared=0):
    """One answer with all votes, others without one, of which some were compared."""
    up, given = int(table["n_up"].sum()), int(table["n_votes"].sum())
    end = None if days is None else START + timedelta(days=days)
    rows = [(up + nameless, given - up, 0, 0, 0, 0, None if days is None else START, end)]
    rows += [(0, 0, 0, 0, 0, 0, None, None)] * unrated + [(0, 0, 0, 1, 0, 0, None, None)] * compared
    counts = ("n_up", "n_down", "n_retracted", "n_compared", "n_tied", "n_both_bad")
    schema = dict.fromkeys(counts, pl.Int64) | dict.fromkeys(
        ("oldest_event_at", "newest_event_at"), pl.Datetime("us", "UTC")
    )
    return pl.DataFrame(rows, schema=schema, orient="row")


def plan(table=None, stated=None, answers=None, **options):
    table = raters() if table is None else table
    return launch_plan(table, responses(table) if answers is None else answers, stated or Stated(), **options)


def test_users_and_days_by_hand():
    # Users who always vote alike: correlation 1, so that two votes of one are worth one, times 100 / 99 for the sample.
    found = plan(difference=0.1, powers=[0.8])
    assert found.basis.base_rate == 0.75 and found.basis.votes_per_user == 2.0 and found.basis.icc == 1.0
    assert found.basis.design_effect == pytest.approx(2 * 100 / 99)
    votes = (1.959964 + 0.841621) ** 2 * (0.75 * 0.25 + 0.85 * 0.15) / 0.1**2
    assert found.needs[0].users_per_arm == math.ceil(votes * 2 * 100 / 99 / 2)
    assert found.needs[0].users == 2 * found.needs[0].users_per_arm
    # 100 users in 10 days.
    assert found.basis.users_per_day == 10.0
    assert found.needs[0].days == found.needs[0].users / 10.0
    assert any("longer than the log" in text for text in found.assumed)


def test_a_predicted_difference_is_planned_with_smaller_ones_to_its_side():
    assert [need.difference for need in plan(difference=0.04, powers=[0.8]).needs] == [0.04, 0.03, 0.02, 0.01]
    assert [need.difference for need in plan(difference=-0.025, powers=[0.8]).needs] == [-0.025, -0.02, -0.01]
    assert [need.difference for need in plan(powers=[0.8]).needs] == [0.1, 0.05, 0.03, 0.02, 0.01]


def test_a_share_of_the_traffic_takes_longer():
    assert plan(traffic=0.25).needs[0].days == 4 * plan().needs[0].days


def test_answers_shown_follow_from_those_that_were_rated():
    table = raters()
    # One rated answer and three without a vote; those that were only compared could not be rated.
    found = plan(table, answers=responses(table, unrated=3, compared=5))
    assert found.basis.rating_rate == 0.25
    assert found.needs[0].answers == 4 * found.needs[0].votes
    alone = plan(table)
    assert alone.needs[0].answers is None
    assert any("rated answers alone" in text for text in alone.assumed)


@pytest.mark.parametrize(
    "number", [{"base_rate": 0.5}, {"votes_per_user": 3.0}, {"variation": 1.0}, {"icc": 0.5}]
)  # fmt: skip
def test_stated_numbers_change_the_users_and_are_said(number):
    found = plan(stated=Stated(**number))
    assert found.needs[0].users != plan().needs[0].users
    assert any(f"{next(iter(number))} {next(iter(number.values())):g}" in text for text in found.assumed)


def test_stated_pace_and_rating_rate_change_days_and_answers():
    assert plan(stated=Stated(users_per_day=1.0)).needs[0].days == plan().needs[0].users
    assert plan(stated=Stated(rating_rate=0.5)).needs[0].answers == 2 * plan().needs[0].votes


def test_a_log_without_times_has_no_days_and_says_so():
    table = raters()
    for days, why in ((None, "hold no time"), (0.5, "span less than a day")):
        found = plan(table, answers=responses(table, days=days))
        assert found.needs[0].days is None
        assert any(why in text for text in found.assumed)


def test_votes_without_a_user_are_counted():
    table = raters()
    assert "7 of 207 votes have no user id" in plan(table, answers=responses(table, nameless=7)).assumed[0]


def test_one_vote_a_user_is_independent():
    found = plan(raters(votes=1))
    assert found.basis.icc is None
    assert found.basis.design_effect == pytest.approx(100 / 99)
    assert any("Nobody voted twice" in text for text in found.assumed)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (raters(0), "no thumbs up or down: users cannot be counted"),
        (raters(20, 5), r"20 users who voted \(at least 30\)"),
        (raters(40, 2), r"80 votes \(at least 100\)"),
        (raters(100, 2, up=2), r"0 thumbs down \(at least 5\)"),
        (pl.concat([raters(100, 1), raters(5, 3)]), "only 5 of 105 users voted twice or more"),
    ],
)
def test_too_few_votes_are_refused(table, words):
    with pytest.raises(InputError, match=words):
        plan(table)


def test_a_log_without_users_is_refused():
    with pytest.raises(InputError, match="9 votes, none with a user id"):
        plan(raters(0), answers=responses(raters(0), nameless=9))


@pytest.mark.parametrize(
    ("stated", "options", "words"),
    [
        (Stated(), {}, "give a run whose log it is planned from, or --base-rate"),
        (Stated(base_rate=0.7, votes_per_user=2.0), {}, "with 2 votes a user.*give --icc"),
        (Stated(base_rate=0.7), {"difference": 0.3}, "a difference of 0.3 from a base rate of 0.700"),
        (Stated(base_rate=1.2), {}, "base rate is 1.2, must be between 0 and 1"),
        (Stated(base_rate=0.7, icc=2.0), {}, "intra-class correlation is 2, must be 0 to 1"),
        (Stated(base_rate=0.7), {"powers": [0.01]}, "power 0.01 is 0.01, must be between the level and 1"),
        (Stated(base_rate=0.7), {"traffic": 0.0}, "share of users in the test is 0"),
        (Stated(base_rate=0.7), {"traffic": 1e-320}, "share of users in the test is .*, must be 1e-09 to 1"),
        (Stated(base_rate=0.7, rating_rate=1e-320), {}, "rating rate is .*, must be 1e-09 to 1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(stated, options, words):
    with pytest.raises(ConfigError, match=words):
        launch_plan(None, None, stated, **options)


def test_the_level_changes_the_users():
    assert plan(alpha=0.01).needs[0].users > plan().needs[0].users


def test_the_command_and_the_function_plan_a_prepared_log(tmp_path):
    marks = [("up" if (user + vote) % 3 else "down") for user in range(60) for vote in range(2)]
    rows = [
        {
            "prompt": f"Question {place}?", "completion": f"Answer {place}.", "vote": mark, "user_id": f"u{place // 2}",
            "created_at": (START + timedelta(days=place / 10)).isoformat(),
        }
        for place, mark in enumerate(marks)
    ]  # fmt: skip
    thumbline.prepare(rows, output=tmp_path / "out")
    found = thumbline.launch_plan(tmp_path / "out", difference=0.1)
    assert found.basis.users == 60 and found.basis.votes == 120
    assert "users for +10 points at power 0.8" in repr(found) and "design effect" in found._repr_html_()
    page = (tmp_path / "out" / "data_report.html").read_text()
    assert "Launch test" in page and "60 with 120 votes" in page
    told = CliRunner().invoke(app, ["launch-plan", str(tmp_path / "out"), "--difference", "0.1", "--json"])
    assert json.loads(told.stdout) == json.loads(json.dumps(found.as_dict()))
    text = CliRunner().invoke(app, ["launch-plan", str(tmp_path / "out"), "--difference", "0.1", "--power", "0.9"])
    assert "120 votes of 60 users" in text.stdout and "+10.0 pp" in text.stdout
