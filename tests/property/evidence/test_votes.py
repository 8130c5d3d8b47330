"""Votes and comparisons against a slow oracle: one user, one vote, the last one; in plain Python, from the events."""

from collections import defaultdict
from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.logs import ided, logs
from thumbline.pipeline.config import ResponsesConfig
from thumbline.pipeline.evidence.comparisons import check_counted
from thumbline.pipeline.stages import responses
from thumbline.pipeline.tables import validate

NEVER = datetime(1, 1, 1, tzinfo=UTC)


def moment(row):
    return (row["created_at"] or NEVER, row["source_file"], row["source_line"], row["event_id"])


def oracle_votes(rows):
    """response id -> voter -> the rows of the voter's votes, oldest first."""
    found = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=moment):
        if row["vote"] in ("up", "down", "retracted"):
            found[row["response_id"]][row["user_id"] or row["event_id"]].append(row)
    return found


def oracle_comparisons(rows):
    """(kind, the two response ids) -> votes of each voter's last comparison: a response id, tied or both_bad."""
    comparisons = defaultdict(dict)
    for row in sorted(rows, key=moment):
        if row["comparison_id"] is not None:
            comparisons[(row["prompt_id"], row["comparison_id"])][row["response_id"]] = row
    last = {}
    for sides in sorted(
        (sorted(sides.items()) for sides in comparisons.values()), key=lambda sides: moment(sides[0][1])
    ):
        if len(sides) < 2:
            continue
        (first, row), (second, other) = sides
        result = {"chosen": first, "rejected": second}.get(row["vote"], row["vote"])
        assert row["vote"] == other["vote"] or {row["vote"], other["vote"]} == {"chosen", "rejected"}
        voter = row["user_id"] or row["comparison_id"]
        last[(row["comparison_kind"] or "preference", first, second, voter)] = result
    found = defaultdict(list)
    for (kind, first, second, _), result in last.items():
        found[(kind, first, second)].append(result)
    return found


@given(logs(), st.sampled_from([None, 2.0]))
def test_counts_and_evidence_are_those_of_a_slow_oracle(rows, half_life):
    events = ided(rows)
    config = ResponsesConfig(half_life_days=half_life)
    made = validate("responses", responses.transform(events.lazy(), config).responses.collect())
    rows = events.rows(named=True)
    votes = oracle_votes(rows)
    newest = max((row["created_at"] for row in rows if row["created_at"]), default=None)
    assert set(made["response_id"]) == {row["response_id"] for row in rows}
    assert made["n_events"].sum() == len(rows)
    logged = {(row["response_id"], row["completion"]) for row in rows}
    for found in made.iter_rows(named=True):
        # Normalised for identity only: what the table holds was logged, letter by letter.
        assert (found["response_id"], found["completion"]) in logged
        last = [given[-1] for given in votes[found["response_id"]].values()]
        for vote in ("up", "down", "retracted"):
            assert found[f"n_{vote}"] == sum(row["vote"] == vote for row in last)
        for vote in ("up", "down"):
            ages = [
                (newest - row["created_at"]).total_seconds() / 86400 if row["created_at"] and half_life else 0.0
                for row in last
                if row["vote"] == vote
            ]
            expected = sum(0.5 ** (age / (half_life or 1.0)) for age in ages)
            assert found[f"{vote}_evidence"] == pytest.approx(expected, abs=1e-7)


@given(logs())
def test_contradictions_are_those_of_a_slow_oracle(rows):
    events = ided(rows)
    table = responses.transform(events.lazy(), ResponsesConfig()).contradictions.collect()
    validate("contradictions", table)
    expected = set()
    for response, voters in oracle_votes(events.rows(named=True)).items():
        last = [given[-1]["vote"] for given in voters.values()]
        if {"up", "down"} <= set(last):
            expected.add(("both_labels", response, None, last.count("up"), last.count("down")))
        for given_votes in voters.values():
            ever = [row["vote"] for row in given_votes]
            if {"up", "down"} <= set(ever):
                user = given_votes[0]["user_id"]
                expected.add(("changed_mind", response, user, ever.count("up"), ever.count("down")))
    of_votes = table.filter(pl.col("other_response_id").is_null())
    assert set(of_votes.drop("prompt_id", "other_response_id").iter_rows()) == expected


@given(logs())
def test_each_comparison_is_counted_or_has_its_reason(rows):
    events = ided(rows)
    found = responses.transform(events.lazy(), ResponsesConfig())
    counted, drops = found.comparisons.collect(), validate("comparison_drops", found.comparison_drops.collect())
    check_counted(events.lazy(), counted, drops)
    told = events.filter(pl.col("comparison_id").is_not_null()).select("prompt_id", "comparison_id").n_unique()
    last = sum(len(results) for results in oracle_comparisons(events.rows(named=True)).values())
    assert drops.height == told - last


@given(logs())
def test_comparisons_are_those_of_a_slow_oracle(rows):
    events = ided(rows)
    made = validate("comparisons", responses.transform(events.lazy(), ResponsesConfig()).comparisons.collect())
    expected = oracle_comparisons(events.rows(named=True))
    assert made.height == len(expected)
    for row in made.iter_rows(named=True):
        chosen, rejected = row["chosen_response_id"], row["rejected_response_id"]
        results = expected[(row["kind"], *sorted((chosen, rejected)))]
        counts = [row["n_chosen"], row["n_rejected"], row["n_tied"], row["n_both_bad"]]
        assert counts == [results.count(name) for name in (chosen, rejected, "tied", "both_bad")]
        assert row["n_chosen"] >= row["n_rejected"]
