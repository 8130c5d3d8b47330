"""LLMFAO: votes and texts in two files, joined on the pair's id."""

from pathlib import Path

import polars as pl
import pytest

from tests.unit.importers.fixtures_llmfao import PAIRS, vote, write, write_votes
from tests.unit.importers.logs import SHARED, comparisons, read, reasons, user, votes
from thumbline.pipeline.config import EventsConfig
from thumbline.pipeline.importers.registry import detect_format
from thumbline.pipeline.stages.events import EventsResult, ingest

REAL_LOGS = [SHARED / "llmfao" / name for name in ("crowd-comparisons.csv", "pairs-crowd.jsonl")]
LEFT, RIGHT = "Far.", "384,400 km."


def read_folder(folder: Path) -> EventsResult:
    return ingest(EventsConfig(inputs=(str(folder),)))


def test_votes_find_their_texts_in_the_other_file(tmp_path: Path) -> None:
    write(tmp_path)
    result = read_folder(tmp_path)
    assert comparisons(result) == [
        ("preference", f"chosen: {RIGHT}", f"rejected: {LEFT}"),
        ("preference", f"chosen: {LEFT}", f"rejected: {RIGHT}"),
        ("preference", f"tied: {RIGHT}", f"tied: {LEFT}"),
    ]
    assert result.events["prompt"].unique().to_list() == [[user("How far is the moon?")]]
    sides = set(result.events.select("completion", "position", "model").rows())
    assert sides == {(LEFT, 1, "M-A"), (RIGHT, 2, "M-B")}
    assert result.events["user_id"].n_unique() == 3
    assert result.notes["source_event_ids_with_several_contents"] == 0
    assert detect_format(tmp_path / "pairs-crowd.jsonl") == "llmfao"


def test_a_vote_on_a_pair_with_an_empty_answer_is_rejected(tmp_path: Path) -> None:
    write_votes(tmp_path, vote(1, 5, "right"), vote(2, 5, "left"))
    result = read_folder(tmp_path)
    assert reasons(result) == ["empty_completion"] * 2
    assert result.events.is_empty()


@pytest.mark.parametrize("winner", ["Left", "both", "1", "tie (bothbad)"])
def test_a_winner_that_is_not_known_is_rejected_with_its_value(tmp_path: Path, winner: str) -> None:
    write_votes(tmp_path, vote(0, 5, winner), vote(0, 6, "left"))
    result = read_folder(tmp_path)
    assert reasons(result) == ["unknown_label"]
    assert repr(winner) in result.rejects["detail"][0]
    assert len(votes(result)) == 2


def test_a_vote_without_a_winner_an_id_or_a_known_pair_is_rejected(tmp_path: Path) -> None:
    write_votes(tmp_path, vote(0, 5, ""), vote("", 5, "left"), vote(9, 5, "left"))
    assert reasons(read_folder(tmp_path)) == ["missing_field", "missing_field", "no_trace"]


def test_votes_alone_are_rejected_and_texts_alone_are_no_events(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert reasons(read(path)) == ["no_trace"] * 4
    alone = read(tmp_path / "pairs-crowd.jsonl")
    assert (alone.notes["records"], alone.counts.given) == (len(PAIRS), 0)


@pytest.mark.skipif(not REAL_LOGS[0].is_file(), reason="LLMFAO's votes are not beside the repository")
def test_the_real_crowd_gives_its_counts() -> None:
    result = ingest(EventsConfig(inputs=tuple(map(str, REAL_LOGS))))
    votes_read = result.events.filter(pl.col("position") == 1)
    assert set(result.notes["reject_reasons"]) == {"empty_completion"}
    header = REAL_LOGS[0].read_text(encoding="utf-8").splitlines()[0].split(",")
    lost = pl.DataFrame([row.split(",") for row in result.rejects["raw"]], schema=header, orient="row")
    assert lost["id"].n_unique() == 289
    kept = dict(votes_read["vote"].cast(pl.String).value_counts().rows())
    names = {"tied": "tie", "chosen": "left", "rejected": "right"}
    totals = {names[vote]: count + (lost["winner"] == names[vote]).sum() for vote, count in kept.items()}
    assert totals == {"tie": 3_471, "left": 2_911, "right": 2_549}
    assert votes_read.height + lost.height == 8_931
    assert votes_read["user_id"].n_unique() == 124
    assert lost["worker"].n_unique() <= 124
    # The table of events has no pair ids: two models meet on a prompt once, so that the three name a pair.
    right = result.events.filter(pl.col("position") == 2).select("comparison_id", model_right="model")
    named = votes_read.join(right, on="comparison_id", validate="1:1")
    kept_pairs = named.group_by("prompt", "model", "model_right").agg(pl.col("vote").n_unique())
    lost_pairs = lost.group_by("id").agg(vote=pl.col("winner").n_unique())
    pairs = pl.concat([kept_pairs.select("vote"), lost_pairs.select("vote")])
    assert pairs.height == 2_139
    assert (pairs["vote"] == 1).sum() == 539
