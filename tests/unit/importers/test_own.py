"""A function of the caller's own: what it may return, and what becomes of rows that it refuses."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from thumbline.pipeline.errors import ConfigError
from thumbline.pipeline.importers.base import Batch, RawEvent
from thumbline.pipeline.importers.own import Adapter, spec_of
from thumbline.pipeline.reading.records import Record, Reject, RowError

GOOD = {"prompt": "p", "completion": "c", "vote": "up"}


class Rows:
    name = "rows"

    def __init__(self, *rows: dict[str, Any]) -> None:
        self._rows = rows

    def rows(self) -> Iterator[Record | Reject]:
        return (Record(line, row, None) for line, row in enumerate(self._rows, start=1))


def read(function: Adapter, *rows: dict[str, Any]) -> Batch:
    (batch,) = spec_of(function).read(Rows(*(rows or ({"q": "p"},))), {})
    return batch


def test_a_mapping_is_read_as_strictly_as_a_log() -> None:
    batch = read(lambda row: GOOD | {"user_id": 7, "created_at": "2026-01-02T03:04:05Z", "propensity": 0.5})
    prompt = [{"role": "user", "content": "p"}]
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert batch.events == [RawEvent(prompt, "c", "up", user_id="7", propensity=0.5, created_at=moment, line=1)]


@pytest.mark.parametrize(("vote", "read_as"), [(True, "up"), ("thumbs_down", "down"), (None, "unrated")])
def test_a_vote_is_any_label_of_a_product_log(vote: object, read_as: str) -> None:
    assert [event.vote for event in read(lambda row: GOOD | {"vote": vote}).events] == [read_as]


def test_raw_events_several_events_and_a_generator() -> None:
    opener = RawEvent([], "Hello!", "down")
    assert read(lambda row: opener).events == [opener._replace(line=1)]
    assert [event.vote for event in read(lambda row: [GOOD, opener]).events] == ["up", "down"]
    batch = read(lambda row: (GOOD | {"vote": vote} for vote in ("up", "meh", "down")))
    assert [event.vote for event in batch.events] == ["up", "down"]
    assert [(reject.reason, reject.line) for reject in batch.rejects] == [("unknown_label", 1)]


def test_two_sides_of_a_comparison_share_its_id() -> None:
    def both(row: dict[str, Any]) -> list[dict[str, Any]]:
        return [GOOD | {"completion": side, "vote": side, "comparison_id": "k"} for side in ("chosen", "rejected")]

    chosen, rejected = read(both).events
    assert chosen.comparison_id == rejected.comparison_id is not None
    assert (chosen.vote, rejected.vote, chosen.comparison_kind) == ("chosen", "rejected", "preference")
    (alone,) = read(lambda row: GOOD | {"vote": "chosen"}).rejects
    assert (alone.reason, "no comparison_id" in alone.detail) == ("missing_field", True)


def _raises(error: Exception) -> Adapter:
    def function(row: dict[str, Any]) -> None:
        raise error

    return function


@pytest.mark.parametrize(
    ("function", "reason", "detail"),
    [
        (lambda row: None, "no_event", "returned no event"),
        (lambda row: [], "no_event", "returned no event"),
        (_raises(RowError("spam", "a bot wrote it")), "spam", "a bot wrote it"),
        (_raises(ValueError("a test account")), "refused", "the function says: a test account"),
        (lambda row: {"prompt": row["question"]}, "missing_field", "asks for field 'question'"),
        (lambda row: {"prompt": "p"}, "missing_field", "field 'completion' is missing"),
        (lambda row: GOOD | {"prompt": []}, "empty_prompt", "no message with content"),
        (lambda row: GOOD | {"vote": 3}, "unknown_label", "field 'vote' is 3"),
    ],
)
def test_a_row_that_the_function_refuses_is_a_reject(function: Adapter, reason: str, detail: str) -> None:
    batch = read(function, {"q": "p"}, {"q": "r"})
    assert [(reject.line, reject.reason) for reject in batch.rejects] == [(1, reason), (2, reason)]
    assert detail in batch.rejects[0].detail
    assert (batch.events, batch.records) == ([], 2)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (7, "returned a int, not a RawEvent, a mapping of its fields, or a list"),
        ("up", "listed a str"),
        ([7], "listed a int"),
        (GOOD | {"votes": "up"}, r"unknown field of an event 'votes'. Did you mean 'vote'\?"),
    ],
)
def test_a_function_that_returns_no_events_at_all_stops_the_run(made: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(lambda row: made)


def test_other_errors_of_the_function_are_its_own() -> None:
    with pytest.raises(ZeroDivisionError):
        read(lambda row: {"prompt": 1 / 0})
