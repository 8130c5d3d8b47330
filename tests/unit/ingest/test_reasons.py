"""Why rows and files could not be used: counted reasons, one example with its line, and what helps."""

import pytest

from thumbline.pipeline.ingest.reasons import Example, LostFile, reject_lines
from thumbline.pipeline.ingest.refusing import refusal
from thumbline.pipeline.storage.manifests import Counts, Manifest

EXAMPLES = {
    "broken_json": Example("log.jsonl", 3, "the object does not end"),
    "unknown_label": Example("log.jsonl", 1_200, "field 'vote' is 'meh'."),
}
GIVEN = {name: example._asdict() for name, example in EXAMPLES.items()}


def manifest(counts: Counts, **notes: object) -> Manifest:
    return Manifest(
        stage="events",
        fingerprint="f",
        version=1,
        config={},
        inputs={},
        outputs={},
        counts=counts,
        notes=notes,
        seconds=0.0,
        finished_at="",
    )


def test_rejects_are_counted_and_where_most_are_each_reason_has_an_example_with_its_line_and_a_way_out() -> None:
    notes = {"reject_reasons": {"broken_json": 1, "unknown_label": 1_500}, "reject_examples": GIVEN}
    few, most = (Counts(rows_in=rows, rows_out=rows - 1_501, rejected=1_501) for rows in (4_000, 2_000))
    assert reject_lines(manifest(Counts(rows_in=9, rows_out=9))) == []
    assert reject_lines(manifest(few, **notes)) == [
        "rejected: unknown_label 1,500, broken_json 1",
        "unknown_label: log.jsonl, line 1,200: field 'vote' is 'meh'. On the command line: "
        """--set 'events.options={up: "good", down: "bad"}'.""",
    ]
    counted, label, broken = reject_lines(manifest(most, **notes))
    assert counted == "rejected: unknown_label 1,500, broken_json 1"
    assert label.startswith("unknown_label: log.jsonl, line 1,200: field 'vote' is 'meh'")
    assert broken.startswith("broken_json: log.jsonl, line 3: the object does not end. Each line has to be")


def test_reasons_beyond_the_fifth_are_counted() -> None:
    reasons = {f"reason_{letter}": 1 for letter in "abcdefg"}
    (line,) = reject_lines(manifest(Counts(rows_in=100, rows_out=93, rejected=7), reject_reasons=reasons))
    assert line.endswith("reason_e 1, and 2 more")


def refused(counts: Counts, most_rejected: float = 0.5, **notes: object) -> str:
    """What the error says; empty where the run goes on."""
    return str(refusal(manifest(counts, **notes), most_rejected) or "")


def test_nothing_usable_is_refused_with_the_most_frequent_reason_first() -> None:
    notes = {"reject_reasons": {"broken_json": 1, "unknown_label": 8}, "reject_examples": GIVEN}
    said = refused(Counts(rows_in=9, rows_out=0, rejected=9), most_rejected=1, **notes)
    head, label, broken = said.splitlines()
    assert head == "events: 9 of 9 rows were rejected, so there is nothing to go on with:"
    assert label.startswith(
        "  unknown_label 8: log.jsonl, line 1,200: field 'vote' is 'meh'. On the command line: --set"
    )
    assert broken.startswith("  broken_json 1: log.jsonl, line 3: the object does not end. Each line has to be")


def test_rows_without_any_vote_are_refused_as_what_they_are() -> None:
    said = refused(Counts(rows_in=12, gave=0, rows_out=0), records=12)
    assert said.startswith("events: 12 rows were read, and none of them is feedback") and "Name them together" in said


@pytest.mark.parametrize(
    ("rejected", "most", "stops"), [(5, 0.5, False), (6, 0.5, True), (6, 0.6, False), (9, 1, False)]
)
def test_more_rejected_rows_than_are_allowed_stop_the_run(rejected: int, most: float, *, stops: bool) -> None:
    counts = Counts(rows_in=10, rows_out=10 - rejected, rejected=rejected)
    said = refused(counts, most, reject_reasons={"unknown_label": rejected}, reject_examples=GIVEN)
    assert bool(said) is stops
    if stops:
        assert said.startswith("events: 6 of 10 rows were rejected (60%), more than events.most_rejected (50%) allows:")
        assert said.endswith("To go on with the 4 events that were read: --set events.most_rejected=1")


def test_rows_that_the_log_calls_no_votes_stop_nothing() -> None:
    counts = Counts(rows_in=10, rows_out=1, rejected=9)
    assert refused(counts, reject_reasons={"not_human": 4, "other_feedback": 5}) == ""
    assert "9 of 10 rows" in refused(counts, reject_reasons={"not_human": 3, "missing_field": 6})


def lost(name: str, rows: int, reason: str, line: int = 1) -> dict[str, object]:
    return LostFile(name, rows, reason, line, "no such thing")._asdict()


def test_a_whole_file_stops_the_run_and_is_named() -> None:
    counts = Counts(rows_in=100, rows_out=98, rejected=2)
    said = refused(
        counts,
        rejected_files=[lost("b.jsonl", 2, "broken_json")],
        unread_files=[lost("c.parquet", 0, "unreadable_parquet", 0), lost("d.jsonl", 0, "empty_file", 0)],
    )
    assert said.splitlines()[:3] == [
        "events: 2 files were rejected as a whole:",
        "  c.parquet: no such thing (not read: unreadable_parquet). Copy or export the file again: it is damaged, cut "
        "or no Parquet.",
        "  b.jsonl, line 1: no such thing (2 rows rejected: broken_json). Each line has to be one JSON object; CSV, a "
        "JSON array, Parquet and Arrow are read too.",
    ]
    assert refused(counts, most_rejected=1, rejected_files=[lost("b.jsonl", 2, "broken_json")]) == ""
    assert refused(counts, unread_files=[lost("d.jsonl", 0, "empty_file", 0)]) == ""
    assert refused(counts, rejected_files=[lost("b.jsonl", 2, "no_vote")]) == ""


def test_of_many_files_a_small_one_stops_nothing() -> None:
    counts = Counts(rows_in=1_000, rows_out=989, rejected=11)
    small, large = lost("b.jsonl", 9, "broken_json"), lost("c.jsonl", 10, "broken_json")
    assert "b.jsonl" in refused(counts, sources=100, rejected_files=[small])
    assert refused(counts, sources=101, rejected_files=[small]) == ""
    assert "1 file was rejected" in refused(counts, sources=101, rejected_files=[large, small])


def test_a_file_that_was_not_read_is_no_rejected_row() -> None:
    notes = {"unread_reasons": {"empty_file": 1}, "unread_files": [lost("d.jsonl", 0, "empty_file", 0)]}
    assert reject_lines(manifest(Counts(rows_in=9, rows_out=9), **notes)) == [
        "1 file could not be read: empty_file 1",
        "d.jsonl: no such thing (not read: empty_file).",
    ]
