"""Open-Assistant: ranks are comparisons, counts are thumbs, other emojis are neither."""

from pathlib import Path

import polars as pl
import pytest

from tests.unit.importers.fixtures_open_assistant import message, tree, write
from tests.unit.importers.logs import SHARED, assistant, comparisons, read, read_lines, reasons, user, votes

BEST, GOOD, WORST = "384,400 km.", "About 384,000 km.", "Far."
REAL_LOGS = [SHARED / "oasst_sample" / name for name in ("en_100_message.jsonl", "en_100_tree.jsonl")]


def test_counts_become_as_many_thumbs_and_ranks_comparisons(tmp_path: Path) -> None:
    result = read(write(tmp_path))
    assert result.rejects.is_empty()
    thumbs = result.events.filter(pl.col("comparison_id").is_null())
    assert sorted(thumbs.select("completion", "vote").rows()) == [
        (BEST, "down"),
        (BEST, "up"),
        (BEST, "up"),
        (BEST, "up"),
        (GOOD, "unrated"),
        (WORST, "down"),
        ("It varies.", "unrated"),
    ]
    assert comparisons(result) == [
        ("ranking", f"chosen: {BEST}", f"rejected: {GOOD}"),
        ("ranking", f"chosen: {BEST}", f"rejected: {WORST}"),
        ("ranking", f"chosen: {GOOD}", f"rejected: {WORST}"),
    ]
    assert result.counts.merged == 0
    assert result.notes["source_event_ids_with_several_contents"] == 0


def test_prompts_follow_the_tree(tmp_path: Path) -> None:
    events = {event["completion"]: event for event in read_lines(tmp_path, tree()).events.to_dicts()}
    assert events[WORST]["prompt"] == [user("How far is the moon?")]
    assert events["It varies."]["prompt"] == [user("How far is the moon?"), assistant(BEST), user("And Mars?")]
    assert (events[BEST]["model"], events[BEST]["conversation_id"], events[BEST]["user_id"]) == ("m-a", "u1", None)


def test_a_tree_and_its_first_message_say_the_same(tmp_path: Path) -> None:
    assert (
        read(write(tmp_path)).events.drop("source_file").equals(read_lines(tmp_path, tree()).events.drop("source_file"))
    )


def test_replies_of_one_rank_are_tied_and_those_without_are_not_compared(tmp_path: Path) -> None:
    tied = comparisons(read_lines(tmp_path, tree(rank=2)))
    assert ("ranking", f"tied: {BEST}", f"tied: {WORST}") in tied
    assert len(comparisons(read_lines(tmp_path, tree(rank=None)))) == 1


@pytest.mark.parametrize("rank", ["0", 0.5, True])
def test_a_rank_that_is_no_whole_number_costs_its_comparisons(tmp_path: Path, rank: object) -> None:
    result = read_lines(tmp_path, tree(rank=rank))
    assert reasons(result) == ["unknown_label"] * 2
    assert repr(rank) in result.rejects["detail"][0]
    assert (BEST, "up") in votes(result)


@pytest.mark.parametrize("count", [-1, "3", 1.5, True, 10**9])
def test_a_count_that_is_none_costs_the_replys_thumbs(tmp_path: Path, count: object) -> None:
    result = read_lines(tmp_path, tree(emojis={"+1": count}))
    assert reasons(result) == ["unknown_label"]
    assert repr(count) in result.rejects["detail"][0]
    assert len(comparisons(result)) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"deleted": True}, "deleted_message"), ({"role": "robot"}, "unknown_label"), ({"replies": "none"}, "wrong_type")],
)
def test_what_follows_a_message_that_cannot_be_used_is_lost_with_it(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    result = read_lines(tmp_path, tree(**changes))
    assert reasons(result) == [reason]
    assert "It varies." not in [completion for completion, _ in votes(result)]
    assert (WORST, "down") in votes(result)


def test_a_blank_reply_costs_itself_and_its_comparisons(tmp_path: Path) -> None:
    row = message(
        "u1", "prompter", "Hi", message("a1", "assistant", " ", rank=0), message("a2", "assistant", "Ho", rank=1)
    )
    result = read_lines(tmp_path, row)
    assert reasons(result) == ["empty_completion"] * 2
    assert votes(result) == [("Ho", "unrated")]


@pytest.mark.parametrize("path", REAL_LOGS, ids=lambda path: path.stem)
def test_the_real_sample_gives_its_counts(path: Path) -> None:
    if not path.is_file():
        pytest.skip("the Open-Assistant sample is not beside the repository")
    result = read(path)
    assert result.rejects.is_empty()
    thumbs = result.events.filter(pl.col("comparison_id").is_null())
    rated = thumbs.filter(pl.col("vote") != "unrated")
    replies = ["conversation_id", "prompt", "completion"]
    assert thumbs.select(replies).n_unique() == 687
    assert rated.select(replies).n_unique() == 455
    ranked = result.events.filter(pl.col("comparison_kind") == "ranking")
    assert ranked["comparison_id"].n_unique() == 754
    assert ranked.select("conversation_id", "prompt").n_unique() == 212
    assert dict(rated["vote"].cast(pl.String).value_counts().rows()) == {"up": 854, "down": 372}


def test_a_tree_without_an_answer_is_rejected(tmp_path: Path) -> None:
    result = read_lines(tmp_path, tree(), message("u9", "prompter", "Hi"))
    assert reasons(result) == ["no_completion"]
    assert "no answer in the tree" in result.rejects["detail"][0]
