"""Why nothing could be used: counted reasons, one example with its line, and what helps."""

import pytest

from thumbline.pipeline.errors import InputError
from thumbline.pipeline.ingest.reasons import Example, refuse_unusable, reject_lines
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
        "unknown_label: log.jsonl, line 1,200: field 'vote' is 'meh'",
    ]
    counted, label, broken = reject_lines(manifest(most, **notes))
    assert counted == "rejected: unknown_label 1,500, broken_json 1"
    assert label.startswith("unknown_label: log.jsonl, line 1,200: field 'vote' is 'meh'")
    assert broken.startswith("broken_json: log.jsonl, line 3: the object does not end. Each line has to be")


def test_reasons_beyond_the_fifth_are_counted() -> None:
    reasons = {f"reason_{letter}": 1 for letter in "abcdefg"}
    (line,) = reject_lines(manifest(Counts(rows_in=100, rows_out=93, rejected=7), reject_reasons=reasons))
    assert line.endswith("reason_e 1, and 2 more")


def test_nothing_usable_is_refused_with_the_most_frequent_reason_first() -> None:
    notes = {
        "reject_reasons": {"broken_json": 1, "unknown_label": 8},
        "reject_examples": GIVEN,
    }
    with pytest.raises(InputError) as caught:
        refuse_unusable(manifest(Counts(rows_in=9, rows_out=0, rejected=9), **notes))
    assert str(caught.value).startswith(
        "events: 9 of 9 rows rejected, so there is nothing to go on with: unknown_label 8, broken_json 1 "
        "(log.jsonl, line 1,200: field 'vote' is 'meh')."
    )
    refuse_unusable(manifest(Counts(rows_in=9, rows_out=1, rejected=8), **notes))


def test_rows_without_any_vote_are_refused_as_what_they_are() -> None:
    with pytest.raises(InputError, match="12 rows were read, and none of them is feedback .* Name them together"):
        refuse_unusable(manifest(Counts(rows_in=0, rows_out=0), records=12))
