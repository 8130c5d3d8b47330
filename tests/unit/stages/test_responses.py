import polars as pl
import pytest
from scipy import stats

from tests.conftest import event, events_table
from thumbline.pipeline.config import ResponsesConfig
from thumbline.pipeline.stages import responses
from thumbline.pipeline.tables import validate


def made(rows, **config):
    result = responses.transform(events_table(rows).lazy(), ResponsesConfig(**config))
    return validate("responses", result.responses.collect()), validate("comparisons", result.comparisons.collect())


def one(rows, **config):
    table, _ = made(rows, **config)
    assert table.height == 1
    return table.row(0, named=True)


def test_a_users_last_vote_wins_whatever_the_order_of_the_log():
    rows = [event("p", "c", "up", at=0), event("p", "c", "down", at=5), event("p", "c", "up", user="u2", at=1)]
    for order in (rows, rows[::-1]):
        row = one(order)
        assert (row["n_up"], row["n_down"]) == (1, 1)
        assert (row["label"], row["abstain_reason"]) == ("abstain", "tied")


def test_a_retraction_removes_the_vote_and_a_later_vote_counts_again():
    rows = [event("p", "c", "up", at=0), event("p", "c", "retracted", at=1)]
    assert one(rows)["abstain_reason"] == "retracted"
    assert one([*rows, event("p", "c", "down", at=2)])["label"] == "undesirable"


def test_without_times_the_place_in_the_log_decides():
    rows = [
        event("p", "c", "up", at=None, source_line=1),
        event("p", "c", "down", at=None, source_line=2),
    ]
    assert one(rows[::-1])["n_down"] == 1


def test_votes_without_a_user_are_voters_of_their_own():
    rows = [event("p", "c", "up", user=None, at=minute) for minute in range(3)]
    assert one(rows)["n_up"] == 3


def test_unicode_form_and_outer_white_space_do_not_make_another_response():
    table, _ = made([event("caf\u00e9  ?", " ol\u00e9\n", "up"), event("cafe\u0301 ?", "ole\u0301", "down", user="u2")])
    assert table.height == 1
    assert table["completion"][0].strip() in {"ol\u00e9", "ole\u0301"}


def test_posterior_is_the_beta_distribution_of_the_counts_and_the_prior():
    rows = [event("p", "c", "up", user=f"u{k}") for k in range(3)] + [event("p", "c", "down", user="d")]
    row = one(rows, prior_up=2.0, prior_down=1.0, interval=0.8)
    beta = stats.beta(2 + 3, 1 + 1)
    assert row["posterior_mean"] == pytest.approx(5 / 7)
    assert row["posterior_low"] == pytest.approx(beta.ppf(0.1))
    assert row["posterior_high"] == pytest.approx(beta.ppf(0.9))
    assert row["probability_desirable"] == pytest.approx(beta.sf(0.5))
    assert row["weight"] == pytest.approx(2 * beta.sf(0.5) - 1)


def test_min_confidence_abstains_where_votes_are_few():
    assert one([event("p", "c", "up")])["label"] == "desirable"  # P(share > 1/2) is 0.75 after one vote
    row = one([event("p", "c", "up")], min_confidence=0.8)
    assert (row["label"], row["abstain_reason"]) == ("abstain", "low_confidence")


def test_unrated_answers_are_kept_and_abstained_from():
    assert one([event("p", "c", "unrated")])["abstain_reason"] == "unrated"


def test_comparisons_are_counted_and_named_by_their_majority():
    def compared(chosen, rejected, name):
        return [
            event("p", chosen, "chosen", comparison_id=name, user=None),
            event("p", rejected, "rejected", comparison_id=name, user=None),
        ]

    table, comparisons = made(compared("a", "b", "1") + compared("b", "a", "2") + compared("a", "b", "3"))
    assert comparisons.select("n_chosen", "n_rejected").rows() == [(2, 1)]
    chosen = table.filter(pl.col("response_id") == comparisons["chosen_response_id"][0])
    assert chosen["completion"][0] == "a"
    assert set(table["abstain_reason"]) == {"comparison_only"}


def test_what_users_did_with_an_answer_is_counted_beside_their_votes():
    rows = [
        event("p", "c", "copied"),
        event("p", "c", "copied", user="u2"),
        event("p", "c", "regenerated"),
        event("p", "c", "tied", comparison_id="1"),
        event("p", "d", "tied", comparison_id="1"),
        event("p", "c", "both_bad", comparison_id="2"),
        event("p", "d", "both_bad", comparison_id="2"),
    ]
    table, _ = made(rows)
    row = table.filter(pl.col("completion") == "c").row(0, named=True)
    counts = {name: row[f"n_{name}"] for name in ("copied", "regenerated", "compared", "tied", "both_bad", "up")}
    assert counts == {"copied": 2, "regenerated": 1, "compared": 2, "tied": 1, "both_bad": 1, "up": 0}


def test_of_two_comparisons_by_one_user_the_last_counts():
    def compared(winner, loser, name, at):
        shared = {"comparison_id": name, "comparison_kind": "arena", "at": at}
        return [event("p", winner, "chosen", **shared), event("p", loser, "rejected", **shared)]

    table, comparisons = made(compared("a", "b", "1", 0) + compared("b", "a", "2", 5))
    assert comparisons.select("n_chosen", "n_rejected").rows() == [(1, 0)]
    chosen = table.filter(pl.col("response_id") == comparisons["chosen_response_id"][0])
    assert chosen["completion"].to_list() == ["b"]


def test_votes_of_raters_that_count_for_nothing_are_abstained_from():
    rows = [event(f"p{number}", "c", "up") for number in range(10)] + [event("p0", "d", "down", user="u2")]
    table, _ = made(rows, reliability="one_label")
    reasons = dict(table.select("completion", "abstain_reason").unique().iter_rows())
    assert reasons == {"c": "unreliable_raters", "d": None}


def test_notes_count_contradictions_raters_and_drops():
    rows = [event(f"p{number}", "long enough", "up") for number in range(10)]
    rows += [event("p0", "long enough", "down", user="u2"), event("p1", "no", "up", user="u2")]
    rows += [event("p2", "long enough", "down", user="u2", at=0), event("p2", "long enough", "up", user="u2", at=3)]
    config = ResponsesConfig(min_completion_chars=5, reliability="one_label")
    events = events_table(rows).lazy()
    known = responses.shared([responses.log_facts(events)], config)
    tables = responses.transform(events, config, known)
    collected = {name: getattr(tables, name).collect() for name in responses.Responses._fields}
    of_raters = responses.rater_contradictions(known.raters)
    collected |= {"raters": known.raters, "contradictions": pl.concat([collected["contradictions"], of_raters])}
    validate("contradictions", collected["contradictions"])
    noted = responses.notes(collected, config)
    assert noted["responses_with_both_votes"] == noted["changed_minds"] == noted["raters_of_one_label"] == 1
    assert (noted["raters"], noted["dropped"]) == (2, {"completion_length": 1})
    assert noted["rater_weights"] == {"below_0.1": 1, "below_0.5": 1, "below_0.9": 1}
