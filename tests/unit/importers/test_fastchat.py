"""FastChat's log and released battles: thumbs, arena votes, ties and pairs of bad answers."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from tests.unit.importers.fixtures_fastchat import TIME, arena, battle, state, vote, write
from tests.unit.importers.logs import comparisons, read, read_lines, reasons, user, votes, write_lines
from thumbline.pipeline.importers.registry import detect_format

FAR, NEAR = "Far.", "384,400 km."


def test_a_log_gives_answers_thumbs_and_comparisons(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    assert votes(result) == [
        (NEAR, "chosen"),
        (NEAR, "tied"),
        (FAR, "rejected"),
        (FAR, "tied"),
        (FAR, "unrated"),
        (FAR, "up"),
        ("No idea.", "down"),
    ]
    assert comparisons(result) == [
        ("arena", f"chosen: {NEAR}", f"rejected: {FAR}"),
        ("arena", f"tied: {NEAR}", f"tied: {FAR}"),
    ]
    assert set(result.events["created_at"]) == {datetime.fromtimestamp(TIME, UTC)}
    assert result.events["user_id"].n_unique() == 1
    assert result.notes["source_event_ids_with_several_contents"] == 0


def test_the_templates_system_message_and_examples_are_left_out(tmp_path: Path) -> None:
    (event,) = read_lines(tmp_path, vote("upvote")).events.to_dicts()
    assert event["prompt"] == [user("How far?")]


OUTCOMES = [
    ("leftvote", "model_a", {FAR: "chosen", NEAR: "rejected"}),
    ("rightvote", "model_b", {FAR: "rejected", NEAR: "chosen"}),
    ("tievote", "tie", {FAR: "tied", NEAR: "tied"}),
    ("bothbad_vote", "tie (bothbad)", {FAR: "both_bad", NEAR: "both_bad"}),
]


@pytest.mark.parametrize(("kind", "winner", "expected"), OUTCOMES)
def test_each_outcome_of_a_battle(tmp_path: Path, kind: str, winner: str, expected: dict[str, str]) -> None:
    for row in (arena(kind), battle(winner)):
        events = read_lines(tmp_path, row).events
        assert dict(events.select("completion", "vote").rows()) == expected
        assert dict(events.select("completion", "position").rows()) == {FAR: 1, NEAR: 2}
        assert dict(events.select("completion", "model").rows()) == {FAR: "m-a", NEAR: "m-b"}
        assert events["comparison_id"].n_unique() == 1


def test_battles_are_detected(tmp_path: Path) -> None:
    assert detect_format(write_lines(tmp_path / "log.jsonl", battle("tie"))) == "fastchat"


def test_the_logs_own_model_names_count_where_the_state_has_none(tmp_path: Path) -> None:
    states = [state("How far?", text, model="") for text in (FAR, NEAR)]
    events = read_lines(tmp_path, arena("leftvote", states=states, models=["m-x", "m-y"])).events
    assert events.sort("position")["model"].to_list() == ["m-x", "m-y"]


def test_two_votes_of_one_user_are_two_comparisons(tmp_path: Path) -> None:
    result = read_lines(tmp_path, arena("leftvote"), arena("leftvote", tstamp=TIME + 60))
    assert len(comparisons(result)) == 2


@pytest.mark.parametrize("kind", ["leftVote", "up", 1, None])
def test_a_type_that_is_not_known_is_rejected_with_its_value(tmp_path: Path, kind: object) -> None:
    result = read_lines(tmp_path, vote("upvote"), vote("upvote") | {"type": kind})
    assert reasons(result) == ["unknown_label"]
    assert (repr(kind) if kind is not None else "NoneType") in result.rejects["detail"][0]


@pytest.mark.parametrize("winner", ["tie (both bad)", "model_c", "A", 1])
def test_a_winner_that_is_not_known_is_rejected_with_its_value(tmp_path: Path, winner: object) -> None:
    result = read_lines(tmp_path, battle("tie"), battle(winner))
    assert reasons(result) == ["unknown_label"]
    assert repr(winner) in result.rejects["detail"][0]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (vote("flag"), "not_a_vote"),
        (vote("share"), "not_a_vote"),
        (vote("upvote", "Hi", None), "empty_completion"),
        (vote("upvote", "Hi"), "not_an_answer"),
        (vote("upvote", state=None), "wrong_type"),
        (vote("upvote", state=state(["Hi", ["image"]], "Ho")), "not_text"),
        (arena("leftvote", states=[state("Hi", "Ho")]), "wrong_type"),
        (arena("leftvote", models="m-a"), "wrong_type"),
        (arena("leftvote", right=FAR), "same_answer"),
        (arena("leftvote", states=[state("a", "b"), state("c", "d")]), "different_prompts"),
        (battle("tie", conversation_a=None), "missing_field"),
        (battle("tie", conversation_b=[user("How far?")]), "unknown_role"),
    ],
)
def test_a_row_that_is_no_vote_or_not_clear_is_rejected(tmp_path: Path, bad: dict[str, object], reason: str) -> None:
    result = read_lines(tmp_path, vote("upvote"), bad)
    assert reasons(result) == [reason]
    assert votes(result) == [(FAR, "up")]


def test_later_turns_of_a_battle_compare_where_the_history_is_shared(tmp_path: Path) -> None:
    shared = [state("Hi", "Hello.", "How far?", text, conv_id=text) for text in (FAR, NEAR)]
    apart = [state("Hi", f"Hello {text}", "How far?", text, conv_id=text) for text in (FAR, NEAR)]
    result = read_lines(tmp_path, arena("leftvote", states=shared), arena("leftvote", states=apart))
    assert reasons(result) == ["different_prompts"]
    assert result.events.filter(pl.col("vote") == "chosen")["prompt"].list.len().to_list() == [3]
