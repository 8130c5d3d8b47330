"""Rows in batches: what bounds them, and what a row that cannot be read costs."""

from collections.abc import Iterator

from thumbline.pipeline.importers.base import BatchBounds, RawEvent, each, has_columns, read_rows
from thumbline.pipeline.reading.records import Record, Reject, RowError, Sample


class Rows:
    name = "rows"

    def rows(self) -> Iterator[Record | Reject]:
        for line in range(1, 9):
            yield Record(line, {"number": line}, None) if line != 3 else Reject(line, "broken_json", "", "")


def parse(record: Record) -> Iterator[RawEvent | RowError]:
    number = record.value["number"]
    yield RawEvent([{"role": "user", "content": "p" * number}], "c")
    if number == 5:
        yield RowError("one", "event of two")
    if number == 6:
        raise RowError("end", "of the row")


def sizes(bounds: BatchBounds) -> list[int]:
    return [batch.records for batch in read_rows(Rows(), parse, bounds)]


def test_a_batch_ends_at_either_bound() -> None:
    assert sizes(BatchBounds()) == [8]
    assert sizes(BatchBounds(rows=3)) == [3, 3, 2]
    # Prompts of 1, 2, 4, 5, ... characters, each with an answer of one.
    assert sizes(BatchBounds(characters=9)) == [4, 2, 2]


def test_batches_hold_the_same_rows_whatever_bounds_them() -> None:
    for bounds in (BatchBounds(), BatchBounds(rows=1), BatchBounds(characters=3)):
        batches = list(read_rows(Rows(), parse, bounds))
        assert [event.line for batch in batches for event in batch.events] == [1, 2, 4, 5, 6, 7, 8]
        rejects = [(reject.line, reject.reason) for batch in batches for reject in batch.rejects]
        assert rejects == [(3, "broken_json"), (5, "one"), (6, "end")]


def test_an_event_of_another_row_keeps_its_line() -> None:
    (batch,) = read_rows(Rows(), lambda record: [RawEvent([], "c", line=70)])
    assert {event.line for event in batch.events} == {70}


def test_one_part_that_cannot_be_read_rejects_itself_alone() -> None:
    def parse(part: str) -> list[RawEvent]:
        if not part:
            raise RowError("empty", "part")
        return [RawEvent([], part)]

    assert [type(event) for event in each(["a", "", "b"], parse)] == [RawEvent, RowError, RawEvent]


def test_columns_of_one_alternative_tell_a_format() -> None:
    detect = has_columns({"a", "b"}, {"c"})
    samples = [[{"a": 1}, {"b": 2, "x": 3}], [{"c": 1}], [{"a": 1}], []]
    assert [detect(Sample("s", records), {}) for records in samples] == [True, True, False, False]
