"""Judged answers to rows of a log: which answers count, which become a pair, and which a thumb."""

import json

import polars as pl
import pytest

from thumbline.pipeline.config import EventsConfig, RunConfig
from thumbline.pipeline.errors import InputError
from thumbline.pipeline.reading.inputs import expand_inputs, with_added
from thumbline.pipeline.rounds.rows import (
    best_and_worst,
    lines,
    log_rows,
    pair_rows,
    pairs_of_votes,
    rated,
    unrated_rows,
    usable,
)
from thumbline.pipeline.rounds.rows import voted as votes_of
from thumbline.pipeline.stages import train
from thumbline.pipeline.stages.events import ingest, settings
from thumbline.pipeline.training.selecting import of_model

ASKED = [{"role": "system", "content": "Be kind.", "extra": None}, {"role": "user", "content": "Hi?", "extra": None}]


def answers(*rows):
    """Rows of prompt, completion, value and finish."""
    return pl.DataFrame(
        [(prompt, f"g{number}", *rest) for number, (prompt, *rest) in enumerate(rows)],
        schema={
            "prompt_id": pl.String,
            "generation_id": pl.String,
            "completion": pl.String,
            "value": pl.Float64,
            "finish": pl.String,
        },
        orient="row",
    )


def test_what_is_cut_empty_unjudged_or_said_before_is_left_out_and_counted():
    made = answers(
        ("a", "one", 0.5, "stop"),
        ("a", "one", 0.5, "stop"),
        ("a", " ", 0.9, "stop"),
        ("a", "half", 0.9, "length"),
        ("b", "one", None, "stop"),
        ("b", "one", 0.1, "stop"),
    )
    kept, counts = usable(made, keep_cut=False)
    assert kept["generation_id"].to_list() == ["g0", "g5"]
    assert counts == {"cut": 1, "empty": 1, "not judged": 1, "said before": 1}
    assert usable(made, keep_cut=True)[0]["generation_id"].to_list() == ["g0", "g3", "g5"]


def test_the_best_and_the_worst_of_a_prompt_are_a_pair_where_they_are_apart():
    made = answers(
        ("a", "x", 0.2, "stop"),
        ("a", "y", 0.9, "stop"),
        ("a", "z", 0.5, "stop"),
        ("b", "x", 0.50, "stop"),
        ("b", "y", 0.55, "stop"),
        ("c", "x", 0.9, "stop"),
        ("d", "x", 0.4, "stop"),
        ("d", "y", 0.4, "stop"),
    )
    pairs, counts = best_and_worst(made, 0.1)
    assert pairs.rows() == [("a", "g1", "g0")]
    assert counts == {"one answer": 1, "too alike": 2}
    # Of one value they are no pair, whatever the margin.
    assert [row[0] for row in best_and_worst(made, 0.0)[0].rows()] == ["a", "b"]
    sides = pair_rows(pairs)
    assert sides.select("generation_id", "vote", "comparison_id").rows() == [
        ("g1", "chosen", "g1"),
        ("g0", "rejected", "g1"),
    ]


def test_answers_near_an_even_chance_get_no_thumb():
    made = answers(
        *(("a", str(rate), rate, "stop") for rate in (0.0, 0.44, 0.46, 0.5, 0.54, 0.56, 1.0)),
    )
    thumbs, counts = rated(made, 0.1)
    assert thumbs.select("generation_id", "vote").rows() == [
        ("g0", "down"),
        ("g1", "down"),
        ("g5", "up"),
        ("g6", "up"),
    ]
    assert counts == {"near an even chance": 3}
    assert rated(made, 0.0)[0].height == 6


def test_rows_are_read_as_a_log_of_the_same_prompts(tmp_path):
    texts = pl.DataFrame(
        {
            "generation_id": ["g0", "g1"],
            "prompt": [ASKED, ASKED],
            "tools": pl.Series([None, None], dtype=pl.String),
            "completion": ["Hello.", "Go away."],
        }
    )
    judged = pair_rows(pl.DataFrame({"prompt_id": ["a"], "chosen": ["g0"], "rejected": ["g1"]}))
    (tmp_path / "rows.jsonl").write_text(lines(log_rows(judged, texts, "run-round-2")))
    found = ingest(EventsConfig(inputs=(str(tmp_path / "rows.jsonl"),))).events.sort("vote")
    assert found.select("vote", "model").rows() == [("chosen", "run-round-2"), ("rejected", "run-round-2")]
    assert found["comparison_id"].n_unique() == 1 and found["comparison_kind"].to_list() == ["preference"] * 2
    assert [message["content"] for message in found["prompt"][0]] == ["Be kind.", "Hi?"]


def test_added_logs_are_told_by_their_own_fields_whatever_is_stated_of_the_others(tmp_path):
    (tmp_path / "log.csv").write_text("q,a,liked\nHi?,Hello.,yes\n")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "Hi?", "completion": "Hey.", "vote": "down"}) + "\n")
    stated = {"prompt": "q", "completion": "a", "vote": "liked", "up": "yes"}
    log, rows = str(tmp_path / "log.csv"), str(tmp_path / "rows.jsonl")
    config = EventsConfig(inputs=(log,), format="thumbs_jsonl", options=stated, added=(rows,))
    events = ingest(config).events
    assert sorted(events["vote"].to_list()) == ["down", "up"] and events["prompt_id"].n_unique() == 1
    inputs = expand_inputs((log, rows))
    assert with_added(inputs, (rows,)) == inputs
    assert [file.added for file in with_added(expand_inputs((log,)), (rows,)).files] == [False, True]


def test_votes_that_are_on_no_answer_of_the_round_are_refused(tmp_path):
    handed = pl.DataFrame(
        {
            "generation_id": ["g0"],
            "prompt_id": ["0" * 32],
            "prompt": [ASKED],
            "tools": pl.Series([None], dtype=pl.String),
            "completion": ["Hello."],
        }
    )
    (row,) = unrated_rows(handed, "run-round-2")
    assert row["vote"] is None and row["event_id"] == "g0"
    (tmp_path / "back.jsonl").write_text(lines([row | {"vote": "up", "completion": "Another."}]))
    with pytest.raises(InputError, match="none of its 1 votes is on an answer of this round"):
        votes_of(EventsConfig(inputs=(str(tmp_path / "back.jsonl"),)), handed)


def test_a_pair_of_votes_is_the_surest_liked_against_the_surest_disliked():
    votes = pl.DataFrame(
        {
            "prompt_id": ["a"] * 7,
            "generation_id": ["g0", "g1", "g1", "g2", "g3", "g4", "g5"],
            "vote": ["up", "up", "up", "down", "up", "chosen", "rejected"],
            "comparison_id": [None] * 5 + ["c", "c"],
        }
    )
    rows, left_out = pairs_of_votes(votes, 0.4)
    # Two thumbs up: 3/4; one down: 1/3.
    assert rows.select("generation_id", "vote", "comparison_id").rows() == [
        ("g1", "chosen", "g1"),
        ("g2", "rejected", "g1"),
        ("g4", "chosen", "c"),
        ("g5", "rejected", "c"),
    ]
    assert left_out == {}
    assert pairs_of_votes(votes.head(5), 0.5)[1] == {"too alike": 1}


def test_rows_of_one_model_have_both_answers_of_it():
    responses = pl.DataFrame({"response_id": ["a", "b", "c"], "model": ["new", "new", "old"]})
    pairs = pl.DataFrame({"pair_id": ["p", "q"], "chosen_response_id": ["a", "a"], "rejected_response_id": ["b", "c"]})
    assert of_model(pairs, responses, "new")["pair_id"].to_list() == ["p"]
    assert of_model(responses.select("response_id"), responses, "old")["response_id"].to_list() == ["c"]


def test_what_is_unset_changes_no_fingerprint_of_older_runs():
    config = RunConfig(name="run", model="demo", events=EventsConfig(inputs=("log.jsonl",)))
    assert "added" not in settings(config) and "only_model" not in train.settings(config)
